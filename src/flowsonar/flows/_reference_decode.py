"""From a frame to addresses, ports and payload, in plain Python: specification of decode.c.

The decoder is a loop over layers with a depth bound; a tunnel goes round again. Where what is inside a tunnel is no
packet, the packet around it stays.
Every read is checked against two ends: what was captured (a cut packet is `truncated`) and what the headers and the
wire length allow (a header that reaches beyond it is `malformed`).
"""

from __future__ import annotations

from enum import IntEnum

from flowsonar.flows._reference_tunnels import HOPS_MAX, Hop, may_be_tunnel, read_tunnel

__all__ = ["ACK", "FIN", "MAX_LAYERS", "RST", "SYN", "Drop", "DroppedFrame", "Fragment", "Packet", "decode"]

MAX_LAYERS = 24
"""Headers looked at in one frame: VLAN tags, MPLS labels and IPv6 extension headers each count."""

FIN, SYN, RST, ACK = 0x01, 0x02, 0x04, 0x10  # RFC 9293 section 3.1

TCP, UDP, SCTP, ICMP, ICMPV6 = 6, 17, 132, 1, 58  # IANA protocol numbers
_HOP_BY_HOP, _ROUTING, _FRAGMENT, _AH, _DESTINATION = 0, 43, 44, 51, 60  # RFC 8200 section 4, RFC 4302

_ICMP_PAIRS = {9: 10, 10: 9, 13: 14, 14: 13, 15: 16, 16: 15, 17: 18, 18: 17}
"""ICMP types that answer each other, as Community ID pairs them; echo stands apart."""
_ICMPV6_PAIRS = {130: 131, 131: 130, 133: 134, 134: 133, 135: 136, 136: 135, 139: 140, 140: 139, 144: 145, 145: 144}


class Drop(IntEnum):
    """Why a frame is not counted to a flow."""

    UNKNOWN_LINK = 1
    NOT_IP = 2
    TRUNCATED = 3
    MALFORMED = 4
    LAYERS = 5


class Fragment(IntEnum):
    """What part of its packet a frame holds."""

    WHOLE = 0
    FIRST = 1
    LATER = 2


class DroppedFrame(Exception):  # noqa: N818  (not an error: an answer from deep inside the loop)
    """Raised inside `decode` only, and by it."""

    def __init__(self, reason: Drop) -> None:
        super().__init__(reason.name)
        self.reason = reason


class Packet:
    """What one frame says. Ports are 0 where there are none."""

    __slots__ = (
        "ack",
        "destination",
        "destination_port",
        "flags",
        "fragment",
        "fragment_at",
        "fragment_id",
        "fragment_last",
        "fragment_offset",
        "fragment_protocol",
        "has_vlan",
        "hops",
        "ip_bytes",
        "path",
        "payload",
        "payload_at",
        "payload_wire",
        "protocol",
        "sequence",
        "source",
        "source_port",
        "udp_length",
        "vlan",
    )

    def __init__(self) -> None:
        self.source = self.destination = b""
        self.source_port = self.destination_port = 0
        self.protocol = 0
        self.vlan = 0
        self.has_vlan = False
        # Tunnels around it, outermost first; and the number that stands for them, or the VLAN.
        self.hops: list[Hop] = []
        self.path = 0
        self.fragment = Fragment.WHOLE
        # With `source`, `destination` and the VLAN: which packet a fragment belongs to (RFC 791, RFC 8200 4.5).
        self.fragment_id = self.fragment_protocol = 0
        # Where in the frame the fragment begins; where in the datagram; and whether it is the last one.
        self.fragment_at = self.fragment_offset = 0
        self.fragment_last = False
        self.flags = self.sequence = self.ack = 0
        # Bytes of the IP packet on the wire, its header included.
        self.ip_bytes = 0
        # What was captured of the transport payload (of a later fragment: of all of it), its length on the wire, and
        # where in the frame it begins.
        self.payload = b""
        self.payload_wire = self.payload_at = 0
        # As its header says, 0 for none.
        self.udp_length = 0

    @property
    def fragment_header(self) -> int:
        """Bytes of a first fragment before the payload."""
        return self.payload_at - self.fragment_at


