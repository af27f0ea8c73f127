"""How many questions were spent beside what somebody who knew everything would have spent."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Final

from flowsonar.model import Answer, Confidence, Evidence
from flowsonar.signatures.language import ProbeSpec

__all__ = ["Thrift", "needed_of", "report", "winner"]

_LIKELY: Final = Confidence.LIKELY.rank


class Thrift:
    """Counts identified endpoints, what they cost, and what they would have cost an omniscient order.

    That order puts the winning question first: one connection or datagram, or as many as its dialogue needs.
    """

    def __init__(self, probe: Callable[[str], ProbeSpec | None]) -> None:
        self._probe = probe
        self.counts = dict.fromkeys(("identified", "identified_first", "spent", "spent_needed", "spent_in_vain"), 0)

    def answered(self, answer: Answer) -> Evidence | None:
        """A conversation ended; gives the piece that names the service."""
        counts = self.counts
        spent = answer.connections + answer.datagrams
        won = winner(answer.evidence)
        if won is None:
            counts["spent_in_vain"] += spent
            return None
        needed = _needed(won, spent, self._probe)
        counts["identified"] += 1
        counts["identified_first"] += spent <= needed
        counts["spent"] += spent
        counts["spent_needed"] += needed
        return won


def needed_of(answer: Answer, probe: Callable[[str], ProbeSpec | None]) -> int | None:
    """Connections or datagrams that an order which knew everything would have spent; None where nothing was found."""
    won = winner(answer.evidence)
    return None if won is None else _needed(won, answer.connections + answer.datagrams, probe)


def _needed(won: Evidence, spent: int, probe: Callable[[str], ProbeSpec | None]) -> int:
    asked = probe(won.probe or "")
    return min(spent, asked.connections if asked is not None else 1)


def winner(evidence: tuple[Evidence, ...]) -> Evidence | None:
    """The piece that names the service, where one is likely or better."""
    named = [piece for piece in evidence if piece.service is not None and piece.confidence.rank >= _LIKELY]
    if len(named) < 2:
        return named[0] if named else None
    return max(named, key=lambda piece: (piece.confidence.rank, piece.specificity))


def report(counts: Mapping[str, int]) -> list[str]:
    """Lines for people, from a prober's counters."""
    identified = counts.get("identified", 0)
    if not identified:
        return [f"nothing identified; {counts.get('spent_in_vain', 0)} connections and datagrams spent"]
    spent, needed = counts["spent"], counts["spent_needed"]
    first = counts["identified_first"]
    each, times, share = spent / identified, spent / max(1, needed), 100 * first / identified
    total = (
        f"{identified} identified with {spent} connections and datagrams, {each:.2f} each; an order that knew all"
        f" would have spent {needed}: {times:.2f} times as many were"
    )
    told = (
        f"{first} of {identified} ({share:.0f} %) by the first question that could tell; "
        f"{counts['spent_in_vain']} spent on endpoints that stayed unknown"
    )
    return [total, told]
