"""IP fragments, in plain Python: the ports of a datagram's first one for the others, and the datagram put together.

Specification of fragments.c and datagrams.c. What overlaps, or cannot be parts of one datagram, is dropped as a whole
(RFC 5722, RFC 8200 section 4.5; IPv4's receivers differ, so none of its readings is believed either). What stays
incomplete gives the bytes before its first gap.
"""

from __future__ import annotations

from collections import OrderedDict
from typing import TYPE_CHECKING

from flowsonar import limits
from flowsonar.flows._reference_decode import TCP, Fragment, Packet

if TYPE_CHECKING:
    from collections.abc import MutableMapping

__all__ = ["DATAGRAMS", "FRAGMENTS", "FRAGMENT_TIMEOUT_NS", "PIECES", "Entry", "Fragments", "Whole"]

FRAGMENTS = 4096
"""Datagrams whose ports are remembered; a new one displaces the oldest."""

FRAGMENT_TIMEOUT_NS = 30_000_000_000
"""Linux gives up reassembly after as long (net.ipv4.ipfrag_time)."""

DATAGRAMS = 256
"""Datagrams put together at a time: half a MiB. For a new one the oldest is given up."""

PIECES = 16
"""Runs of one datagram with gaps between them: senders go forwards or backwards, so there are hardly more than two."""

_HEADERS = 128
"""Bytes before the payload: a TCP header with its options, or UDP's behind IPv6's destination options."""
_KEPT = _HEADERS + limits.PAYLOAD_BYTES
_LARGEST = 65535


class Whole:
    """A datagram on its way to be whole. Places count from the end of the IP header (or IPv6's fragment header)."""

    __slots__ = (
        "data",
        "direction",
        "entry",
        "flags",
        "flow",
        "header",
        "protocol",
        "runs",
        "sequence",
        "since",
        "told",
        "total",
    )

    def __init__(self, entry: Entry, clock: int) -> None:
        self.entry = entry
        self.since = clock
        self.runs: list[tuple[int, int]] = []  # sorted, with gaps between them
        self.data = bytearray(_KEPT)
        self.total = 0  # 0 while the last fragment was not seen
        # From the first fragment: whose it is, and what its transport header says.
        self.flow: int | None = None
        self.direction = self.header = self.protocol = self.sequence = self.flags = 0
        self.told = 0  # bytes of payload that a UDP header tells of; 0 where none does

    def add(self, start: int, data: bytes, *, last: bool) -> bool:
        """Take a fragment; False where it does not fit to the others."""
        end = start + len(data)
        runs = self.runs
        if (
            end > _LARGEST
            or (not last and end % 8)
            or (self.total and (end > self.total or (last and end != self.total)))
        ):
            return False
        if last and runs and runs[-1][1] > end:
            return False
        if last:
            self.total = end
        for begin, stop in runs:
            if start < stop and begin < end:
                kept = data[: max(_KEPT - start, 0)]
                return begin <= start and end <= stop and self.data[start : start + len(kept)] == kept
        self.data[start:end] = data[: max(_KEPT - start, 0)]
        del self.data[_KEPT:]
        before = next((run for run in runs if run[1] == start), None)
        after = next((run for run in runs if run[0] == end), None)
        for run in (before, after):
            if run is not None:
                runs.remove(run)
        runs.append((before[0] if before else start, after[1] if after else end))
        runs.sort()
        return len(runs) <= PIECES

    @staticmethod
    def begins_with(packet: Packet) -> bool:
        """Whether a first fragment's payload is to wait for the others: there is more, and nothing of it is missing."""
        if len(packet.payload) < packet.payload_wire or packet.fragment_header > _HEADERS:
            return False
        return packet.protocol == TCP or not packet.udp_length or packet.udp_length - 8 > packet.payload_wire

    @property
    def complete(self) -> bool:
        """Whether all is there."""
        return self.flow is not None and self.runs == [(0, self.total)]

    def packet(self) -> Packet | None:
        """The packet that its bytes up to the first gap make; None without a payload."""
        packet = Packet()
        packet.protocol, packet.sequence, packet.flags = self.protocol, self.sequence, self.flags
        there = self.runs[0][1] - self.header
        packet.payload_wire = min(self.told or there, there) if self.complete else self.told or there
        packet.payload = bytes(self.data[self.header :])[: min(there, packet.payload_wire)]
        return packet if packet.payload else None


class Entry:
    """A datagram that comes in fragments."""

    __slots__ = ("clock", "over", "ports", "whole")

    def __init__(self, clock: int) -> None:
        self.clock = clock
        # Protocol and ports, None while the first fragment was not seen.
        self.ports: tuple[int, int, int] | None = None
        self.whole: Whole | None = None
        # Nothing is put together until another first fragment comes.
        self.over = False


