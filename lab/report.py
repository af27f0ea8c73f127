"""What the laboratory found: rows, the table, the summary, and whether it passed. Pure."""

from __future__ import annotations

import statistics
from collections.abc import Callable, Iterable, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

from lab.sonar import How
from lab.truth import Judgement, Kind

__all__ = ["Finding", "Result", "Row", "as_json", "failure", "precision", "problems", "summary", "table"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """One flow."""

    situation: str
    service: str
    """The laboratory's name of the program."""
    family: int
    truth: str
    kind: Kind
    label: str
    confidence: str
    judgement: Judgement
    required: bool
    ms: float | None
    """From the flow's first packet to its verdict."""
    how: How
    first_of_endpoint: bool
    """The first flow to its endpoint: later ones find the answer in the store."""
    tries: int
    """Connections or datagrams sent to its endpoint in this situation."""
    packets: int
    product: str | None = None
    rtt_ms: float = 0.0
    picked_up: bool = False
    """Picked up in the middle: its first packet is the first seen."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """Something wrong with one service in one situation that is no label."""

    service: str
    text: str


@dataclass(slots=True, kw_only=True)
class Result:
    """One situation."""

    situation: str
    title: str
    rtt_ms: float
    measured_rtt_ms: float = 0.0
    start_s: float = 0.0
    """From starting flowsonar to its capture."""
    rows: list[Row] = field(default_factory=list)
    findings: list[Finding] = field(default_factory=list)
    failures: list[str] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)


_LATE = {"p50": "median", "p90": "90 %", "p99": "99 %", "max": "largest"}
_STRONG = ("confirmed", "likely")
MUST_BE_RIGHT = 0.99
"""The share of flows that must be labelled right which is. The others may have stayed unknown, and nothing else."""


def failure(row: Row) -> str | None:
    """Why this row makes the laboratory fail; None when it does not."""
    what = f"{row.situation}: {row.service} (IPv{row.family}) is {row.truth}, labelled {row.label} ({row.confidence})"
    if row.judgement is Judgement.WRONG and row.confidence == "confirmed":
        return f"confirmed and wrong: {what}"
    if row.required and row.judgement is not Judgement.RIGHT:
        return f"not labelled right: {what}"
    if row.kind is Kind.IMPOSTOR and row.judgement is Judgement.WRONG and row.confidence in _STRONG:
        return f"an impostor was believed: {what}"
    return None


def precision(rows: Iterable[Row]) -> dict[str, tuple[int, int]]:
    """For each confidence: how many labels were right, of how many."""
    found: dict[str, tuple[int, int]] = {}
    for row in rows:
        if row.label == "unknown":
            continue
        right, total = found.get(row.confidence, (0, 0))
        good = row.judgement in {Judgement.RIGHT, Judgement.OUTSIDE}
        found[row.confidence] = (right + good, total + 1)
    return found


def _columns(head: Sequence[str], lines: Sequence[Sequence[str]]) -> list[str]:
    widths = [max(len(line[column]) for line in (head, *lines)) for column in range(len(head))]
    ruler = tuple("-" * width for width in widths)
    return [
        "  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)).rstrip()
        for line in (head, ruler, *lines)
    ]


def _ms(values: Sequence[float]) -> str:
    return f"{statistics.median(values):.1f}" if values else "-"


_HEAD = ("situation", "service", "IP", "truth", "label", "confidence", "flows", "ms", "by", "probes (packets)", "")


def table(rows: Iterable[Row]) -> list[str]:
    """The table, one line for all flows of a service that were labelled alike; times are medians."""
    groups: dict[tuple[object, ...], list[Row]] = {}
    for row in rows:
        key = (row.situation, row.service, row.family, row.label, row.confidence, row.how, row.judgement)
        groups.setdefault(key, []).append(row)
    return _columns(_HEAD, [_line(group) for group in groups.values()])


def _line(group: list[Row]) -> list[str]:
    """One line for flows that are alike but for their times."""
    row = max(group, key=lambda item: item.packets)
    mark = "" if row.judgement is Judgement.RIGHT else str(row.judgement)
    if any(failure(item) for item in group):
        mark = f"FAILED: {row.judgement}"
    elif row.judgement is Judgement.UNKNOWN:
        mark = "nobody to ask"
    ms = _ms([item.ms for item in group if item.ms is not None])
    by = "" if row.how is How.NONE else str(row.how)
    what = [row.situation, row.service, str(row.family), row.truth, row.label, row.confidence]
    return [*what, str(len(group)), ms, by, f"{row.tries} ({row.packets})", mark]


def _times(rows: list[Row], rtts: Sequence[float]) -> list[str]:
    kinds: tuple[tuple[str, How, Callable[[float], float]], ...] = (
        ("shown in the first bytes", How.SHOWN, lambda rtt: 2 * rtt + 20),
        ("asked", How.ASKED, lambda rtt: 4 * rtt + 50),
    )
    good = [row for row in rows if row.first_of_endpoint and row.judgement is Judgement.RIGHT and row.ms is not None]
    lines = []
    for rtt_ms in rtts:
        for title, how, limit in kinds:
            for picked_up in (False, True):
                same = (row for row in good if row.rtt_ms == rtt_ms and row.how is how and row.picked_up is picked_up)
                times = sorted(row.ms for row in same if row.ms is not None and row.label != "unknown")
                if not times:
                    continue
                median, ninety = statistics.median(times), times[len(times) * 9 // 10]
                met = "met" if median <= limit(rtt_ms) else "MISSED"
                where = ", picked up in the middle" if picked_up else ""
                lines.append(
                    f"  {rtt_ms:3.0f} ms round trip, {title}{where}: median {median:.1f} ms of {len(times)} flows"
                    f" (to reach: {limit(rtt_ms):.0f} ms, {met}); nine in ten within {ninety:.1f} ms"
                )
    return lines


def _tries(rows: list[Row]) -> list[str]:
    asked = [
        row.tries
        for row in rows
        if row.first_of_endpoint and row.tries and row.judgement is Judgement.RIGHT and row.label != "unknown"
    ]
    if not asked:
        return []
    few = sum(tries <= 2 for tries in asked) / len(asked)
    met = "met" if few >= 0.9 and max(asked) <= 5 else "MISSED"
    text = (
        f"Connections or datagrams per identified endpoint: at most 2 for {few:.0%}, at most {max(asked)} for all"
        f" (to reach: 90% and 5, {met}; {len(asked)} endpoints were asked)."
    )
    return [text]


def summary(results: Sequence[Result], wire: dict[str, Any]) -> list[str]:
    """The lines after the table."""
    rows = [row for result in results for row in result.rows]
    lines = ["Precision by confidence:"]
    found = precision(rows)
    for confidence in ("confirmed", "likely", "guess"):
        right, total = found.get(confidence, (0, 0))
        share = f"{right / total:.2%}" if total else "-"
        lines.append(f"  {confidence:9}  {right} of {total} right  {share}")
    must = [row for row in rows if row.required]
    good = sum(row.judgement is Judgement.RIGHT for row in must)
    lines.append(f"Flows of named services where an endpoint can be asked: {good} of {len(must)} labelled right.")
    impostors = [row for row in rows if row.kind in {Kind.IMPOSTOR, Kind.BANNER}]
    fooled = sum(row.judgement is Judgement.WRONG for row in impostors)
    lines.append(f"Impostors: {len(impostors) - fooled} of {len(impostors)} flows stayed unknown.")
    lines.append("Time from a flow's first packet to its verdict, first flow of each endpoint:")
    lines += _times(rows, sorted({result.rtt_ms for result in results}))
    lines += _tries(rows)
    starts = [result.start_s for result in results if result.start_s]
    if starts:
        lines.append(f"Start of flowsonar to its capture: median {statistics.median(starts):.2f} s.")
    measured = ", ".join(f"{result.situation} {result.measured_rtt_ms:.2f}" for result in results)
    lines.append(f"Round trips measured (ms): {measured}.")
    if wire:
        late = wire["late_us"]
        shares = ", ".join(f"{late[key]} us ({text})" for key, text in _LATE.items())
        lines.append(
            f"The laboratory's wire: {wire['frames']} frames, {wire['lost']} lost on purpose, {wire['overflowed']} by"
            f" overflow; late by {shares}."
        )
    return lines


def problems(results: Sequence[Result]) -> list[str]:
    """Everything that makes the laboratory fail; flows that stayed unknown where they are too many."""
    missed, excused = unlabelled(results), not _too_many(results)
    found = []
    for result in results:
        found += [f"{result.situation}: {text}" for text in result.failures]
        found += [f"{result.situation}: {finding.text}" for finding in result.findings]
        found += [text for row in result.rows if (text := failure(row)) and not (excused and text in missed)]
    return found


def unlabelled(results: Sequence[Result]) -> list[str]:
    """Flows that must be labelled right and stayed unknown."""
    rows = [row for result in results for row in result.rows if row.judgement is Judgement.UNKNOWN]
    return [text for row in rows if (text := failure(row))]


def _too_many(results: Sequence[Result]) -> bool:
    """Whether too many of them did."""
    must = sum(row.required for result in results for row in result.rows)
    return len(unlabelled(results)) > round(must * (1 - MUST_BE_RIGHT), 9)


def as_json(results: Sequence[Result], **more: object) -> dict[str, object]:
    """Everything as values for a file."""
    return {"situations": [asdict(result) for result in results], **more}