class _Cursor:
    """A place in a frame: `at` <= `end` (captured) <= `limit` (what is there on the wire)."""

    __slots__ = ("at", "end", "exact", "frame", "limit")

    def __init__(self, frame: bytes, wire: int) -> None:
        self.frame = frame
        self.at = 0
        self.end = len(frame)
        self.limit = max(wire, len(frame))
        # The next IP packet fills what is there to its last byte.
        self.exact = False

    def need(self, count: int) -> None:
        if self.at + count > self.limit:
            raise DroppedFrame(Drop.MALFORMED)
        if self.at + count > self.end:
            raise DroppedFrame(Drop.TRUNCATED)

    def bound(self, length: int) -> None:
        """From here on at most `length` bytes belong to the packet."""
        self.limit = min(self.limit, self.at + length)
        self.end = min(self.end, self.limit)

    def u8(self, offset: int) -> int:
        return self.frame[self.at + offset]

    def u16(self, offset: int) -> int:
        return int.from_bytes(self.frame[self.at + offset : self.at + offset + 2], "big")

    def u32(self, offset: int) -> int:
        return int.from_bytes(self.frame[self.at + offset : self.at + offset + 4], "big")


def decode(frame: bytes, wire: int, linktype: int) -> Packet:
    """One captured frame of `wire` bytes on the wire; raises DroppedFrame."""
    cursor, packet = _Cursor(frame, wire), Packet()
    left = _layers(cursor, packet, "link", linktype, MAX_LAYERS)
    while packet.fragment is Fragment.WHOLE and may_be_tunnel(
        packet.protocol, packet.source_port, packet.destination_port
    ):
        found = read_tunnel(cursor, packet.protocol, packet.source_port, packet.destination_port)
        if found is None:
            break
        if found.length is not None:
            cursor.bound(found.length)
        if cursor.at + found.size > cursor.end:
            break
        if len(packet.hops) == HOPS_MAX:
            raise DroppedFrame(Drop.LAYERS)
        inner = Packet()
        inner.hops = [*packet.hops, Hop(found.kind, packet.source, packet.destination, found.id)]
        inner.vlan, inner.has_vlan = packet.vlan, packet.has_vlan
        cursor.at += found.size
        cursor.exact = found.exact
        try:
            left = _layers(cursor, inner, found.layer, found.number, left)
        except DroppedFrame as dropped:
            if dropped.reason is Drop.LAYERS:
                raise
            break  # what is inside is no packet: the guess was wrong, or it was not captured
        packet = inner
    packet.path = packet.vlan
    return packet


def _layers(cursor: _Cursor, packet: Packet, layer: str, number: int, left: int) -> int:
    """Go through layers until a packet is whole; give how many more may be looked at."""
    while left:
        if layer == "link":
            layer, number = _link(cursor, number)
        elif layer == "type":
            layer, number = _ethertype(cursor, packet, number)
        elif layer == "pppoe":
            layer, number = _pppoe(cursor)
        elif layer == "ppp":
            layer, number = _ppp(cursor)
        elif layer == "mpls":
            layer, number = _mpls(cursor)
        elif layer == "ipv4":
            layer, number = _ipv4(cursor, packet)
        elif layer == "ipv6":
            layer, number = _ipv6(cursor, packet)
        elif layer == "ip":
            layer, number = _ip(cursor)
        elif layer == "transport":
            layer, number = _transport(cursor, packet, number)
        if layer == "done":
            return left
        left -= 1
    raise DroppedFrame(Drop.LAYERS)