class Fragments:
    """What is known of fragmented datagrams. `count` has the table's counters."""

    def __init__(self, count: MutableMapping[str, int]) -> None:
        self._count = count
        # In the order of insertion.
        self._entries: OrderedDict[tuple[object, ...], Entry] = OrderedDict()
        # In the order of `since`, at most DATAGRAMS.
        self._wholes: list[Whole] = []

    def assign(self, packet: Packet, clock: int) -> Entry | None:
        """Give a later fragment its ports, remember a first one's; None where they are not known."""
        key = (packet.source, packet.destination, packet.path, packet.fragment_id, packet.fragment_protocol)
        entry = self._entries.get(key)
        if entry is None:
            if len(self._entries) == FRAGMENTS:
                oldest = self._entries.popitem(last=False)[1]
                self._count["fragments_displaced"] += clock - oldest.clock <= FRAGMENT_TIMEOUT_NS
                if oldest.whole is not None:
                    self._end(oldest.whole, "fragments_incomplete")
            entry = self._entries[key] = Entry(clock)
        elif entry.whole is None and clock - entry.clock > FRAGMENT_TIMEOUT_NS:
            entry.clock, entry.ports, entry.over = clock, None, False
        if packet.fragment is Fragment.FIRST:
            entry.clock = clock
            entry.ports = packet.protocol, packet.source_port, packet.destination_port
            return entry
        if entry.ports is None:
            return None
        packet.protocol, packet.source_port, packet.destination_port = entry.ports
        return entry

    def unknown(self, packet: Packet, clock: int) -> list[Whole]:
        """Take a later fragment whose first one was not seen; give what has come to its end."""
        key = (packet.source, packet.destination, packet.path, packet.fragment_id, packet.fragment_protocol)
        return self.later(self._entries[key], packet, clock)

    def first(self, entry: Entry, packet: Packet, flow: int, direction: int, clock: int) -> list[Whole]:
        """Take a first fragment, whose payload waits for the others; give what has come to its end."""
        entry.over = False
        whole, ended = self._of(entry, clock)
        if whole.flow is None:
            whole.flow, whole.direction, whole.header = flow, direction, packet.fragment_header
            whole.protocol, whole.sequence, whole.flags = packet.protocol, packet.sequence, packet.flags
            whole.told = max(packet.udp_length - 8, 0)
        data = bytes(packet.fragment_header) + packet.payload
        return ended + self._add(whole, 0, data, last=False)

    def later(self, entry: Entry, packet: Packet, clock: int) -> list[Whole]:
        """Take a later fragment; give what has come to its end."""
        if entry.over or not packet.payload_wire:
            return []
        whole, ended = self._of(entry, clock)
        if len(packet.payload) < packet.payload_wire:  # not captured whole: there will be a gap
            self._end(whole, "fragments_incomplete")
            return [*ended, whole]
        return ended + self._add(whole, packet.fragment_offset, packet.payload, last=packet.fragment_last)

    def pass_by(self, entry: Entry) -> None:
        """A first fragment is read by itself."""
        if entry.whole is not None:
            self._end(entry.whole, "fragments_incomplete")
        entry.over = True

    def due(self, clock: int) -> Whole | None:
        """Give up the oldest datagram where it has waited for too long."""
        if self._wholes and clock - self._wholes[0].since > FRAGMENT_TIMEOUT_NS:
            return self.oldest()
        return None

    def oldest(self) -> Whole | None:
        """Give up the oldest datagram."""
        if not self._wholes:
            return None
        whole = self._wholes[0]
        self._end(whole, "fragments_incomplete")
        return whole

    def _of(self, entry: Entry, clock: int) -> tuple[Whole, list[Whole]]:
        if entry.whole is not None:
            return entry.whole, []
        ended = []
        if len(self._wholes) == DATAGRAMS:
            ended.append(self._wholes[0])
            self._end(self._wholes[0], "fragments_no_room")
        entry.whole = Whole(entry, clock)
        self._wholes.append(entry.whole)
        return entry.whole, ended

    def _add(self, whole: Whole, start: int, data: bytes, *, last: bool) -> list[Whole]:
        if not whole.add(start, data, last=last):
            self._end(whole, "fragments_overlapping")
        elif whole.complete:
            self._end(whole, "fragments_joined")
            return [whole]
        return []

    def _end(self, whole: Whole, counter: str) -> None:
        self._wholes.remove(whole)
        whole.entry.whole, whole.entry.over = None, True
        self._count[counter] += 1
