"""What came of every question to every program: the summary, and what decides."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence

from lab.comparison.crossing import Told

__all__ = ["BOTH", "passes", "summary"]

BOTH = {("znc", "irc"): "it speaks IRC on its port as well"}
"""Endpoint and service that is true of it too, with the reason."""


def _wrong(told: Sequence[Told]) -> Iterator[tuple[str, list[str]]]:
    for one in told:
        for claim in one.foreign:
            if (one.name, claim[1]) not in BOTH:
                yield one.name, claim


def summary(told: Sequence[Told], failed: Mapping[str, str]) -> list[str]:
    """How many questions and answers, and every claim of another service."""
    lines = [f"{name}: {why}" for name, why in failed.items()]
    for (name, probe, service, confidence, pattern), count in Counter(
        (name, *claim[:4]) for name, claim in _wrong(told)
    ).items():
        lines.append(f"  {name}, asked {probe}: claimed by {service}, {confidence} ({pattern}), {count} times")
    asked, answered = sum(one.asked for one in told), sum(one.answered for one in told)
    wrong = [claim[2] for _, claim in _wrong(told)]
    lines.append(
        f"{len(told)} endpoints, {asked} questions, {answered} answers; claimed by another service: {len(wrong)},"
        f" {wrong.count('confirmed')} of them confirmed"
    )
    return lines


def passes(told: Sequence[Told]) -> bool:
    """Whether there were answers, and none that proves another service."""
    return any(one.answered for one in told) and not any(claim[2] == "confirmed" for _, claim in _wrong(told))