def _link(cursor: _Cursor, linktype: int) -> tuple[str, int]:  # noqa: PLR0912  (a table)
    """LINKTYPE_ numbers of tcpdump.org."""
    if linktype == 1:  # Ethernet
        cursor.need(14)
        ethertype = cursor.u16(12)
        cursor.at += 14
        return "type", ethertype
    if linktype in (0, 108):  # BSD loopback: address family in the byte order of the machine, or big-endian
        cursor.need(4)
        family = cursor.u32(0)
        if family > 0xFFFF:
            family = int.from_bytes(family.to_bytes(4, "little"), "big")
        cursor.at += 4
        if family == 2:
            return "ipv4", 0
        if family in (10, 24, 28, 30):  # Linux, OpenBSD and NetBSD, FreeBSD, macOS
            return "ipv6", 0
        raise DroppedFrame(Drop.NOT_IP)
    if linktype == 204:  # PPP with direction
        cursor.need(1)
        cursor.at += 1
        return "ppp", 0
    if linktype == 50:  # PPP in HDLC-like framing, or Cisco HDLC
        cursor.need(1)
        return ("link", 104) if cursor.u8(0) in (0x0F, 0x8F) else ("ppp", 0)
    if linktype == 104:  # Cisco HDLC
        cursor.need(4)
        ethertype = cursor.u16(2)
        cursor.at += 4
        return "type", ethertype
    if linktype == 113:  # Linux SLL
        cursor.need(16)
        ethertype = cursor.u16(14)
        cursor.at += 16
        return "type", ethertype
    if linktype == 276:  # Linux SLL2
        cursor.need(20)
        ethertype = cursor.u16(0)
        cursor.at += 20
        return "type", ethertype
    if linktype == 192:  # PPI: little-endian header that names the link type of what follows
        cursor.need(8)
        length = int.from_bytes(cursor.frame[cursor.at + 2 : cursor.at + 4], "little")
        inner = int.from_bytes(cursor.frame[cursor.at + 4 : cursor.at + 8], "little")
        if length < 8:
            raise DroppedFrame(Drop.MALFORMED)
        cursor.need(length)
        cursor.at += length
        return "link", inner
    simple = {9: "ppp", 51: "pppoe", 12: "ip", 14: "ip", 101: "ip", 228: "ipv4", 229: "ipv6"}
    if linktype not in simple:
        raise DroppedFrame(Drop.UNKNOWN_LINK)
    return simple[linktype], 0


def _ethertype(cursor: _Cursor, packet: Packet, ethertype: int) -> tuple[str, int]:
    if ethertype == 0x0800:
        return "ipv4", 0
    if ethertype == 0x86DD:
        return "ipv6", 0
    if ethertype in (0x8100, 0x88A8, 0x9100):  # IEEE 802.1Q, 802.1ad, and its forerunner
        cursor.need(4)
        if not packet.has_vlan:
            packet.vlan = cursor.u16(0) & 0x0FFF
            packet.has_vlan = True
        ethertype = cursor.u16(2)
        cursor.at += 4
        return "type", ethertype
    if ethertype in (0x8847, 0x8848):
        return "mpls", 0
    if ethertype == 0x8864:
        return "pppoe", 0
    if ethertype <= 1500:  # a length (IEEE 802.3): LLC, of which SNAP with OUI 0 carries an EtherType (RFC 1042)
        cursor.need(8)
        if cursor.u32(0) == 0xAAAA0300 and cursor.u16(4) == 0:
            ethertype = cursor.u16(6)
            cursor.at += 8
            return "type", ethertype
    raise DroppedFrame(Drop.NOT_IP)


def _pppoe(cursor: _Cursor) -> tuple[str, int]:
    """RFC 2516 section 4: version and type 1, code 0 is session data."""
    cursor.need(6)
    if cursor.u8(0) != 0x11:
        raise DroppedFrame(Drop.MALFORMED)
    if cursor.u8(1) != 0:
        raise DroppedFrame(Drop.NOT_IP)
    length = cursor.u16(4)
    cursor.at += 6
    cursor.bound(length)
    return "ppp", 0


