"""What the tracker needs of the verdict store, so that it does without a file in tests and for captures."""

from __future__ import annotations

from typing import Protocol

from flowsonar.model import Endpoint, Outcome, Verdict

__all__ = ["Cache"]


class Cache(Protocol):
    """What the tracker needs of the verdict store."""

    def verdict(self, endpoint: Endpoint, now_s: float) -> Verdict | None:
        """The cached verdict while it is valid."""
        ...

    def may_ask(self, endpoint: Endpoint, now_s: float) -> bool:
        """Whether earlier failures allow to ask again."""
        ...

    def learned(self, endpoint: Endpoint, verdict: Verdict, now_s: float) -> None:
        """An endpoint was identified."""
        ...

    def failed(self, endpoint: Endpoint, outcome: Outcome | None, now_s: float, verdict: Verdict | None = None) -> None:
        """Asking gave no label; `verdict` may bring what the endpoint answered."""
        ...

    def forget(self, endpoint: Endpoint) -> None:
        """A flow's own bytes contradict the cached verdict."""
        ...
