"""What is printed and written of the shaping laboratory: the table, the figures to reach, everything as JSON."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from lab.shaping.measure import Delays, Marks, percentile
from lab.shaping.network import DOWN_KBIT, RTT_MS, UP_KBIT
from lab.shaping.run import WAYS, Result

__all__ = ["SETTLED_S", "Figure", "added_ms", "as_json", "figures", "left_out", "others", "share_of_rest", "table"]

SETTLED_S = 10.0
"""After so long all connections of the load have begun (ten a second), are labelled, and have found their speed."""
_LINE_KBIT = {"up": UP_KBIT, "down": DOWN_KBIT}
_ADDED_MS, _SHARE, _MARKED = 5.0, 0.90, 0.99
_WAITED_MS = 5.0
_UNTOLD = "cannot tell"
_NEW_MS = 3 * RTT_MS + 25


@dataclass(frozen=True, slots=True)
class Figure:
    """Something that was to be reached."""

    what: str
    wanted: str
    found: str
    reached: bool | None
    """None: the machine stood still too often to tell."""
    steady: bool = False
    """Does not depend on how fast and how busy the machine is."""


def _delays(result: Result, direction: str, since_s: float, *, every: bool = False) -> list[float]:
    delays: Delays = getattr(result, direction)
    points = delays.points + (delays.left_out if every else [])
    return [ms for at_s, ms in points if at_s >= since_s]


def _tells(result: Result, direction: str, since_s: float = 0.0) -> bool:
    delays: Delays = getattr(result, direction)
    return delays.tells(since_s)


def added_ms(
    result: Result, idle: Result, direction: str, since_s: float = 0.0, percent: float = 99, *, every: bool = False
) -> float:
    """How much longer the call was under way than on the idle line; `every`: with what is left out otherwise."""
    base = percentile(_delays(idle, direction, 0.0, every=not _tells(idle, direction)), percent)
    return percentile(_delays(result, direction, since_s, every=every), percent) - base


def left_out(results: Sequence[Result]) -> list[str]:
    """A line each: how many packets are not in the table, and what it would say with them."""
    lines = []
    for result in results:
        count = sum(len(delays.left_out) for delays in (result.up, result.down))
        sent = sum(delays.sent for delays in (result.up, result.down))
        both = (
            f"{way} {max(0.0, added_ms(result, results[0], way, every=True)):+.1f} ms"
            f" (settled {max(0.0, added_ms(result, results[0], way, SETTLED_S, every=True)):+.1f} ms)"
            for way in ("up", "down")
        )
        lines.append(
            f"{WAYS[result.way]}: {count} of {sent} (it stood still for {result.still:.1%} of the time)"
            + (f"; {', '.join(both)}" if result.way != "idle" else "")
        )
    return lines


def share_of_rest(result: Result, direction: str) -> float:
    """Bulk (BitTorrent and the download) as a share of what the call leaves of the line."""
    sums = result.carried[direction]
    calls = sums.get("call", 0) + sums.get("signalling", 0)
    room = _LINE_KBIT[direction] * 1000 / 8 * result.seconds - calls
    return (sums.get("bulk", 0) + sums.get("web", 0)) / room if room > 0 else 0.0


def _added(result: Result, idle: Result, way: str, since_s: float) -> str:
    if since_s and result.seconds < SETTLED_S:
        return ""  # too short a load
    if not (_tells(idle, way) and _tells(result, way, since_s)):
        return _UNTOLD
    return f"+{max(0.0, added_ms(result, idle, way, since_s)):.1f} ms"


def table(results: Sequence[Result]) -> list[str]:
    """A line each; all but the first beside the first, the idle line."""
    idle = results[0]
    head = ("", "call, up", "call, down", "settled, up", "settled, down", "lost", "bulk up", "bulk down")
    rows = [head]
    for result in results:
        lost = sum(delays.lost for delays in (result.up, result.down))
        sent = sum(delays.sent for delays in (result.up, result.down))
        if result is idle:
            waits = [
                f"{percentile(_delays(idle, way, 0), 99):.1f} ms" if _tells(idle, way) else _UNTOLD
                for way in ("up", "down")
            ]
            rows.append((WAYS["idle"], *waits, "", "", f"{lost} of {sent}", "", ""))
            continue
        waits = [_added(result, idle, way, since_s) for since_s in (0.0, SETTLED_S) for way in ("up", "down")]
        shares = [f"{share_of_rest(result, way):.0%}" for way in ("up", "down")]
        rows.append((WAYS[result.way], *waits, f"{lost} of {sent}", *shares))
    widths = [max(len(row[column]) for row in rows) for column in range(len(head))]
    return ["  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in rows]


def figures(results: Mapping[str, Result]) -> list[Figure]:
    """What issue and documentation promise, of the run with flowsonar.

    Where the machine stood still for most of it, delays cannot be told, nor why another figure is missed; standstills
    make none of those better, so one that is reached all the same is.
    """
    if "flowsonar" not in results or "idle" not in results:
        return []
    ours, idle = results["flowsonar"], results["idle"]
    found = []

    def add(what: str, wanted: str, value: str, reached: bool, steady: bool = False) -> None:
        found.append(Figure(what, wanted, value, reached or (False if ours.tells else None), steady))

    for way in ("up", "down"):
        for since_s, when in ((0.0, ""), (SETTLED_S, f", from {SETTLED_S:g} s on")):
            if since_s and ours.seconds < SETTLED_S:
                continue  # too short a load to tell
            what, wanted = f"delay added to the call, 99th percentile, {way}{when}", f"at most {_ADDED_MS:.0f} ms"
            if not (_tells(idle, way) and _tells(ours, way, since_s)):
                found.append(Figure(what, wanted, "?", None))
                continue
            value = added_ms(ours, idle, way, since_s)
            found.append(Figure(what, wanted, f"{max(0.0, value):.1f} ms", value <= _ADDED_MS))
    lost = ours.up.lost + ours.down.lost
    add("packets of the call lost", "0", str(lost), lost == 0, True)
    for way in ("up", "down"):
        share = share_of_rest(ours, way)
        add(f"bulk, of the rest, {way}", f"at least {_SHARE:.0%}", f"{share:.1%}", share >= _SHARE)
    bulk, call = ours.new.get("bulk", Marks()), ours.new.get("call", Marks())
    for name, marks, least in (("bulk", bulk, _MARKED), ("call", call, 1.0)):
        share = marks.right / marks.octets if marks.octets else 0.0
        what = f"{name} bytes marked right after the first second"
        add(what, f"at least {least:.0%}", f"{share:.2%}", share >= least, name == "call")
    wrong = sum(marks.wrong for marks in (*ours.new.values(), *ours.known.values()))
    found.append(Figure("packets with another class's mark", "0", str(wrong), wrong == 0, True))
    median, sent = percentile(bulk.kernel_ms, 50), percentile(bulk.first_ms, 50)
    what = f"first packet to mark in the kernel, new endpoint, median of {len(bulk.kernel_ms)}"
    text = f"{median:.0f} ms, first packet that carries it {sent:.0f} ms"
    add(what, f"under {_NEW_MS:.0f} ms", text, median < _NEW_MS)
    known = ours.known.get("bulk", Marks())
    what = f"unmarked packets, known endpoint, {known.flows} flows"
    found.append(Figure(what, "0", str(known.late), known.late == 0 and known.flows > 0, True))
    late = percentile(ours.waited_ms, 99)
    what = f"from verdict to mark, 99th percentile of {len(ours.waited_ms)}"
    add(what, f"at most {_WAITED_MS:.0f} ms", f"{late:.2f} ms", late <= _WAITED_MS)
    return found


def others(result: Result) -> list[tuple[str, int]]:
    """Flows with another class's mark, and its code point; of the way with flowsonar."""
    every = (*result.new.values(), *result.known.values()) if result.way == "flowsonar" else ()
    return [one for marks in every for one in marks.others]