def _ppp(cursor: _Cursor) -> tuple[str, int]:
    """RFC 1662 address and control may be left out; RFC 1661 section 6.5 allows a protocol of one byte."""
    cursor.need(1)
    if cursor.u8(0) == 0xFF:
        cursor.need(2)
        if cursor.u8(1) == 0x03:
            cursor.at += 2
    cursor.need(1)
    if cursor.u8(0) & 1:
        protocol = cursor.u8(0)
        cursor.at += 1
    else:
        cursor.need(2)
        protocol = cursor.u16(0)
        cursor.at += 2
    if protocol not in (0x21, 0x57, 0x281, 0x283):
        raise DroppedFrame(Drop.NOT_IP)
    return {0x21: "ipv4", 0x57: "ipv6"}.get(protocol, "mpls"), 0


def _mpls(cursor: _Cursor) -> tuple[str, int]:
    """RFC 3032: one label; what is below the last one shows by its first four bits (RFC 4928), 0 is a pseudowire."""
    cursor.need(4)
    bottom = cursor.u8(2) & 1
    cursor.at += 4
    if not bottom:
        return "mpls", 0
    cursor.need(1)
    first = cursor.u8(0) >> 4
    if first == 0:  # RFC 4448 control word, then Ethernet
        cursor.need(4)
        cursor.at += 4
        return "link", 1
    if first not in (4, 6):
        raise DroppedFrame(Drop.NOT_IP)
    return ("ipv4" if first == 4 else "ipv6"), 0


def _ip(cursor: _Cursor) -> tuple[str, int]:
    cursor.need(1)
    version = cursor.u8(0) >> 4
    if version not in (4, 6):
        raise DroppedFrame(Drop.MALFORMED)
    return ("ipv4" if version == 4 else "ipv6"), 0


def _must_fit(cursor: _Cursor, length: int) -> None:
    """An IP packet of this length (0: it says none) must be what a tunnel brought."""
    there = cursor.limit - cursor.at
    if length != there if cursor.exact else length > there:
        raise DroppedFrame(Drop.MALFORMED)
    cursor.exact = False


def _ipv4(cursor: _Cursor, packet: Packet) -> tuple[str, int]:
    """RFC 791. A total length of 0 comes from segmentation offload: then the frame's length counts."""
    cursor.need(20)
    header = (cursor.u8(0) & 15) * 4
    if cursor.u8(0) >> 4 != 4 or header < 20:
        raise DroppedFrame(Drop.MALFORMED)
    total = cursor.u16(2)
    if packet.hops:
        _must_fit(cursor, total)
    if total:
        if total < header:
            raise DroppedFrame(Drop.MALFORMED)
        cursor.bound(total)
    cursor.need(header)
    packet.ip_bytes = cursor.limit - cursor.at
    at = cursor.at
    packet.source, packet.destination = cursor.frame[at + 12 : at + 16], cursor.frame[at + 16 : at + 20]
    packet.protocol = packet.fragment_protocol = cursor.u8(9)
    packet.fragment_id = cursor.u16(4)
    fragment = cursor.u16(6)
    cursor.at += header
    return _fragment(cursor, packet, (fragment & 0x1FFF) * 8, last=not fragment & 0x2000, version=4)


def _fragment(cursor: _Cursor, packet: Packet, offset: int, *, last: bool, version: int) -> tuple[str, int]:
    packet.fragment_at, packet.fragment_offset, packet.fragment_last = cursor.at, offset, last
    if offset:
        packet.fragment = Fragment.LATER
        _payload(cursor, packet, 0)
        return "done", 0
    if not last:
        packet.fragment = Fragment.FIRST
    return "transport", version


def _ipv6(cursor: _Cursor, packet: Packet) -> tuple[str, int]:
    """RFC 8200. A payload length of 0 is a jumbogram or comes from offload: then the frame's length counts."""
    cursor.need(40)
    if cursor.u8(0) >> 4 != 6:
        raise DroppedFrame(Drop.MALFORMED)
    if packet.hops:
        _must_fit(cursor, 40 + cursor.u16(4) if cursor.u16(4) else 0)
    if cursor.u16(4):
        cursor.bound(40 + cursor.u16(4))
    packet.ip_bytes = cursor.limit - cursor.at
    at = cursor.at
    packet.source, packet.destination = cursor.frame[at + 8 : at + 24], cursor.frame[at + 24 : at + 40]
    packet.protocol = cursor.u8(6)
    cursor.at += 40
    return "transport", 6


