"""Live flows with the fast lane and without it: the same records, each flow's in their order."""

from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path

import orjson
import pytest

from flowsonar import _native
from flowsonar.app.known import Known
from flowsonar.app.livelanes import LiveLanes
from flowsonar.app.parts import Parts
from flowsonar.app.remembered import Remembered
from flowsonar.capture.capturefile import open_capture
from flowsonar.config import FlowSettings, Settings
from flowsonar.flows.table import make_table
from flowsonar.model import Block
from flowsonar.outputs.eve import encode
from flowsonar.passive import FOLLOW
from flowsonar.verdicts.store import Store
from flowsonar.verdicts.tracker import Tracker
from tests.needs import CORPUS, needs_corpus

pytestmark = pytest.mark.skipif(_native.core is None, reason="needs the native build")

FRAME = 24
SEED = bytes(16)


@pytest.fixture(scope="module")
def parts() -> Parts:
    return Parts(Settings())


def blocks(capture: Path, most: int) -> Iterator[tuple[Block, int]]:
    """Some frames at a time, as rings give them, with the clock: that of the last one."""
    with open_capture(str(capture)) as opened:
        for block in opened:
            data, frames = block
            for at in range(0, len(frames), most * FRAME):
                some = frames[at : at + most * FRAME]
                yield block._replace(frames=some), max(1, int.from_bytes(some[-FRAME : -FRAME + 8], "little"))


def reference(captures: list[Path], parts: Parts, store: Store, most: int) -> list[bytes]:
    lines = []
    for capture in captures:
        table = make_table(FlowSettings(), follow=FOLLOW, seed=SEED)
        tracker = Tracker(parts.new_reader(), parts.signatures, cache=store, live=True, interfaces=("eth0",))
        now_ns = 1

        def instruct() -> None:
            for flow in tracker.follows:
                table.follow(flow)
            for flow in tracker.releases:
                table.release(flow)
            tracker.follows.clear()
            tracker.releases.clear()

        for block, now_ns in blocks(capture, most):
            tracker.feed(table.feed(block), now_ns)
            instruct()
            tracker.feed(table.expire(now_ns), now_ns)
        tracker.feed(table.finish(), now_ns)
        lines += [encode(record) for record in tracker.records]
    return lines


def live(
    captures: list[Path], parts: Parts, store: Store, most: int, cache: Path
) -> tuple[list[bytes], dict[str, int]]:
    lines, counts = [], {}
    for capture in captures:
        table = make_table(FlowSettings(), follow=FOLLOW, seed=SEED, lanes=parts.lane_tables)
        reader = parts.new_reader(table.holding)
        known = Known(store, table, parts.signatures)
        tracker = Tracker(reader, parts.signatures, cache=known, live=True, interfaces=("eth0",))
        lanes: LiveLanes | None = None
        now_ns = 1
        for block, now_ns in blocks(capture, most):
            if lanes is None:
                kept = Remembered("tested", cache=cache, kind="live")
                lanes = LiveLanes(table, known, tracker, reader, ("eth0",), kept, now_ns)
            for ended in (lanes.feed(block, now_ns), lanes.expire(now_ns)):
                for one in ended:
                    lines += one.splitlines(keepends=True) if isinstance(one, bytes) else [encode(one)]
            for flow in tracker.follows:
                table.follow(flow)
            tracker.follows.clear()
        assert lanes is not None
        for one in lanes.finish(now_ns):
            lines += one.splitlines(keepends=True) if isinstance(one, bytes) else [encode(one)]
        counts = lanes.counts()
    return lines, counts


def by_flow(lines: list[bytes]) -> dict[int, list[bytes]]:
    flows = defaultdict(list)
    for line in lines:
        flows[orjson.loads(line)["flow_id"]].append(line)
    return flows


def compare(captures: list[Path], parts: Parts, folder: Path, most: int = 64) -> dict[str, int]:
    """Twice over the same captures: the second time their endpoints are known, and what they taught."""
    counts: dict[str, int] = {}
    with_store, slow_store = Store(folder / "fast.db"), Store(folder / "slow.db")
    for _ in range(2):
        slow = by_flow(reference(captures, parts, slow_store, most))
        lines, counts = live(captures, parts, with_store, most, folder)
        fast = by_flow(lines)
        assert fast.keys() == slow.keys()
        for flow, expected in slow.items():
            assert fast[flow] == expected
    with_store.close()
    slow_store.close()
    return counts
