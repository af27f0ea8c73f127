"""Packets of interfaces as the source of flows: rings, the flow table, and a file that keeps the packets."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, Final

from flowsonar.app.cutting import Cutting
from flowsonar.capture.cutoff import CutFlows
from flowsonar.capture.pcapng import PcapngWriter
from flowsonar.capture.ring import BLOCK_BYTES, SETTLE_S, Ring, drops_by_interface, open_rings
from flowsonar.config import CaptureSettings, FlowSettings
from flowsonar.errors import CaptureError, ConfigError
from flowsonar.flows.events import FlowEvent
from flowsonar.flows.table import FlowTable, make_table
from flowsonar.model import Block
from flowsonar.passive import FOLLOW

__all__ = ["PacketSource", "ring_blocks"]

_log = logging.getLogger(__name__)

RING_MIB_MAX: Final = 2048
"""Of one interface: a second of 10 Gbit/s."""
RINGS_MAX: Final = 64


def ring_blocks(capture: CaptureSettings) -> int:
    """Blocks of each ring: an interface's memory is for all its rings. Raises ConfigError."""
    if not 1 <= capture.ring_mib <= RING_MIB_MAX:
        raise ConfigError(f"capture.ring_mib is {capture.ring_mib}: give 1 to {RING_MIB_MAX}")
    if not 1 <= capture.rings <= RINGS_MAX:
        raise ConfigError(f"capture.rings is {capture.rings}: give 1 to {RINGS_MAX}")
    return max(2, (capture.ring_mib << 20) // BLOCK_BYTES // capture.rings)


class PacketSource:
    """A `Source`. An interface that goes away is waited for, and told once; the others go on."""

    def __init__(
        self,
        interfaces: Sequence[str],
        settings: FlowSettings,
        *,
        write: str | Path | None = None,
        filter_expression: str | None = None,
        capture: CaptureSettings | None = None,
    ) -> None:
        """`filter_expression` goes over the filter of `capture`. Raises ConfigError."""
        capture = capture or CaptureSettings()
        self._blocks = ring_blocks(capture)
        self._rings_wanted = capture.rings
        self.interfaces = tuple(dict.fromkeys(interfaces))
        self.settle_s = SETTLE_S
        self._write = write
        self._filter = filter_expression or capture.filter
        self._settings = settings
        self._table = make_table(settings, follow=FOLLOW)
        self._rings: list[Ring] = []
        self._gone: dict[int, str | None] = {}  # by ring: why it captures nothing, as last told
        self._cutoff_bytes = capture.cutoff_bytes
        if self._cutoff_bytes is not None:
            if self._cutoff_bytes < 1:
                raise ConfigError(f"capture.cutoff_bytes is {self._cutoff_bytes}: give 1 or more")
            if self._filter:
                raise ConfigError("--cutoff takes the place of a kernel filter: leave --filter and --ask-as-peer out")
        self._kernels: list[CutFlows] = []
        self._cutting: Cutting | None = None
        self._drops = {"kernel_packets": 0, "kernel_drops": 0}
        self._writer: PcapngWriter | None = None
        self._problems: list[str] = []

    def open(self) -> None:
        """Open the rings first: they keep the packets that come while the rest is loaded."""
        self._rings = open_rings(self.interfaces, rings=self._rings_wanted, blocks=self._blocks, filter=self._filter)
        try:
            if self._cutoff_bytes is not None:
                for ring in self._rings:
                    self._kernels.append(CutFlows(ring.linktype))
                    ring.attach(self._kernels[-1].program)
                self._cutting = Cutting(self._kernels, self._table, cutoff_bytes=self._cutoff_bytes)
            if self._write is not None:
                self._writer = PcapngWriter(self._write, self.interfaces)
        except BaseException:
            self.close()
            raise

    def descriptors(self) -> list[int]:
        """One a ring."""
        return [ring.fileno() for ring in self._rings]

    @property
    def shows_all(self) -> bool:
        """Whether events of all flows are needed here."""
        return self._cutoff_bytes is not None

    def with_lanes(self, tables: tuple[Any, ...]) -> FlowTable:
        """Give the table a fast lane, before the first packet; then `blocks` takes the place of `events`."""
        self._table = make_table(self._settings, follow=FOLLOW, lanes=tables)
        return self._table

    def blocks(self) -> Iterator[Block]:
        """Take what every ring holds."""
        for ring in self._rings:
            for block in ring.read():
                yield block
                self._keep(block)

    def events(self) -> Iterator[Sequence[FlowEvent]]:
        """Take what every ring holds, as events."""
        for block in self.blocks():
            yield self._seen(self._table.feed(block))

    def expire(self, now_ns: int) -> Sequence[FlowEvent]:
        """Give what idle and active timeouts have ended."""
        return self._seen(self._table.expire(now_ns))

    def finish(self) -> Sequence[FlowEvent]:
        """End all flows that are open."""
        return self._seen(self._table.finish())

    def _seen(self, events: Sequence[FlowEvent]) -> Sequence[FlowEvent]:
        return events if self._cutting is None else self._cutting.seen(events)

    def follow(self, flow: int) -> None:
        """Report all short payloads of this flow."""
        self._table.follow(flow)

    def release(self, flow: int) -> None:
        """Report no payload of this flow any more."""
        self._table.release(flow)
        if self._cutting is not None:
            self._cutting.settled(flow)

    def check(self) -> list[str]:
        """Look after the interfaces: a blocked one would not make its socket readable."""
        told, self._problems = self._problems, []
        if self._cutting is not None:
            self._cutting.turn()
        for number, ring in enumerate(self._rings):
            gone = ring.check()
            if gone is not None and gone != self._gone.get(number) and gone not in told:
                told.append(gone)
            elif gone is None and self._gone.get(number) is not None:
                _log.warning("interface %s is back", ring.interface)
            self._gone[number] = gone
        return told

    def counters(self) -> dict[str, int]:
        """The flow table's, and what the kernel says of the rings (`drops_by_interface`)."""
        if self._rings:
            self._drops = drops_by_interface(self._rings)
        counts = {**self._table.counters(), **self._drops}
        if self._cutting is not None:
            counts |= {"flows_cut": self._cutting.count, "flows_cut_no_room": self._cutting.no_room}
        return counts

    def close(self) -> list[str]:
        """Close rings and file."""
        self.counters()
        for ring in self._rings:
            ring.close()
        self._rings.clear()
        for kernel in self._kernels:
            kernel.close()
        self._kernels.clear()
        told, self._problems = self._problems, []
        if self._writer is not None:
            try:
                self._writer.close()
            except CaptureError as error:
                told.append(str(error))
            self._writer = None
        return told

    def _keep(self, block: Block) -> None:
        if self._writer is None:
            return
        try:
            self._writer.write(block)
        except CaptureError as error:
            self._problems.append(f"{error}; going on without writing packets")
