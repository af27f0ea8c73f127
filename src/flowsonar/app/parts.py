"""What every run needs: the signatures and their matcher, loaded once, when they are needed."""

from __future__ import annotations

from functools import cached_property, partial
from typing import TYPE_CHECKING, Any

from flowsonar.config import Settings
from flowsonar.signatures.lanetables import lane_tables
from flowsonar.signatures.loader import identify, load_signatures

if TYPE_CHECKING:
    from flowsonar.passive import PassiveReader
    from flowsonar.signatures import Matcher, SignatureSet
    from flowsonar.signatures.found import Holding

__all__ = ["Parts"]


class Parts:
    """Shared by the runs of a process. A capture whose flows are all of known shapes needs neither of them."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings

    @classmethod
    def load(cls, settings: Settings) -> Parts:
        """Read the signatures. Raises SignatureError."""
        parts = cls(settings)
        _ = parts.matcher
        return parts

    @cached_property
    def signatures(self) -> SignatureSet:
        """Raises SignatureError when first asked for."""
        return load_signatures(self._settings.signatures)

    @cached_property
    def matcher(self) -> Matcher:
        """Its databases are made when needed, or by `prepare`. Raises SignatureError when first asked for."""
        from flowsonar.signatures.matcher import Matcher

        return Matcher(self.signatures, recog=self._settings.recog)

    @cached_property
    def digest(self) -> str:
        """What names the signatures. Raises SignatureError when first asked for."""
        return self.signatures.digest if "signatures" in self.__dict__ else identify(self._settings.signatures)

    @cached_property
    def lane_tables(self) -> tuple[Any, ...]:
        """What the flow table's fast lane needs of the signatures. Raises SignatureError when first asked for."""
        return lane_tables(self.digest, lambda: self.signatures)

    @property
    def knows_products(self) -> bool:
        """Whether recog's fingerprints are used, which may name a product of any banner."""
        return self._settings.recog is not None

    def new_reader(self, holding: Holding | None = None) -> PassiveReader:
        """A passive reader without memory of another capture's hosts. Live, `load` comes first: nothing waits then.

        `holding` is that of a table made with `lane_tables`: it is asked first.
        """
        from flowsonar.passive import PassiveReader

        matcher = self.matcher
        if holding is not None:
            from flowsonar.signatures.found import TableFinder

            matcher = matcher.asking(partial(TableFinder, holding, self.lane_tables))
        return PassiveReader(matcher, self.signatures)
