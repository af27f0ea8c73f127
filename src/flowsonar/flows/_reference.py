"""The flow table in plain Python: the specification of table.c, its fallback, and what it is tested against.

Per frame: the clock goes on and flows that are due end; the frame is decoded; fragments get their ports; the flow is
found or opened; counters, TCP state and payload follow; the payload of a fragmented packet when it is whole.
Everything that is not counted to a flow has a counter.
"""

from __future__ import annotations

import struct
from collections import OrderedDict

from flowsonar import limits
from flowsonar.config import FlowSettings
from flowsonar.flows._reference_decode import ACK, FIN, RST, SYN, TCP, UDP, Drop, DroppedFrame, Fragment, Packet, decode
from flowsonar.flows._reference_fragments import FRAGMENT_TIMEOUT_NS, FRAGMENTS, Entry, Fragments, Whole
from flowsonar.flows._reference_paths import Paths
from flowsonar.flows._reference_stream import Stream
from flowsonar.flows.events import Closed, CloseReason, Established, FlowEvent, Opened, Payload
from flowsonar.flows.hops import pack_hop
from flowsonar.model import FRAME_SIZE, Block

__all__ = [
    "CLOCK_STEP_NS",
    "COUNTERS",
    "FRAGMENTS",
    "FRAGMENT_TIMEOUT_NS",
    "LINGER_NS",
    "REOPEN_NS",
    "UNANSWERED_NS",
    "ReferenceTable",
]

LINGER_NS = 5_000_000_000
"""A closed TCP flow stays this long, so that late packets are counted to it and open no ghost."""

REOPEN_NS = 1_000_000_000
"""A SYN with another sequence number opens a new flow on a key that was silent for this long."""

UNANSWERED_NS = 1_000_000_000
"""A SYN without an answer for longer is hardly answered any more: what its flow knows is given up first."""

CLOCK_STEP_NS = 3600 * 1_000_000_000
"""Time that goes back less than this ages no flow until it is made up for; more is a clock that was set."""

_STUN_BYTES = 20
"""A STUN message's header, which its length does not count (RFC 8489 section 5)."""
_STUN_COOKIE = b"\x21\x12\xa4\x42"
_STUN_TYPES = 3
"""The highest first byte of a message."""

COUNTERS = (
    "frames",
    "bytes",
    "packets",
    "flows",
    "frames_bad_entry",
    "frames_unknown_link",
    "frames_not_ip",
    "frames_truncated",
    "frames_malformed",
    "frames_layers",
    "frames_orphan_fragment",
    "frames_other_interface",
    "fragments_displaced",
    "fragments_joined",
    "fragments_overlapping",
    "fragments_incomplete",
    "fragments_no_room",
    "tunnels_full",
    "flows_evicted",
    "flows_evicted_halfopen",
    "follows_ended",
    "payloads_cut",
    "tcp_lost_place",
    "clock_steps",
)
"""frames == packets + all frames_*."""

_DROPS = {
    Drop.UNKNOWN_LINK: "frames_unknown_link",
    Drop.NOT_IP: "frames_not_ip",
    Drop.TRUNCATED: "frames_truncated",
    Drop.MALFORMED: "frames_malformed",
    Drop.LAYERS: "frames_layers",
}

_TIME_MAX = 1 << 62
_ENTRY = struct.Struct("<QIIIHH")
_BUDGET = {TCP: limits.PAYLOAD_PACKETS_TCP, UDP: limits.PAYLOAD_PACKETS_UDP}

_Side = tuple[bytes, int]
_Key = tuple[int, int, _Side, _Side]