def _transport(cursor: _Cursor, packet: Packet, version: int) -> tuple[str, int]:
    """One header after IP."""
    protocol = packet.protocol
    if protocol == _AH or (version == 6 and protocol in (_HOP_BY_HOP, _ROUTING, _DESTINATION)):
        cursor.need(8)
        length = (cursor.u8(1) + 2) * 4 if protocol == _AH else (cursor.u8(1) + 1) * 8
        cursor.need(length)
        packet.protocol = cursor.u8(0)
        cursor.at += length
        return "transport", version
    if version == 6 and protocol == _FRAGMENT:
        return _ipv6_fragment(cursor, packet)
    if protocol == TCP:
        _tcp(cursor, packet)
    elif protocol == UDP:
        cursor.need(8)
        length = cursor.u16(4)
        if 0 < length < 8:
            raise DroppedFrame(Drop.MALFORMED)
        _ports(cursor, packet)
        packet.udp_length = length
        if length:
            cursor.bound(length)
        _payload(cursor, packet, 8)
        cursor.at += 8
    elif protocol == SCTP:
        cursor.need(12)
        _ports(cursor, packet)
    elif (version, protocol) in ((4, ICMP), (6, ICMPV6)):
        _icmp(cursor, packet, version)
    return "done", 0


def _ipv6_fragment(cursor: _Cursor, packet: Packet) -> tuple[str, int]:
    """RFC 8200 section 4.5; offset 0 without more to come is a whole packet (RFC 6946)."""
    cursor.need(8)
    if packet.fragment is not Fragment.WHOLE:
        raise DroppedFrame(Drop.MALFORMED)
    packet.protocol = cursor.u8(0)
    packet.fragment_id = cursor.u32(4)
    packet.fragment_protocol = 0  # section 4.5: identification and addresses alone
    field = cursor.u16(2)
    cursor.at += 8
    return _fragment(cursor, packet, field & 0xFFF8, last=not field & 1, version=6)


def _ports(cursor: _Cursor, packet: Packet) -> None:
    packet.source_port, packet.destination_port = cursor.u16(0), cursor.u16(2)


def _payload(cursor: _Cursor, packet: Packet, header: int) -> None:
    start = cursor.at + header
    packet.payload_at = start
    packet.payload_wire = cursor.limit - start
    packet.payload = cursor.frame[start : max(cursor.end, start)]


def _tcp(cursor: _Cursor, packet: Packet) -> None:
    """RFC 9293 section 3.1. A packet cut after the flags still tells all that the flow table needs."""
    if cursor.at + 20 > cursor.limit:
        raise DroppedFrame(Drop.MALFORMED)
    cursor.need(14)
    header = (cursor.u8(12) >> 4) * 4
    if header < 20 or cursor.at + header > cursor.limit:
        raise DroppedFrame(Drop.MALFORMED)
    _ports(cursor, packet)
    packet.sequence, packet.ack, packet.flags = cursor.u32(4), cursor.u32(8), cursor.u8(13)
    _payload(cursor, packet, header)


def _icmp(cursor: _Cursor, packet: Packet, version: int) -> None:
    """Echo: identifier and request type as ports; else type, and the type that answers it or the code."""
    cursor.need(4)
    kind, code = cursor.u8(0), cursor.u8(1)
    request, reply = (8, 0) if version == 4 else (128, 129)
    pairs = _ICMP_PAIRS if version == 4 else _ICMPV6_PAIRS
    if kind in (request, reply):
        cursor.need(8)
        identifier = cursor.u16(4)
        packet.source_port, packet.destination_port = (
            (identifier, request) if kind == request else (request, identifier)
        )
    else:
        packet.source_port, packet.destination_port = kind, pairs.get(kind, code)
