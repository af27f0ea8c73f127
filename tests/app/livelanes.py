"""Captures as if they were live: in the fast lane and without it, packet by packet, by their own clock."""

from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import cast

import orjson

from flowsonar.app.asking import Asking
from flowsonar.app.livelanes import LiveLanes
from flowsonar.app.parts import Parts
from flowsonar.app.remembered import Remembered
from flowsonar.capture.capturefile import open_capture
from flowsonar.config import FlowSettings, ScopeSettings
from flowsonar.flows.table import FlowTable, make_table
from flowsonar.model import (
    Answer,
    Block,
    Confidence,
    Endpoint,
    Evidence,
    EvidenceKind,
    FlowKey,
    FlowRecord,
    Outcome,
)
from flowsonar.outputs.eve import encode
from flowsonar.passive import FOLLOW
from flowsonar.probes import Scope
from flowsonar.verdicts.store import Store
from flowsonar.verdicts.tracker import Tracker

_FRAME_BYTES = 24
_SEED = bytes(16)
_INTERFACES = ("eth0",)
_ANSWERED = Evidence(
    kind=EvidenceKind.REPLY,
    service="redis",
    confidence=Confidence.CONFIRMED,
    probe="redis/ping",
    signature="redis/pong",
)
OWN = range(61000, 61010)
"""Ports of our own sockets."""


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


class Asked:
    """In place of `Asking`: every third endpoint says that it is a service of peers, the others nothing."""

    def __init__(self, *networks: str) -> None:
        self._scope = Scope(ScopeSettings(only=networks))
        self.networks = self._scope.networks
        self.asked: set[Endpoint] = set()
        self.ours: list[Endpoint] = []

    def why_not(self, endpoint: Endpoint) -> str | None:
        return self._scope.permits(endpoint)

    def is_own(self, key: FlowKey) -> bool:
        return key.initiator_port in OWN or key.responder_port in OWN

    def tell_own(self, told: Callable[[Endpoint], None]) -> None:
        for endpoint in self.ours:
            told(endpoint)

    def answer(self, tracker: Tracker, now_ns: int) -> None:
        """What is due, and answers to what is asked, at once."""
        tracker.due(now_ns)
        while tracker.questions:
            endpoint = tracker.questions.pop(0).endpoint
            self.asked.add(endpoint)
            says = endpoint.port % 3 == 0
            evidence = (_ANSWERED,) if says else ()
            outcome = Outcome.ANSWERED if says else Outcome.SILENT
            tracker.answer(Answer(endpoint=endpoint, outcome=outcome, evidence=evidence), now_ns)
        tracker.withdrawn.clear()
        tracker.expected.clear()


def reference(capture: Path, parts: Parts, store: Store, asked: Asked | None = None) -> list[bytes]:
    """What the slow lane writes."""
    table = make_table(FlowSettings(), follow=FOLLOW, seed=_SEED)
    tracker = Tracker(
        parts.new_reader(),
        parts.signatures,
        cache=store,
        ask=asked is not None,
        live=True,
        permits=asked.why_not if asked is not None else lambda _: None,
        own=asked.is_own if asked is not None else None,
        interfaces=_INTERFACES,
    )
    now_ns = 1
    for block, now_ns in _packets(capture):
        tracker.feed(table.feed(block), now_ns)
        _instruct(table, tracker)
        tracker.feed(table.expire(now_ns), now_ns)
        if asked is not None:
            asked.answer(tracker, now_ns)
    tracker.stop_asking()
    tracker.feed(table.finish(), now_ns)
    return [encode(record) for record in tracker.records]


def live(
    capture: Path, parts: Parts, store: Store, cache: Path, asked: Asked | None = None
) -> tuple[list[bytes], dict[str, int]]:
    """What is written with the fast lane, and the counts; what was learned is kept in `cache`."""
    lanes: LiveLanes | None = None
    lines: list[bytes] = []
    now_ns = 1
    for block, now_ns in _packets(capture):
        if lanes is None:
            kept = Remembered("tested", cache=cache, kind="live")
            table = make_table(FlowSettings(), follow=FOLLOW, seed=_SEED, lanes=parts.lane_tables)
            lanes = LiveLanes(table, parts, store, _INTERFACES, kept, now_ns, cast("Asking | None", asked))
        _add(lines, lanes.feed(block, now_ns))
        _instruct(table, lanes.tracker)
        _add(lines, lanes.expire(now_ns))
        if asked is not None:
            asked.answer(lanes.tracker, now_ns)
            _add(lines, lanes.records())
    assert lanes is not None
    lanes.tracker.stop_asking()
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


def same(
    captures: list[Path], parts: Parts, folder: Path, networks: tuple[str, ...] | None = None
) -> list[dict[str, int]]:
    """Compare both, twice each: the second time endpoints are known, and paths. Each capture's last counts.

    With `networks`, endpoints there are asked.
    """
    found = []
    for capture in captures:
        counts: dict[str, int] = {}
        stores = Store(folder / f"{capture.name}.fast.db"), Store(folder / f"{capture.name}.slow.db")
        for _ in range(2):
            asked = None if networks is None else (Asked(*networks), Asked(*networks))
            slow = by_flow(reference(capture, parts, stores[1], None if asked is None else asked[0]))
            lines, counts = live(capture, parts, stores[0], folder, None if asked is None else asked[1])
            assert asked is None or asked[0].asked == asked[1].asked
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
