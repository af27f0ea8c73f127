"""One flow of the table in plain Python: its state, and what TCP's flags make of it; the specification of tcp.c."""

from __future__ import annotations

from flowsonar.flows._reference_decode import ACK, FIN, RST, SYN, TCP, Packet
from flowsonar.flows._reference_stream import Stream
from flowsonar.flows.events import Closed, CloseReason

__all__ = ["Flow", "Key", "Side"]

Side = tuple[bytes, int]
"""Address and port."""
Key = tuple[int, int, Side, Side]
"""Protocol, path, and both sides in order."""


class Flow:
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

    def __init__(self, identifier: int, key: Key, initiator: Side, clock: int, time_ns: int) -> None:
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

    def same_start(self, source: Side, packet: Packet) -> bool:
        """Whether a SYN is the one that its direction of the flow began with."""
        return self.streams[source != self.initiator].starts_at((packet.sequence + 1) & 0xFFFFFFFF)

    def begins(self, direction: int, packet: Packet, now_ns: int) -> None:
        """Take a SYN, where the packet is one: where its stream starts, and how long the handshake took."""
        if not packet.flags & SYN:
            return
        stream = self.streams[direction]
        if not stream.started:
            stream.start((packet.sequence + 1) & 0xFFFFFFFF)
            stream.syn_seen = True
        if direction == 0 and not packet.flags & ACK and not self.handshake_ns:
            self.syn_at = now_ns
        elif direction == 1 and packet.flags & ACK and self.syn_at is not None:
            self.handshake_ns = max(now_ns - self.syn_at, 0)
            self.syn_at = None

    @staticmethod
    def accepts(direction: int, packet: Packet) -> bool:
        """Whether a segment is a sign that the responder accepted, its SYN-ACK, or that the connection stands.

        That is a segment of a synchronized connection, which has an ACK (RFC 9293 section 3.10.7.4) and no SYN.
        """
        return packet.flags & (ACK | RST) == ACK and not (packet.flags & SYN and direction == 0)

    def ends(self, direction: int, packet: Packet) -> CloseReason | None:
        """Take what ends a connection: a RST, or both FINs acknowledged; None where it goes on."""
        back = 1 - direction
        if packet.flags & FIN and self.fin_end[direction] is None:
            length = packet.payload_wire + 1 + bool(packet.flags & SYN)
            self.fin_end[direction] = (packet.sequence + length) & 0xFFFFFFFF
        fin_end = self.fin_end[back]
        if packet.flags & ACK and fin_end is not None and (packet.ack - fin_end) & 0xFFFFFFFF < 0x80000000:
            self.fin_acked[back] = True
        if packet.flags & RST:
            return CloseReason.RST
        return CloseReason.FIN if all(self.fin_acked) else None

    def closed(self, reason: CloseReason, now_ns: int) -> Closed:
        """What is told of it when it ends, or goes on for very long."""
        return Closed(
            flow=self.identifier,
            time_ns=now_ns,
            reason=int(reason),
            first_ns=self.first_ns,
            last_ns=self.last_ns,
            packets_toserver=self.packet_count[0],
            packets_toclient=self.packet_count[1],
            bytes_toserver=self.byte_count[0],
            bytes_toclient=self.byte_count[1],
            tcp_flags_toserver=self.tcp_flags[0],
            tcp_flags_toclient=self.tcp_flags[1],
            handshake_ns=self.handshake_ns,
        )
