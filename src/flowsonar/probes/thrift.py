"""How many questions were spent beside what somebody who knew everything would have spent."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Final

from flowsonar.model import Answer, Confidence, Evidence
from flowsonar.signatures.language import ProbeSpec

__all__ = ["Thrift", "report", "winner"]

_LIKELY: Final = Confidence.LIKELY.rank


class Thrift:
    """Counts identified endpoints, what they cost, and what they would have cost an omniscient order.

    That order puts the winning question first: one connection or datagram, or as many as its dialogue needs.
    """

    def __init__(self, probe: Callable[[str], ProbeSpec | None]) -> None:
        self._probe = probe
        self.counts = dict.fromkeys(("identified", "identified_first", "spent", "spent_needed", "spent_in_vain"), 0)

    def answered(self, answer: Answer) -> None:
        """A conversation ended."""
        spent = answer.connections + answer.datagrams
        won = winner(answer.evidence)
        if won is None:
            self.counts["spent_in_vain"] += spent
            return
        probe = self._probe(won.probe or "")
        needed = min(spent, probe.connections if probe is not None else 1)
        self.counts["identified"] += 1
        self.counts["identified_first"] += spent <= needed
        self.counts["spent"] += spent
        self.counts["spent_needed"] += needed


def winner(evidence: tuple[Evidence, ...]) -> Evidence | None:
    """The piece that names the service, where one is likely or better."""
    named = [piece for piece in evidence if piece.service is not None and piece.confidence.rank >= _LIKELY]
    return max(named, key=lambda piece: (piece.confidence.rank, piece.specificity), default=None)


def report(counts: Mapping[str, int]) -> list[str]:
    """Lines for people, from a prober's counters."""
    identified = counts.get("identified", 0)
    if not identified:
        return [f"nothing identified; {counts.get('spent_in_vain', 0)} connections and datagrams spent"]
    spent, needed = counts["spent"], counts["spent_needed"]
    first = counts["identified_first"]
    return [
        f"{identified} identified with {spent} connections and datagrams, {spent / identified:.2f} each",
        f"an order that knew everything would have spent {needed}: {spent / max(1, needed):.2f} times as many were",
        f"{first} of {identified} ({100 * first / identified:.0f} %) by the first question that could tell",
        f"{counts['spent_in_vain']} spent on endpoints that stayed unknown",
    ]
