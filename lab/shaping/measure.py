"""What was measured: how long voice was under way, what the line carried, which packets were marked and how soon."""

from __future__ import annotations

import json
import math
import socket
import struct
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path

__all__ = [
    "Delays",
    "Kind",
    "Marks",
    "Packet",
    "carried",
    "delays",
    "in_kernel",
    "marked",
    "marks",
    "packets",
    "percentile",
    "waits",
]

_NANO = 0xA1B23C4D
_LATER_NS = 500_000_000
_BEFORE_S, _AFTER_S = 0.02, 0.25
"""A packet is under way for so long; and so long a line that is nearly full takes to carry what came late."""


@dataclass(frozen=True, slots=True)
class Packet:
    """One IPv4 packet of TCP or UDP as it was captured."""

    time_ns: int
    octets: int
    """With its Ethernet header, as queues count."""
    source: tuple[str, int]
    destination: tuple[str, int]
    transport: str
    dscp: int


@dataclass(frozen=True, slots=True)
class Kind:
    """What a server's endpoint is for."""

    name: str
    dscp: frozenset[int]
    """The right marks; empty where any is."""


def packets(file: Path) -> Iterator[Packet]:
    """The packets of a pcap file with nanoseconds, Ethernet."""
    data = file.read_bytes()
    if len(data) < 24 or struct.unpack_from("<I", data)[0] != _NANO:
        return
    at = 24
    while at + 16 <= len(data):
        seconds, nanoseconds, kept, octets = struct.unpack_from("<IIII", data, at)
        at += 16
        frame = data[at : at + kept]
        at += kept
        if len(frame) < 38 or frame[12:14] != b"\x08\x00" or frame[23] not in {6, 17}:
            continue
        ports = 14 + (frame[14] & 15) * 4
        if len(frame) < ports + 4:
            continue
        source_port, destination_port = struct.unpack_from("!HH", frame, ports)
        yield Packet(
            time_ns=seconds * 1_000_000_000 + nanoseconds,
            octets=octets,
            source=(socket.inet_ntoa(frame[26:30]), source_port),
            destination=(socket.inet_ntoa(frame[30:34]), destination_port),
            transport="tcp" if frame[23] == 6 else "udp",
            dscp=frame[15] >> 2,
        )


def percentile(values: Sequence[float], percent: float) -> float:
    """The value that `percent` of them do not exceed; not a number where there is none."""
    ordered = sorted(values)
    if not ordered:
        return math.nan
    return ordered[min(len(ordered) - 1, max(0, math.ceil(len(ordered) * percent / 100) - 1))]


@dataclass(slots=True)
class Delays:
    """One direction of a call."""

    sent: int = 0
    lost: int = 0
    points: list[tuple[float, float]] = field(default_factory=list)
    """(seconds since `start`, milliseconds under way)."""
    left_out: list[tuple[float, float]] = field(default_factory=list)
    """The same of packets that were under way when the machine had stood still."""

    @property
    def ms(self) -> list[float]:
        """Times under way."""
        return [value for _, value in self.points]

    def tells(self, since_s: float = 0.0) -> bool:
        """Whether half of the packets or more, of those sent since then, are not left out."""
        kept, out = (sum(at_s >= since_s for at_s, _ in points) for points in (self.points, self.left_out))
        return kept > 0 and kept >= out

    def leave_out(self, start_ns: int, still: Sequence[tuple[int, int]]) -> None:
        """What was sent shortly before a standstill, in it, or while what it heaped up was still there."""
        times = [((begin - start_ns) / 1e9 - _BEFORE_S, (end - start_ns) / 1e9 + _AFTER_S) for begin, end in still]
        kept = []
        for point in self.points:
            (self.left_out if any(begin <= point[0] <= end for begin, end in times) else kept).append(point)
        self.points = kept


def delays(log: Path, start_ns: int, end_ns: int) -> Delays:
    """Read what the telephone wrote down, for packets sent in this time."""
    found = Delays()
    numbers = []
    for line in log.read_text().splitlines():
        words = line.split()
        if len(words) == 3:
            count, sent_ns, received_ns = map(int, words)
            if start_ns <= sent_ns < end_ns:
                numbers.append(count)
                found.points.append(((sent_ns - start_ns) / 1e9, (received_ns - sent_ns) / 1e6))
    if numbers:
        found.sent = max(numbers) - min(numbers) + 1
        found.lost = found.sent - len(set(numbers))
    return found


def waits(log: Path) -> list[float]:
    """From verdict to mark, in milliseconds, of each mark that `flowsonar shape --json` wrote down."""
    records = (json.loads(line) for line in log.read_text().splitlines())
    return [record["shaping"]["waited_ms"] for record in records if record["event_type"] == "mark"]


def in_kernel(log: Path) -> dict[tuple[str, int, str], int]:
    """When the first mark of each endpoint, or of a flow to it, was in the kernel, in nanoseconds since the epoch."""
    found: dict[tuple[str, int, str], int] = {}
    for line in log.read_text().splitlines():
        record = json.loads(line)
        if record["event_type"] == "mark" and record["shaping"]["action"] == "marked":
            endpoint = (record["dest_ip"], record["dest_port"], record["proto"].lower())
            found.setdefault(endpoint, round(datetime.fromisoformat(record["timestamp"]).timestamp() * 1e6) * 1000)
    return found