def as_json(results: Sequence[Result], chosen: Sequence[Figure], **more: object) -> dict[str, Any]:
    """Everything that was measured."""
    return {
        **more,
        "line": {"up_kbit": UP_KBIT, "down_kbit": DOWN_KBIT, "rtt_ms": RTT_MS},
        "figures": [
            {"what": one.what, "wanted": one.wanted, "found": one.found, "reached": one.reached} for one in chosen
        ],
        "ways": {result.way: _way(result) for result in results},
    }


def _way(result: Result) -> dict[str, Any]:
    found: dict[str, Any] = {"carried_bytes": result.carried, "carried_seconds": round(result.seconds, 3)}
    for direction in ("up", "down"):
        delays: Delays = getattr(result, direction)
        found["stood_still"] = round(result.still, 4)
        found[direction] = {
            "sent": delays.sent,
            "lost": delays.lost,
            "left_out": len(delays.left_out),
            "delay_ms": {f"p{percent}": _rounded(percentile(delays.ms, percent)) for percent in (50, 90, 99, 100)},
            "settled_delay_ms": {
                f"p{percent}": _rounded(percentile(_delays(result, direction, SETTLED_S), percent))
                for percent in (50, 90, 99, 100)
            },
            "points": [[round(at_s, 3), round(ms, 3)] for at_s, ms in delays.points],
        }
    for name, kinds in (("new", result.new), ("known", result.known)):
        found[f"marks_{name}"] = {kind: _marks(marks) for kind, marks in kinds.items()}
    return found


def _marks(marks: Marks) -> dict[str, Any]:
    return {
        "flows": marks.flows,
        "packets": marks.packets,
        "bytes_after_1s": marks.octets,
        "right_after_1s": marks.right,
        "packets_before_mark": marks.late,
        "flows_never_marked": marks.never,
        "packets_of_another_class": marks.wrong,
        "kernel_mark_ms": {f"p{percent}": _rounded(percentile(marks.kernel_ms, percent)) for percent in (50, 90, 100)},
        "first_mark_ms": {f"p{percent}": _rounded(percentile(marks.first_ms, percent)) for percent in (50, 90, 100)},
    }


def _rounded(value: float) -> float | None:
    return None if value != value else round(value, 3)
