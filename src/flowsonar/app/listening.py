"""The verdict store as `flowsonar shape` lets the tracker see it: what it learns goes to the firewall's maps too."""

from __future__ import annotations

from typing import TYPE_CHECKING

from flowsonar.model import Endpoint, Outcome, Verdict

if TYPE_CHECKING:
    from flowsonar.app.shaping import Shaping
    from flowsonar.verdicts.store import Store

__all__ = ["ListeningCache"]


class ListeningCache:
    """The verdict store as the tracker sees it; what it learns is told on."""

    def __init__(self, store: Store, shaping: Shaping) -> None:
        self._store = store
        self._shaping = shaping
        self.verdict = store.verdict
        self.may_ask = store.may_ask

    def learned(self, endpoint: Endpoint, verdict: Verdict, now_s: float) -> None:
        """An endpoint was identified."""
        self._store.learned(endpoint, verdict, now_s)
        self._shaping.learned(endpoint, now_s)

    def failed(self, endpoint: Endpoint, outcome: Outcome | None, now_s: float, verdict: Verdict | None = None) -> None:
        """Asking gave no label."""
        self._store.failed(endpoint, outcome, now_s, verdict)

    def forget(self, endpoint: Endpoint) -> None:
        """A flow's own bytes contradict the cached verdict."""
        self._store.forget(endpoint)
        self._shaping.forgot(endpoint)