class _Flow:
    """State of one flow; lists of two are indexed by direction."""

    __slots__ = (
        "active_since",
        "byte_count",
        "fin_acked",
        "fin_end",
        "first_ns",
        "followed",
        "following",
        "half_open",
        "handshake_ns",
        "identifier",
        "initiator",
        "interface",
        "key",
        "last_ns",
        "packet_count",
        "payload_count",
        "reason",
        "released",
        "since",
        "streams",
        "syn_at",
        "tcp_flags",
    )

    def __init__(self, identifier: int, key: _Key, initiator: _Side, clock: int, time_ns: int) -> None:
        self.identifier = identifier
        self.key = key
        # Equal to one of the two sides of `key`; never changes.
        self.initiator = initiator
        # Clock at the last packet, or at the close for a flow that lingers: the lists are in this order.
        self.since = clock
        # Clock at the opening or the last interim record.
        self.active_since = clock
        # Event times; first_ns <= last_ns.
        self.first_ns = self.last_ns = time_ns
        self.packet_count = [0, 0]
        self.byte_count = [0, 0]
        # Where the direction was seen first; means nothing while packet_count is 0.
        self.interface = [0, 0]
        self.tcp_flags = [0, 0]
        self.streams = (Stream(), Stream())
        # Payload packets so far, retransmissions left out.
        self.payload_count = [0, 0]
        # Sequence number after a direction's FIN; None until it was seen.
        self.fin_end: list[int | None] = [None, None]
        self.fin_acked = [False, False]
        # Time of the initiator's last SYN; None before it and after the SYN-ACK.
        self.syn_at: int | None = None
        # 0 until the SYN-ACK.
        self.handshake_ns = 0
        # TCP without a sign that the responder accepted; excludes a `reason`.
        self.half_open = key[0] == TCP
        # Set once the flow is closed and lingers.
        self.reason: CloseReason | None = None
        # All short payloads are reported; and how many were because of it, < FOLLOWED_PACKETS.
        self.following = False
        self.followed = 0
        # No payload is reported any more; excludes `following`.
        self.released = False


def _oldest(flows: OrderedDict[int, _Flow]) -> _Flow:
    return next(iter(flows.values()))


