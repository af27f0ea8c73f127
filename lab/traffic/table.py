"""The flows of all modes beside the truth and beside passive classifiers on the capture of the same run."""

from __future__ import annotations

import statistics
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace

from lab.comparison.said import Said
from lab.traffic.mode import Expected, judged
from lab.traffic.run import Seen
from lab.truth import Judgement

__all__ = ["MUST_BE_RIGHT", "OURS", "Row", "as_json", "passes", "problems", "rows", "summary", "table"]

MUST_BE_RIGHT = 0.97
OURS = "flowsonar"
_CHECKS = 60
"""Fewer packets of a flow of ICE are checks; media has 50 a second."""
_MEDIA_LEAST = 3
"""Packets of media that nothing announced, from which anybody could know it: two that follow a first one."""
_SHORT = {
    Judgement.RIGHT: "right",
    Judgement.OUTSIDE: "outside",
    Judgement.UNKNOWN: "unknown",
    Judgement.WRONG: "wrong",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """One flow with everybody's word on it."""

    watch: str
    program: str
    mode: str
    standin: str
    transport: str
    ends: tuple[str, ...]
    expected: Expected
    label: str
    confidence: str
    judgement: Judgement
    ms: float | None
    how: str
    packets: int
    others: Mapping[str, tuple[str, Judgement]]
    """By tool: its own words, and what they are worth."""


def rows(
    seen: Iterable[Seen],
    truths: Mapping[tuple[str, str], Sequence[Expected]],
    said: Mapping[object, Mapping[str, Mapping[object, Said]]],
    parents: Mapping[str, str],
) -> list[Row]:
    """Judge all flows that were expected. `said` is by capture, tool and flow."""
    found = []
    for one in seen:
        if one.expected < 0:
            continue
        expected = truths[one.watch.split(",")[0], one.mode.name][one.expected]
        flow = one.flow
        if expected.checked and flow.packets < _CHECKS:
            expected = replace(expected, service="stun", checked=False)
        others = {}
        if "," not in one.watch:  # the others read a capture of both directions
            for tool, labels in said.get(one.capture, {}).items():
                word = labels.get(flow.key, Said())
                others[tool] = (str(word), judged(expected, word.service, word.over, parents))
        found.append(
            Row(
                watch=one.watch,
                program=one.mode.program,
                mode=one.mode.mode,
                standin=one.mode.standin,
                transport=flow.key[0],
                ends=tuple(sorted(f"{address}:{port}" for address, port in flow.key[1])),
                expected=expected,
                label=str(flow),
                confidence=flow.confidence if flow.service else "unknown",
                judgement=judged(expected, flow.service, flow.over, parents),
                ms=flow.ms,
                how=flow.how,
                packets=flow.packets,
                others=others,
            )
        )
    return found


def _cells(found: Sequence[Row], tools: Sequence[str]) -> list[str]:
    first = found[0]
    judged_as = Counter(_SHORT[row.judgement] for row in found)
    confident = Counter(row.confidence for row in found if row.judgement is Judgement.RIGHT)
    times = sorted(row.ms for row in found if row.ms is not None and row.judgement is Judgement.RIGHT)
    wrong = sorted({f"{row.label} {row.confidence}" for row in found if row.judgement is not Judgement.RIGHT})
    truth = first.expected.service
    cells = [
        f"{first.program}{' *' if first.standin else ''}",
        first.mode,
        first.watch,
        f"{truth} {first.transport}",
        " ".join(f"{judged_as[name]} {name}" for name in _SHORT.values() if judged_as[name]),
        " ".join(f"{confident[name]} {name}" for name in ("confirmed", "likely") if confident[name]) or "-",
        f"{statistics.median(times):.0f}" if times else "-",
        ", ".join(wrong),
    ]
    for tool in tools:
        words = [row.others[tool] for row in found if tool in row.others]
        right = sum(judgement is Judgement.RIGHT for _, judgement in words)
        names = ", ".join(sorted({word for word, _ in words}))
        cells.append(f"{right}/{len(words)} {names}" if words else "-")
    return cells


def table(found: Sequence[Row]) -> list[str]:
    """One line for the flows of one kind of a mode and pass."""
    tools = sorted({tool for row in found for tool in row.others})
    headings = ["program", "mode", "watched", "truth", OURS, "how sure", "ms", "what else it said", *tools]
    groups: dict[tuple[str, str, str, Expected], list[Row]] = {}
    for row in found:
        groups.setdefault((row.watch, row.program, row.mode, row.expected), []).append(row)
    lines = [headings, *(_cells(group, tools) for group in groups.values())]
    widths = [min(36, max(len(line[place]) for line in lines)) for place in range(len(headings))]
    return [
        "  ".join(cell[:width].ljust(width) for cell, width in zip(line, widths, strict=True)).rstrip()
        for line in lines
    ]


def _counts(judgements: Iterable[Judgement]) -> str:
    counts = Counter(judgements)
    total = sum(counts.values())
    if not total:
        return "no flows"
    right = counts[Judgement.RIGHT]
    return (
        f"{right} of {total} flows right ({right / total:.1%}), {counts[Judgement.OUTSIDE]} true but not all of it,"
        f" {counts[Judgement.WRONG]} wrong, {counts[Judgement.UNKNOWN]} unknown"
    )


def _tells(row: Row) -> bool:
    """Whether there is enough of a flow that anybody could know it; what is known by an announcement counts."""
    return row.expected.service != "rtp" or row.packets >= _MEDIA_LEAST or row.judgement is not Judgement.UNKNOWN


def summary(found: Sequence[Row], failed: Mapping[str, str]) -> list[str]:
    """The lines after the table."""
    lines = []
    for watch in dict.fromkeys(row.watch for row in found):
        part = [row for row in found if row.watch == watch]
        lines.append(f"{OURS}, {watch}: {_counts(row.judgement for row in part)}")
        short = [row for row in part if not _tells(row)]
        if short:
            rest = _counts(row.judgement for row in part if _tells(row))
            lines.append(f"  without {len(short)} of one or two packets of media that nothing announced: {rest}")
        for confidence in ("confirmed", "likely"):
            sure = [row.judgement for row in part if row.confidence == confidence]
            lines.append(f"  {confidence}: {_counts(sure)}")
        times = sorted(row.ms for row in part if row.ms is not None and row.judgement is Judgement.RIGHT)
        if times:
            late = times[min(len(times) - 1, len(times) * 99 // 100)]
            lines.append(
                f"  time to the right label: median {statistics.median(times):.0f} ms, 99 % within {late:.0f} ms"
            )
        lines += [
            f"  {tool}: {_counts(row.others[tool][1] for row in part if tool in row.others)}"
            for tool in sorted({tool for row in part for tool in row.others})
        ]
    programs = {row.program for row in found}
    real = {row.program for row in found if not row.standin}
    modes = {(row.program, row.mode) for row in found}
    lines.append(f"programs: {len(programs)} ({len(real)} of them real on both sides), modes: {len(modes)}")
    if any(row.standin for row in found):
        lines.append("* one side is no program people use:")
        lines += [f"    {text}" for text in sorted({f"{row.program}: {row.standin}" for row in found if row.standin})]
    return lines + [f"did not play: {name}: {' '.join(why.split())[:300]}" for name, why in sorted(failed.items())]


def problems(found: Sequence[Row]) -> list[str]:
    """Flows that are not right, wrong ones first."""
    order = [Judgement.WRONG, Judgement.UNKNOWN, Judgement.OUTSIDE]
    bad = [row for row in found if row.judgement is not Judgement.RIGHT]
    bad.sort(key=lambda row: (order.index(row.judgement), row.confidence != "confirmed"))
    return [
        f"{row.watch}: {row.program} {row.mode}: {_SHORT[row.judgement]}: {row.expected.service} is called {row.label}"
        f" {row.confidence} ({row.transport} {' '.join(row.ends)}, {row.packets} packets, {row.how})"
        for row in bad
    ]


def passes(found: Sequence[Row]) -> bool:
    """No wrong `confirmed` in any pass, and nearly all right where both directions are seen."""
    wrong = any(row.judgement is Judgement.WRONG and row.confidence == "confirmed" for row in found)
    whole = [row for row in found if "," not in row.watch and _tells(row)]
    right = sum(row.judgement is Judgement.RIGHT for row in whole)
    return bool(whole) and not wrong and right >= MUST_BE_RIGHT * len(whole)


def as_json(found: Sequence[Row], failed: Mapping[str, str], seed: int) -> dict[str, object]:
    """Everything as values for a file."""
    flows = [
        {
            "watched": row.watch,
            "program": row.program,
            "mode": row.mode,
            "standin": row.standin,
            "transport": row.transport,
            "ends": list(row.ends),
            "truth": row.expected.service,
            "label": row.label,
            "confidence": row.confidence,
            "judgement": _SHORT[row.judgement],
            "ms": row.ms,
            "how": row.how,
            "packets": row.packets,
            "others": {tool: {"said": said, "judgement": _SHORT[worth]} for tool, (said, worth) in row.others.items()},
        }
        for row in found
    ]
    return {
        "seed": seed,
        "passed": passes(found),
        "summary": summary(found, failed),
        "flows": flows,
        "failed": dict(failed),
    }
