"""Captures as if they were live: in the fast lane and without it, packet by packet, by their own clock."""

from collections import defaultdict
from collections.abc import Iterable, Iterator
from pathlib import Path

import orjson

from flowsonar.app.livelanes import LiveLanes
from flowsonar.app.parts import Parts
from flowsonar.app.remembered import Remembered
from flowsonar.capture.capturefile import open_capture
from flowsonar.config import FlowSettings
from flowsonar.flows.table import FlowTable, make_table
from flowsonar.model import Block, FlowRecord
from flowsonar.outputs.eve import encode
from flowsonar.passive import FOLLOW
from flowsonar.verdicts.store import Store
from flowsonar.verdicts.tracker import Tracker

_FRAME_BYTES = 24
_SEED = bytes(16)
_INTERFACES = ("eth0",)


def _packets(capture: Path) -> Iterator[tuple[Block, int]]:
    """One at a time, with its time, which is the clock's."""
    with open_capture(str(capture)) as opened:
        for block in opened:
            for at in range(0, len(block.frames), _FRAME_BYTES):
                frame = bytes(block.frames[at : at + _FRAME_BYTES])
                yield block._replace(frames=frame), max(1, int.from_bytes(frame[:8], "little"))


def _instruct(table: FlowTable, tracker: Tracker) -> None:
    for flow in tracker.follows:
        table.follow(flow)
    for flow in tracker.releases:
        table.release(flow)
    tracker.follows.clear()
    tracker.releases.clear()


def reference(capture: Path, parts: Parts, store: Store) -> list[bytes]:
    """What the slow lane writes."""
    table = make_table(FlowSettings(), follow=FOLLOW, seed=_SEED)
    tracker = Tracker(parts.new_reader(), parts.signatures, cache=store, live=True, interfaces=_INTERFACES)
    now_ns = 1
    for block, now_ns in _packets(capture):
        tracker.feed(table.feed(block), now_ns)
        _instruct(table, tracker)
        tracker.feed(table.expire(now_ns), now_ns)
    tracker.feed(table.finish(), now_ns)
    return [encode(record) for record in tracker.records]


def live(capture: Path, parts: Parts, store: Store, cache: Path) -> tuple[list[bytes], dict[str, int]]:
    """What is written with the fast lane, and the counts; what was learned is kept in `cache`."""
    lanes: LiveLanes | None = None
    lines: list[bytes] = []
    now_ns = 1
    for block, now_ns in _packets(capture):
        if lanes is None:
            kept = Remembered("tested", cache=cache, kind="live")
            table = make_table(FlowSettings(), follow=FOLLOW, seed=_SEED, lanes=parts.lane_tables)
            lanes = LiveLanes(table, parts, store, _INTERFACES, kept, now_ns)
        _add(lines, lanes.feed(block, now_ns))
        _instruct(table, lanes.tracker)
        _add(lines, lanes.expire(now_ns))
    assert lanes is not None
    _add(lines, lanes.finish(now_ns))
    return lines, lanes.counts()


def _add(lines: list[bytes], ended: Iterable[bytes | FlowRecord]) -> None:
    for one in ended:
        lines += one.splitlines(keepends=True) if isinstance(one, bytes) else [encode(one)]


def by_flow(lines: list[bytes]) -> dict[int, list[bytes]]:
    """Each flow's, in their order."""
    flows = defaultdict(list)
    for line in lines:
        flows[orjson.loads(line)["flow_id"]].append(line)
    return flows


def same(captures: list[Path], parts: Parts, folder: Path) -> list[dict[str, int]]:
    """Compare both, twice each: the second time endpoints are known, and paths. Each capture's last counts."""
    found = []
    for capture in captures:
        counts: dict[str, int] = {}
        stores = Store(folder / f"{capture.name}.fast.db"), Store(folder / f"{capture.name}.slow.db")
        for _ in range(2):
            slow = by_flow(reference(capture, parts, stores[1]))
            lines, counts = live(capture, parts, stores[0], folder)
            fast = by_flow(lines)
            assert fast.keys() == slow.keys()
            for flow, expected in slow.items():
                assert fast[flow] == expected
            assert counts["flows"] == sum(
                b'"event_type":"flow"' in line and b'"reason":"active"' not in line for line in lines
            )
        for store in stores:
            store.close()
        found.append(counts)
    return found