def _remote(
    packet: Packet, truth: Mapping[tuple[str, int, str], Kind]
) -> tuple[Kind, tuple[str, int], int, bool] | None:
    """(kind, server's endpoint, client's port, whether it goes to the server)."""
    kind = truth.get((*packet.destination, packet.transport))
    if kind is not None:
        return kind, packet.destination, packet.source[1], True
    kind = truth.get((*packet.source, packet.transport))
    if kind is not None:
        return kind, packet.source, packet.destination[1], False
    return None


def carried(
    outside: Path, inside: Path, truth: Mapping[tuple[str, int, str], Kind], start_ns: int, end_ns: int
) -> dict[str, dict[str, int]]:
    """Bytes by direction and kind in this time: what left the modem outwards, and what the gateway let in."""
    found: dict[str, dict[str, int]] = {"up": {}, "down": {}}
    for direction, file in (("up", outside), ("down", inside)):
        for packet in packets(file):
            remote = _remote(packet, truth)
            if remote and remote[3] is (direction == "up") and start_ns <= packet.time_ns < end_ns:
                sums = found[direction]
                sums[remote[0].name] = sums.get(remote[0].name, 0) + packet.octets
    return found


def marked(
    outside: Path, inside: Path, truth: Mapping[tuple[str, int, str], Kind], end_ns: int
) -> set[tuple[str, int, str]]:
    """The server's endpoints of which a packet left with its right mark before `end_ns`."""
    found = set()
    for file, out in ((outside, True), (inside, False)):
        for packet in packets(file):
            remote = _remote(packet, truth)
            if remote and remote[3] is out and packet.time_ns < end_ns and packet.dscp in remote[0].dscp:
                found.add((*remote[1], packet.transport))
    return found


@dataclass(slots=True)
class Marks:
    """The flows of one kind."""

    flows: int = 0
    packets: int = 0
    octets: int = 0
    """Of packets later than a second after their flow's first."""
    right: int = 0
    """Of these, bytes with the right mark."""
    first_ms: list[float] = field(default_factory=list)
    """From a flow's first packet to its first one that left with the right mark."""
    kernel_ms: list[float] = field(default_factory=list)
    """The same until the mark was in the kernel: a packet that carries it must be sent first."""
    late: int = 0
    """Packets that left without it before that."""
    never: int = 0
    """Flows none of whose packets had it, of those that lasted over a second."""
    wrong: int = 0
    """Packets with another class's mark."""
    others: list[tuple[str, int]] = field(default_factory=list)
    """Whose, and which code point it was."""


def marks(
    outside: Path,
    inside: Path,
    truth: Mapping[tuple[str, int, str], Kind],
    start_ns: int,
    end_ns: int,
    kernel: Mapping[tuple[str, int, str], int] | None = None,
) -> dict[str, Marks]:
    """How the flows that began in this time were marked: uploads outside, downloads inside.

    `kernel`: see `in_kernel`.

    What the gateway asks itself is only seen outside; where it takes a port that a flow of the inside had before, the
    times tell them apart.
    """
    leaving: dict[tuple[tuple[str, int], int, str], tuple[Kind, list[tuple[int, int, int]]]] = {}
    firsts: dict[tuple[tuple[str, int], int, str], int] = {}
    lasts: dict[tuple[tuple[str, int], int, str], int] = {}
    for file, out in ((outside, True), (inside, False)):
        for packet in packets(file):
            remote = _remote(packet, truth)
            if remote is None:
                continue
            kind, endpoint, port, to_server = remote
            key = (endpoint, port, packet.transport)
            if not out:
                firsts[key] = min(firsts.get(key, packet.time_ns), packet.time_ns)
                lasts[key] = max(lasts.get(key, packet.time_ns), packet.time_ns)
            if to_server is out:
                leaving.setdefault(key, (kind, []))[1].append((packet.time_ns, packet.octets, packet.dscp))
    found: dict[str, Marks] = {}
    for key, (kind, seen) in leaving.items():
        if start_ns <= firsts.get(key, -1) < end_ns:
            own = sorted(one for one in seen if one[0] <= lasts[key] + _LATER_NS)
            total = found.setdefault(kind.name, Marks())
            _add(total, kind, firsts[key], own)
            mark_ns = (kernel or {}).get((*key[0], key[2]))
            if mark_ns is not None:
                total.kernel_ms.append(max(0.0, (mark_ns - firsts[key]) / 1e6))
            for dscp in {one[2] for one in own} - {0} - kind.dscp if kind.dscp else ():
                total.others.append((f"{key[0][0]}:{key[0][1]}/{key[2]} and port {key[1]}", dscp))
    return found


def _add(total: Marks, kind: Kind, first_ns: int, seen: Iterable[tuple[int, int, int]]) -> None:
    marked_ns, last_ns, late = None, first_ns, 0
    for time_ns, octets, dscp in seen:
        right = dscp in kind.dscp or not kind.dscp
        total.packets += 1
        total.wrong += dscp != 0 and not right
        if right and marked_ns is None:
            marked_ns = time_ns
        late += marked_ns is None
        if time_ns - first_ns >= 1_000_000_000:
            total.octets += octets
            total.right += octets if right else 0
        last_ns = time_ns
    total.flows += 1
    if marked_ns is not None:
        total.first_ms.append((marked_ns - first_ns) / 1e6)
        total.late += late
    elif last_ns - first_ns >= 1_000_000_000:
        total.never += 1
        total.late += late