class ReferenceTable:
    """See `flows.table.FlowTable`."""

    def __init__(self, settings: FlowSettings, follow: tuple[bytes, ...]) -> None:
        self._idle_ns = round(settings.idle_timeout_s * 1e9)
        self._active_ns = round(settings.active_timeout_s * 1e9)
        self._half_open_ns = round(min(limits.HALF_OPEN_TIMEOUT_S, settings.idle_timeout_s) * 1e9)
        self._capacity = settings.capacity
        self._follow = follow
        # Every flow is in `_flows` and in exactly one of the three lists, which are ordered by `since`.
        self._flows: dict[_Key, _Flow] = {}
        self._active: OrderedDict[int, _Flow] = OrderedDict()
        self._half_open: OrderedDict[int, _Flow] = OrderedDict()
        self._lingering: OrderedDict[int, _Flow] = OrderedDict()
        # Slots without a flow, the next one last; generation of each slot's last flow.
        self._free = list(range(settings.capacity - 1, -1, -1))
        self._generations = [0] * settings.capacity
        self._paths = Paths()
        # Never goes back. Packet time + _shift, where that does not go back.
        self._clock = 0
        self._shift = 0
        # Time of the packet or call at hand, as it was given: what events carry. It may go back a little, where
        # several interfaces are read or `expire` ran ahead of packets still on their way.
        self._now_ns = 0
        self._counters = dict.fromkeys(COUNTERS, 0)
        self._fragments = Fragments(self._counters)
        self._events: list[FlowEvent] = []

    def __len__(self) -> int:
        return len(self._flows)

    def feed(self, block: Block) -> list[FlowEvent]:
        """See `flows.table.FlowTable`."""
        if len(block.frames) % FRAME_SIZE:
            raise ValueError("frames is not a whole number of entries")
        data = bytes(block.data)
        count = self._counters
        for time_ns, start, captured, wire, linktype, interface in _ENTRY.iter_unpack(block.frames):
            count["frames"] += 1
            if start + captured > len(data):
                count["frames_bad_entry"] += 1
                continue
            wire = max(wire, captured)  # noqa: PLW2901
            count["bytes"] += wire
            self._advance(time_ns)
            try:
                packet = decode(data[start : start + captured], wire, linktype)
            except DroppedFrame as dropped:
                count[_DROPS[dropped.reason]] += 1
                continue
            if packet.hops:
                packet.path = self._paths.enter(packet.vlan, packet.hops, packet.source, packet.destination)
                count["tunnels_full"] = self._paths.full
            self._paths.use(packet.path)
            entry = None if packet.fragment is Fragment.WHOLE else self._fragments.assign(packet, self._clock)
            if entry is None and packet.fragment is not Fragment.WHOLE:
                count["frames_orphan_fragment"] += 1
                self._give_up(self._fragments.unknown(packet, self._clock))
            else:
                self._packet(packet, interface, entry)
            self._paths.drop(packet.path)
        return self._take()

    def expire(self, now_ns: int) -> list[FlowEvent]:
        """See `flows.table.FlowTable`."""
        self._advance(now_ns)
        return self._take()

    def finish(self) -> list[FlowEvent]:
        """See `flows.table.FlowTable`."""
        while (whole := self._fragments.oldest()) is not None:
            self._give_up([whole])
        while self._flows:
            self._close(_oldest(self._lingering or self._half_open or self._active), CloseReason.END)
        return self._take()

    def follow(self, flow: int) -> None:
        """See `flows.table.FlowTable`."""
        found = self._find(flow)
        if found is not None:
            found.following, found.released, found.followed = True, False, 0

    def release(self, flow: int) -> None:
        """See `flows.table.FlowTable`."""
        found = self._find(flow)
        if found is not None:
            found.following, found.released = False, True

    def bytes_of(self, flow: int) -> int:
        """See `flows.table.FlowTable`."""
        found = self._find(flow)
        return 0 if found is None else sum(found.byte_count)

    def counters(self) -> dict[str, int]:
        """See `flows.table.FlowTable`."""
        return dict(self._counters)

    def _find(self, flow: int) -> _Flow | None:
        return self._active.get(flow) or self._half_open.get(flow) or self._lingering.get(flow)

    def _take(self) -> list[FlowEvent]:
        events, self._events = self._events, []
        return events

    def _advance(self, time_ns: int) -> None:
        """A time of 0 is none (a pcapng simple packet block has none)."""
        if time_ns:
            self._now_ns = time_ns = min(time_ns, _TIME_MAX)
            step = time_ns + self._shift - self._clock
            if step >= 0:
                self._clock += step
            elif step < -CLOCK_STEP_NS:
                self._shift = self._clock - time_ns
                self._counters["clock_steps"] += 1
        while (whole := self._fragments.due(self._clock)) is not None:
            self._give_up([whole])
        lists = (self._lingering, LINGER_NS), (self._half_open, self._half_open_ns), (self._active, self._idle_ns)
        while True:
            oldest = [(flows, _oldest(flows).since + timeout_ns) for flows, timeout_ns in lists if flows]
            flows, due = min(oldest, key=lambda pair: pair[1], default=(self._active, self._clock + 1))
            if due > self._clock:
                return
            self._close(_oldest(flows), CloseReason.IDLE)

    def _give_up(self, ended: list[Whole]) -> None:
        """Take datagrams that are whole, or are not waited for any more."""
        for whole in ended:
            flow = None if whole.flow is None else self._find(whole.flow)
            packet = None if flow is None else whole.packet()
            if flow is not None and packet is not None:
                self._payload(flow, whole.direction, packet)

    def _waits(self, flow: _Flow, direction: int, packet: Packet, entry: Entry) -> bool:
        """Whether a first fragment's payload waits for the others; else it is read by itself."""
        if packet.protocol in _BUDGET and Whole.begins_with(packet) and self._wants(flow, direction, packet.protocol):
            self._give_up(self._fragments.first(entry, packet, flow.identifier, direction, self._clock))
            return True
        self._fragments.pass_by(entry)
        return False

    @staticmethod
    def _wants(flow: _Flow, direction: int, protocol: int) -> bool:
        return not flow.released and (flow.following or flow.payload_count[direction] < _BUDGET[protocol])

    def _packet(self, packet: Packet, interface: int, entry: Entry | None) -> None:
        source, destination = (packet.source, packet.source_port), (packet.destination, packet.destination_port)
        key = (packet.protocol, packet.path, min(source, destination), max(source, destination))
        flow = self._flows.get(key)
        syn = bool(packet.flags & SYN)
        if flow is not None and flow.reason is not None and syn and not self._same_start(flow, source, packet):
            self._close(flow, CloseReason.END)
            flow = None
        if flow is not None:
            direction = int(source != flow.initiator)
            if flow.packet_count[direction] and flow.interface[direction] != interface:
                self._counters["frames_other_interface"] += 1
                return
            if (
                flow.reason is None
                and packet.flags & (SYN | ACK) == SYN
                and self._clock - flow.since >= REOPEN_NS
                and not self._same_start(flow, source, packet)
            ):
                self._close(flow, CloseReason.IDLE)
                flow = None
        if flow is None:
            flow = self._open(packet, key, source, destination, interface)
        direction = int(source != flow.initiator)
        self._count(flow, direction, packet, interface)
        if entry is not None and packet.fragment is Fragment.LATER:
            self._give_up(self._fragments.later(entry, packet, self._clock))
            return
        if packet.protocol == TCP:
            self._tcp_open(flow, direction, packet)
            self._tcp_establish(flow, direction, packet)
        waits = entry is not None and self._waits(flow, direction, packet, entry)
        if packet.payload_wire and packet.protocol in _BUDGET and not waits:
            self._payload(flow, direction, packet)
        if packet.protocol == TCP:
            self._tcp_close(flow, direction, packet)

    @staticmethod
    def _same_start(flow: _Flow, source: _Side, packet: Packet) -> bool:
        """Whether a SYN is the one that its direction of the flow began with."""
        return flow.streams[source != flow.initiator].starts_at((packet.sequence + 1) & 0xFFFFFFFF)

    def _open(self, packet: Packet, key: _Key, source: _Side, destination: _Side, interface: int) -> _Flow:
        if not self._free:
            self._evict()
        if packet.flags & (SYN | ACK) == SYN | ACK:  # the SYN was missed: who it answers is the initiator
            source, destination = destination, source
        slot = self._free.pop()
        self._generations[slot] = self._generations[slot] + 1 & 0xFFFFFFFF
        flow = _Flow(self._generations[slot] << 32 | slot, key, source, self._clock, self._now_ns)
        self._flows[key] = flow
        self._list_of(flow)[flow.identifier] = flow
        self._counters["flows"] += 1
        self._paths.use(packet.path)
        self._events.append(
            Opened(
                flow=flow.identifier,
                time_ns=self._now_ns,
                protocol=packet.protocol,
                initiator=source[0],
                initiator_port=source[1],
                responder=destination[0],
                responder_port=destination[1],
                vlan=packet.vlan,
                interface=interface,
                midstream=packet.protocol == TCP and not packet.flags & SYN,
                outer=b"".join(pack_hop(hop) for hop in self._paths.hops(packet.path)),
            )
        )
        return flow

    def _evict(self) -> None:
        """Make room: first goes what ended already, then what nobody answered, then what is oldest.

        What nobody answered goes where it waited long or fills half of the table: a flood of SYNs must not push out
        connections, and a SYN-ACK opens its flow anew.
        """
        if self._lingering:
            self._close(_oldest(self._lingering), CloseReason.EVICTED)
            return
        unanswered = bool(self._half_open) and (
            not self._active
            or self._clock - _oldest(self._half_open).since > UNANSWERED_NS
            or len(self._half_open) > self._capacity // 2
            or _oldest(self._half_open).since < _oldest(self._active).since
        )
        self._counters["flows_evicted_halfopen" if unanswered else "flows_evicted"] += 1
        self._close(_oldest(self._half_open if unanswered else self._active), CloseReason.EVICTED)

    def _list_of(self, flow: _Flow) -> OrderedDict[int, _Flow]:
        if flow.half_open:
            return self._half_open
        return self._active if flow.reason is None else self._lingering

    def _count(self, flow: _Flow, direction: int, packet: Packet, interface: int) -> None:
        if flow.reason is None:
            if self._clock - flow.active_since >= self._active_ns:
                self._report(flow, CloseReason.ACTIVE)
                flow.active_since = self._clock
            flow.since = self._clock
            self._list_of(flow).move_to_end(flow.identifier)
        self._counters["packets"] += 1
        flow.interface[direction] = interface
        flow.packet_count[direction] += 1
        flow.byte_count[direction] += packet.ip_bytes
        flow.tcp_flags[direction] |= packet.flags
        flow.last_ns = max(flow.last_ns, self._now_ns)

    def _tcp_open(self, flow: _Flow, direction: int, packet: Packet) -> None:
        if not packet.flags & SYN:
            return
        stream = flow.streams[direction]
        if not stream.started:
            stream.start((packet.sequence + 1) & 0xFFFFFFFF)
            stream.syn_seen = True
        if direction == 0 and not packet.flags & ACK and not flow.handshake_ns:
            flow.syn_at = self._now_ns
        elif direction == 1 and packet.flags & ACK and flow.syn_at is not None:
            flow.handshake_ns = max(self._now_ns - flow.syn_at, 0)
            flow.syn_at = None

    def _tcp_establish(self, flow: _Flow, direction: int, packet: Packet) -> None:
        """Look for a sign that the responder accepted, its SYN-ACK, or that the connection stands.

        That is a segment of a synchronized connection, which has an ACK (RFC 9293 section 3.10.7.4) and no SYN.
        """
        if not flow.half_open or packet.flags & (ACK | RST) != ACK:
            return
        if packet.flags & SYN and direction == 0:
            return
        del self._half_open[flow.identifier]
        flow.half_open = False
        self._active[flow.identifier] = flow
        self._events.append(Established(flow.identifier, self._now_ns, flow.handshake_ns))

    def _tcp_close(self, flow: _Flow, direction: int, packet: Packet) -> None:
        back = 1 - direction
        if packet.flags & FIN and flow.fin_end[direction] is None:
            length = packet.payload_wire + 1 + bool(packet.flags & SYN)
            flow.fin_end[direction] = (packet.sequence + length) & 0xFFFFFFFF
        fin_end = flow.fin_end[back]
        if packet.flags & ACK and fin_end is not None and (packet.ack - fin_end) & 0xFFFFFFFF < 0x80000000:
            flow.fin_acked[back] = True
        if flow.reason is None:
            if packet.flags & RST:
                self._linger(flow, CloseReason.RST)
            elif all(flow.fin_acked):
                self._linger(flow, CloseReason.FIN)

    def _payload(self, flow: _Flow, direction: int, packet: Packet) -> None:
        data, offset = packet.payload, 0
        if packet.protocol == TCP:
            sequence = (packet.sequence + bool(packet.flags & SYN)) & 0xFFFFFFFF
            place, lost = flow.streams[direction].segment(sequence, packet.payload_wire)
            self._counters["tcp_lost_place"] += lost
            if place is None:
                return
            data, offset = data[max(-place, 0) :], max(place, 0)
        index = flow.payload_count[direction]
        flow.payload_count[direction] = min(index + 1, 0xFFFFFFFF)
        if index == 0 and not flow.released and self._is_followed(packet, data):
            flow.following = True
        short = flow.following and (packet.protocol == UDP or packet.payload_wire <= limits.FOLLOWED_BYTES)
        if flow.released or not data or not (short or index < _BUDGET[packet.protocol]):
            return
        self._counters["payloads_cut"] += len(data) > limits.PAYLOAD_BYTES
        self._events.append(
            Payload(
                flow=flow.identifier,
                time_ns=self._now_ns,
                direction=direction,
                index=index,
                offset=offset,
                data=data[: limits.PAYLOAD_BYTES],
                wire_length=packet.payload_wire,
                handshake_ns=flow.handshake_ns,
                acknowledges=packet.ack if packet.protocol == TCP and packet.flags & ACK else 0,
            )
        )
        if flow.following:
            flow.followed += 1
            datagrams = packet.protocol == UDP
            if flow.followed >= (limits.FOLLOWED_DATAGRAMS if datagrams else limits.FOLLOWED_PACKETS):
                flow.following, flow.released = False, True
                self._counters["follows_ended"] += 1

    def _is_followed(self, packet: Packet, data: bytes) -> bool:
        """Whether a first payload begins a dialogue to follow: by its prefix; a call by STUN (RFC 8489 section 5)."""
        if packet.protocol == TCP:
            return data.startswith(self._follow)
        if packet.protocol != UDP or len(data) < _STUN_BYTES or data[0] > _STUN_TYPES:
            return False
        return data[4:8] == _STUN_COOKIE and int.from_bytes(data[2:4]) + _STUN_BYTES == packet.payload_wire

    def _linger(self, flow: _Flow, reason: CloseReason) -> None:
        del self._list_of(flow)[flow.identifier]
        flow.reason, flow.since, flow.half_open = reason, self._clock, False
        self._lingering[flow.identifier] = flow

    def _close(self, flow: _Flow, reason: CloseReason) -> None:
        """A flow that lingers has its own reason."""
        self._report(flow, reason if flow.reason is None else flow.reason)
        del self._flows[flow.key]
        del self._list_of(flow)[flow.identifier]
        self._free.append(flow.identifier & 0xFFFFFFFF)
        self._paths.drop(flow.key[1])

    def _report(self, flow: _Flow, reason: CloseReason) -> None:
        self._events.append(
            Closed(
                flow=flow.identifier,
                time_ns=self._now_ns,
                reason=int(reason),
                first_ns=flow.first_ns,
                last_ns=flow.last_ns,
                packets_toserver=flow.packet_count[0],
                packets_toclient=flow.packet_count[1],
                bytes_toserver=flow.byte_count[0],
                bytes_toclient=flow.byte_count[1],
                tcp_flags_toserver=flow.tcp_flags[0],
                tcp_flags_toclient=flow.tcp_flags[1],
                handshake_ns=flow.handshake_ns,
            )
        )
