"""What every run needs: the signatures and their matcher, loaded once."""

from __future__ import annotations

from dataclasses import dataclass

from flowsonar.config import Settings
from flowsonar.passive import PassiveReader
from flowsonar.signatures import Matcher, SignatureSet, load_signatures

__all__ = ["Parts"]


@dataclass(frozen=True, slots=True)
class Parts:
    """Loaded once, shared by the runs of a process."""

    signatures: SignatureSet
    matcher: Matcher

    @classmethod
    def load(cls, settings: Settings) -> Parts:
        """Read and compile the signatures. Raises SignatureError."""
        signatures = load_signatures(settings.signatures)
        matcher = Matcher(signatures, recog=settings.recog)
        return cls(signatures, matcher)

    def new_reader(self) -> PassiveReader:
        """A passive reader without memory of another capture's hosts."""
        return PassiveReader(self.matcher, self.signatures)
