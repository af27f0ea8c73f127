"""The fast lane live: flows that need no Python are followed in C to their verdict records and their ends.

What `lanes` is for captures, with two differences: verdicts of endpoints are known (`known`), and what the reference
tells while a flow lives is told by the table as well. A flow's own records are in their order; those of flows in
different lanes may be in another one where they come from the same block.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import suppress
from ipaddress import IPv4Network, IPv6Network
from typing import TYPE_CHECKING, Final, cast

from flowsonar.app.known import Known
from flowsonar.app.lanes import FRAME_BYTES, interface_text, worth_keeping
from flowsonar.app.learning import Teacher
from flowsonar.model import Confidence
from flowsonar.verdicts.store import LIVES_S
from flowsonar.verdicts.tracker import Tracker

if TYPE_CHECKING:
    from flowsonar.app.asking import Asking
    from flowsonar.app.lanes import LaneTable
    from flowsonar.app.parts import Parts
    from flowsonar.app.remembered import Remembered
    from flowsonar.flows.events import FlowEvent
    from flowsonar.flows.table import FlowTable
    from flowsonar.model import Block, FlowRecord
    from flowsonar.verdicts.store import Store

__all__ = ["LiveLanes"]

_NETWORKS: Final = 256
"""`ASKABLE_MAX` in `_native/askable.h`; of more all addresses may be asked, as far as the table knows."""
_ALL: Final = (IPv4Network("0.0.0.0/0"), IPv6Network("::/0"))

_LIFE_S: Final = int(LIVES_S[Confidence.CONFIRMED])
_SIZE_BYTES: Final = 4


class LiveLanes:
    """A live run's table, its tracker and what is known of endpoints. Times are nanoseconds of the caller's clock."""

    def __init__(
        self,
        table: FlowTable,
        parts: Parts,
        store: Store | None,
        interfaces: tuple[str, ...],
        remembered: Remembered,
        now_ns: int,
        asking: Asking | None = None,
    ) -> None:
        """`table` was made with the lane tables of `parts`. Without `asking` nobody is asked."""
        self._table = lanes = cast("LaneTable", table)
        self._remembered = remembered
        reader = parts.new_reader(lanes.holding)
        self._known = Known(store, lanes, parts.signatures)
        self.tracker = Tracker(
            reader,
            parts.signatures,
            cache=self._known,
            ask=asking is not None,
            live=True,
            permits=asking.why_not if asking is not None else lambda _: None,
            own=asking.is_own if asking is not None else None,
            interfaces=interfaces,
        )
        self._teacher = Teacher(lanes, self.tracker, reader, self._known)
        lanes.live(now_ns, _LIFE_S)
        if asking is not None:
            lanes.ask(_packed(asking.networks))
            asking.tell_own(self._known.own)
        lanes.set_interfaces(tuple(map(interface_text, interfaces)))
        self._recall()
        self._known.load(now_ns / 1e9)

    def feed(self, block: Block, now_ns: int) -> Iterator[bytes | FlowRecord]:
        """Records, and lines of several."""
        data, frames = block
        count, done = len(frames) // FRAME_BYTES, 0
        self._begin(now_ns)
        while done < count:
            done, events, nodes, text, *_ = self._table.feed_lanes(data, frames, done)
            yield from self._taken(events, nodes, text, now_ns)

    def expire(self, now_ns: int) -> Iterator[bytes | FlowRecord]:
        """What idle and active timeouts have ended."""
        done = 0
        self._begin(now_ns)
        while not done:
            done, events, nodes, text, *_ = self._table.expire_lanes(now_ns)
            yield from self._taken(events, nodes, text, now_ns)

    def finish(self, now_ns: int) -> Iterator[bytes | FlowRecord]:
        """End all flows, and keep what was learned."""
        done = 0
        self._begin(now_ns)
        while not done:
            done, events, nodes, text, *_ = self._table.finish_lanes()
            yield from self._taken(events, nodes, text, now_ns)
        self._keep()
        self._teacher.close()

    def records(self) -> list[FlowRecord]:
        """What became of flows by answers and by time."""
        records, self.tracker.records = self.tracker.records, []
        return records

    def counts(self) -> dict[str, int]:
        """The tracker's counts, with the fast lane's."""
        slow, counts = self.tracker.counts, self._table.lane_counts()
        return {**slow, **counts, "flows": slow["flows"] + counts["lane_flows"]}

    def _begin(self, now_ns: int) -> None:
        self._table.live(now_ns, _LIFE_S)
        self._teacher.now_ns = now_ns

    def _taken(
        self, events: list[FlowEvent], nodes: list[int] | None, text: bytes, now_ns: int
    ) -> Iterator[bytes | FlowRecord]:
        """Lines first: what the fast lane told of a flow that left it comes before what Python tells."""
        self._known.hear(now_ns / 1e9)
        if events:
            self._teacher.take(events, nodes)
        if text:
            yield text
        if self.tracker.records:
            yield from self.records()

    # -- kept ---------------------------------------------------------------------------------------------------

    def _recall(self) -> None:
        kept = self._remembered.kept
        if kept is None:
            return
        size = int.from_bytes(kept[:_SIZE_BYTES], "little")
        if self._table.recall(kept[_SIZE_BYTES : _SIZE_BYTES + size]):
            with suppress(ValueError):  # what is not well-formed is learned again
                self._known.recall(kept[_SIZE_BYTES + size :])

    def _keep(self) -> None:
        if worth_keeping(self._table):
            shapes = self._table.keep()
            self._remembered.keep(len(shapes).to_bytes(_SIZE_BYTES, "little") + shapes + self._known.keep())
            self._remembered.save()


def _packed(networks: Sequence[IPv4Network | IPv6Network]) -> bytes:
    """Networks as `_native/askable.h` reads them."""
    if len(networks) > _NETWORKS:
        networks = _ALL
    return b"".join(
        network.network_address.packed.ljust(16, b"\0") + bytes((network.prefixlen, network.version))
        for network in networks
    )
