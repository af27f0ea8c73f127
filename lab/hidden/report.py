"""What the hiding case shows, as tables and as values for a file."""

from __future__ import annotations

import statistics
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict

from lab.hidden import others
from lab.hidden.run import WITHIN_MS, Flow, Outcome

__all__ = ["MOST_CONNECTIONS", "MOST_DATAGRAMS", "WITHIN_MS", "as_json", "by_pair", "by_phase", "problems", "readme"]

MOST_DATAGRAMS, MOST_CONNECTIONS = 4, 3
"""The figures to reach: what one endpoint may be asked."""
_TURN_MS = 950.0
"""A peer that gives its first byte later leaves no room for a label within 1 s that rests on its answer."""
_OURS = "bittorrent"


def _right(flow: Flow, confidence: str | None = None) -> bool:
    return flow.service == _OURS and confidence in {None, flow.confidence}


def _wrong(flow: Flow) -> bool:
    return flow.service not in {None, _OURS} and flow.confidence != "guess"


def _in_time(flow: Flow) -> bool:
    return _right(flow) and flow.confidence != "guess" and flow.ms is not None and flow.ms <= WITHIN_MS


def _theirs(flows: Sequence[Flow], tool: str) -> str:
    said = [others.right(flow.others[tool]) for flow in flows]
    wrong = said.count(False)
    return f"{said.count(True)}" + (f" ({wrong} wrong)" if wrong else "")


def _cells(flows: Sequence[Flow]) -> list[str]:
    times = sorted(flow.ms for flow in flows if _right(flow) and flow.ms is not None)
    return [
        str(len(flows)),
        str(sum(_right(flow, "confirmed") for flow in flows)),
        str(sum(_right(flow, "likely") for flow in flows)),
        str(sum(_wrong(flow) for flow in flows)),
        str(sum(not _wrong(flow) and not (_right(flow) and flow.confidence != "guess") for flow in flows)),
        f"{statistics.median(times):.0f}" if times else "-",
        f"{times[-1]:.0f}" if times else "-",
        f"{sum(map(_in_time, flows))} of {len(flows)}",
        *(_theirs(flows, tool) for tool in others.TOOLS),
    ]


_HEADS = ("flows", "confirmed", "likely", "wrong", "unknown", "median ms", "most ms", "within 1 s", *others.TOOLS)


def _table(first: str, rows: Mapping[str, list[str]]) -> list[str]:
    heads = [first, *_HEADS]
    lines = [[name, *cells] for name, cells in rows.items()]
    widths = [max(len(line[at]) for line in (heads, *lines)) for at in range(len(heads))]

    def row(cells: Sequence[str]) -> str:
        ends = [
            cells[0].ljust(widths[0]),
            *(cell.rjust(width) for cell, width in zip(cells[1:], widths[1:], strict=True)),
        ]
        return "  ".join(ends)

    return [row(heads), *map(row, lines)]


def _grouped(flows: Sequence[Flow], of: Callable[[Flow], str]) -> dict[str, list[str]]:
    groups: dict[str, list[Flow]] = {}
    for flow in flows:
        groups.setdefault(of(flow), []).append(flow)
    return {name: _cells(group) for name, group in groups.items()}


def by_phase(outcomes: Sequence[Outcome]) -> list[str]:
    """A line a phase, one for all, and what was sent."""
    flows = [flow for outcome in outcomes for flow in outcome.flows]
    titles = {outcome.phase.name: outcome.phase.title for outcome in outcomes}
    rows = _grouped(flows, lambda flow: titles[flow.phase])
    lines = _table("seen", {**rows, "all": _cells(flows)})
    late = [flow for flow in flows if not _in_time(flow)]
    slow = sum(any(ms is None or ms >= _TURN_MS for ms in flow.bare_ms) for flow in late)
    if late:
        lines.append(f"late: {len(late)}; of these with a peer that gives a bare client nothing within 0.95 s: {slow}")
    for outcome in outcomes:
        sent = [
            (outcome.datagrams, "datagrams", MOST_DATAGRAMS),
            (outcome.connections, "connections", MOST_CONNECTIONS),
        ]
        told = [
            f"{len(counts)} endpoints asked, most {max(counts)} {what},"
            f" {sum(one <= most for one in counts)} within {most}"
            for counts, what, most in sent
            if counts
        ]
        lines.append(f"{outcome.phase.name}: {'; '.join(told) or 'nobody asked'}")
    return lines


def by_pair(outcomes: Sequence[Outcome]) -> list[str]:
    """A line a pair, over all phases."""
    flows = [flow for outcome in outcomes for flow in outcome.flows]
    return _table(
        "fetches - has", dict(sorted(_grouped(flows, lambda flow: f"{flow.pair} ({flow.transport})").items()))
    )


def readme(outcomes: Sequence[Outcome]) -> list[str]:
    """The short table in Markdown."""
    lines = ["| seen | flows | flowsonar, right within 1 s | nDPI | NFStream | tshark |", "|---|---|---|---|---|---|"]
    for outcome in outcomes:
        flows = outcome.flows
        theirs = " | ".join(_theirs(flows, tool) for tool in others.TOOLS)
        lines.append(f"| {outcome.phase.title} | {len(flows)} | {sum(map(_in_time, flows))} | {theirs} |")
    return lines


def problems(outcomes: Sequence[Outcome]) -> list[str]:
    """Everything that is not as wanted."""
    found = []
    for outcome in outcomes:
        name = outcome.phase.name
        found += [f"{name}: nothing passed between {pair}" for pair in outcome.quiet]
        found += outcome.notes
        for flow in outcome.flows:
            if not _in_time(flow):
                ms = "-" if flow.ms is None else f"{flow.ms:.0f} ms"
                ends = " ".join(flow.ends)
                found.append(
                    f"{name}: {flow.pair}: {flow.transport} {ends}: {flow.label} {flow.confidence} {ms} {flow.how}"
                    f"{_bare(flow)}"
                )
        for counts, what, most in (
            (outcome.datagrams, "datagrams", MOST_DATAGRAMS),
            (outcome.connections, "connections", MOST_CONNECTIONS),
        ):
            over = sum(one > most for one in counts)
            if over:
                found.append(f"{name}: {over} endpoints of {len(counts)} were sent more than {most} {what}")
    return found


def _bare(flow: Flow) -> str:
    """When the flow's peer gave its first byte to a client that asked at a packet of its transfer."""
    if not flow.bare_ms:
        return ""
    tries = ", ".join("none" if ms is None else f"{ms:.0f}" for ms in flow.bare_ms)
    return f"; its peer's first byte to a bare client after {tries} ms"


def as_json(outcomes: Sequence[Outcome], **more: object) -> dict[str, object]:
    """Everything as values for a file."""
    return {"phases": [asdict(outcome) for outcome in outcomes], **more}
