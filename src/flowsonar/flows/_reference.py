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
from flowsonar.flows._reference_decode import ACK, SYN, TCP, UDP, Drop, DroppedFrame, Fragment, Packet, decode
from flowsonar.flows._reference_flow import Flow, Key, Side
from flowsonar.flows._reference_fragments import FRAGMENT_TIMEOUT_NS, FRAGMENTS, Entry, Fragments, Whole
from flowsonar.flows._reference_paths import Paths
from flowsonar.flows.events import CloseReason, Established, FlowEvent, Opened, Payload
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


def _oldest(flows: OrderedDict[int, Flow]) -> Flow:
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
        self._flows: dict[Key, Flow] = {}
        self._active: OrderedDict[int, Flow] = OrderedDict()
        self._half_open: OrderedDict[int, Flow] = OrderedDict()
        self._lingering: OrderedDict[int, Flow] = OrderedDict()
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

    def _find(self, flow: int) -> Flow | None:
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

    def _waits(self, flow: Flow, direction: int, packet: Packet, entry: Entry) -> bool:
        """Whether a first fragment's payload waits for the others; else it is read by itself."""
        if packet.protocol in _BUDGET and Whole.begins_with(packet) and self._wants(flow, direction, packet.protocol):
            self._give_up(self._fragments.first(entry, packet, flow.identifier, direction, self._clock))
            return True
        self._fragments.pass_by(entry)
        return False

    @staticmethod
    def _wants(flow: Flow, direction: int, protocol: int) -> bool:
        return not flow.released and (flow.following or flow.payload_count[direction] < _BUDGET[protocol])

    def _packet(self, packet: Packet, interface: int, entry: Entry | None) -> None:
        source, destination = (packet.source, packet.source_port), (packet.destination, packet.destination_port)
        key = (packet.protocol, packet.path, min(source, destination), max(source, destination))
        flow = self._flows.get(key)
        syn = bool(packet.flags & SYN)
        if flow is not None and flow.reason is not None and syn and not flow.same_start(source, packet):
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
                and not flow.same_start(source, packet)
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
            flow.begins(direction, packet, self._now_ns)
            self._tcp_establish(flow, direction, packet)
        waits = entry is not None and self._waits(flow, direction, packet, entry)
        if packet.payload_wire and packet.protocol in _BUDGET and not waits:
            self._payload(flow, direction, packet)
        if packet.protocol == TCP:
            self._tcp_close(flow, direction, packet)

    def _open(self, packet: Packet, key: Key, source: Side, destination: Side, interface: int) -> Flow:
        if not self._free:
            self._evict()
        if packet.flags & (SYN | ACK) == SYN | ACK:  # the SYN was missed: who it answers is the initiator
            source, destination = destination, source
        slot = self._free.pop()
        self._generations[slot] = self._generations[slot] + 1 & 0xFFFFFFFF
        flow = Flow(self._generations[slot] << 32 | slot, key, source, self._clock, self._now_ns)
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

    def _list_of(self, flow: Flow) -> OrderedDict[int, Flow]:
        if flow.half_open:
            return self._half_open
        return self._active if flow.reason is None else self._lingering

    def _count(self, flow: Flow, direction: int, packet: Packet, interface: int) -> None:
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

    def _tcp_establish(self, flow: Flow, direction: int, packet: Packet) -> None:
        if not flow.half_open or not flow.accepts(direction, packet):
            return
        del self._half_open[flow.identifier]
        flow.half_open = False
        self._active[flow.identifier] = flow
        self._events.append(Established(flow.identifier, self._now_ns, flow.handshake_ns))

    def _tcp_close(self, flow: Flow, direction: int, packet: Packet) -> None:
        reason = flow.ends(direction, packet)
        if reason is not None and flow.reason is None:
            self._linger(flow, reason)

    def _payload(self, flow: Flow, direction: int, packet: Packet) -> None:
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

    def _linger(self, flow: Flow, reason: CloseReason) -> None:
        del self._list_of(flow)[flow.identifier]
        flow.reason, flow.since, flow.half_open = reason, self._clock, False
        self._lingering[flow.identifier] = flow

    def _close(self, flow: Flow, reason: CloseReason) -> None:
        """A flow that lingers has its own reason."""
        self._report(flow, reason if flow.reason is None else flow.reason)
        del self._flows[flow.key]
        del self._list_of(flow)[flow.identifier]
        self._free.append(flow.identifier & 0xFFFFFFFF)
        self._paths.drop(flow.key[1])

    def _report(self, flow: Flow, reason: CloseReason) -> None:
        self._events.append(flow.closed(reason, self._now_ns))
