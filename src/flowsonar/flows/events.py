"""What the flow table reports: plain tuples with names, made once per flow or payload, never once per packet."""

from __future__ import annotations

from enum import IntEnum
from typing import NamedTuple

__all__ = ["CloseReason", "Closed", "Established", "FlowEvent", "Opened", "Payload"]


class CloseReason(IntEnum):
    """Why a flow left the table, or got an interim record."""

    IDLE = 0
    FIN = 1
    RST = 2
    ACTIVE = 3
    """The active timeout: a record of the counters so far; the flow stays and its counters go on growing."""
    EVICTED = 4
    """The table was full and this was the flow longest without a packet, or longest without an answer to its SYN."""
    END = 5
    """The capture ended."""


class Opened(NamedTuple):
    """The first packet of a flow."""

    flow: int
    """Identifier, unique in one table's life: generation << 32 | slot."""
    time_ns: int
    protocol: int
    """IP protocol number: 6 TCP, 17 UDP, 132 SCTP, 1 ICMP, 58 ICMPv6."""
    initiator: bytes
    """Packed address, 4 or 16 bytes."""
    initiator_port: int
    """0 for protocols without ports; for ICMP the echo identifier, or type as Community ID maps it."""
    responder: bytes
    responder_port: int
    vlan: int
    interface: int
    midstream: bool
    """TCP without a SYN or SYN-ACK: who is initiator is not known, the sender of this packet stands in."""
    outer: bytes = b""
    """The tunnels that the flow runs in, outermost first, as `flows.hops` packs them."""


class Established(NamedTuple):
    """The first sign that a TCP connection stands: nobody need be asked about a flow before it.

    Once a flow: at the responder's SYN-ACK; where that was not seen, at the first segment with an ACK and neither SYN
    nor RST, of either side; for a flow picked up in the middle, that is right after `Opened`. SYNs that nobody
    answered or that a RST answered never bring it. `Payload` comes after it, but for data within a SYN (RFC 7413) or
    in segments that no connection has: those with RST or without ACK.
    """

    flow: int
    time_ns: int
    handshake_ns: int
    """SYN to SYN-ACK, the round trip between here and the responder; 0 where not both were seen."""


class Payload(NamedTuple):
    """Payload bytes that the flow's budget lets through, in the order seen."""

    flow: int
    time_ns: int
    direction: int
    """0 from the initiator to the responder, 1 back."""
    index: int  # type: ignore[assignment]  # hides tuple.index, which nobody needs here
    """Count of payload packets in this direction before this one."""
    offset: int
    """TCP: position of the first byte in this direction's stream, counted from its first payload byte seen
    (from the SYN where it was seen); segments wholly below what was reported are left out. UDP: 0."""
    data: bytes
    """At most `limits.PAYLOAD_BYTES`."""
    wire_length: int
    """Payload bytes of the packet on the wire."""
    handshake_ns: int
    """TCP: SYN to SYN-ACK, the round trip between here and the responder; 0 where not seen."""
    acknowledges: int = 0
    """TCP: the acknowledgement number as it is in the segment; 0 where it has none."""


class Closed(NamedTuple):
    """A flow ended, or its active timeout passed."""

    flow: int
    time_ns: int
    reason: int
    """A `CloseReason`."""
    first_ns: int
    last_ns: int
    packets_toserver: int
    packets_toclient: int
    bytes_toserver: int
    """IP bytes: header and payload, as nDPI, NFStream and NetFlow count."""
    bytes_toclient: int
    tcp_flags_toserver: int
    tcp_flags_toclient: int
    handshake_ns: int


FlowEvent = Opened | Established | Payload | Closed
