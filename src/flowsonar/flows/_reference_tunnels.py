"""Headers of tunnels, in plain Python: specification of tunnels.c.

A header that breaks its specification is none: the packet around it stays what it is.
"""

from __future__ import annotations

from enum import IntEnum
from typing import NamedTuple, Protocol

__all__ = ["DIRECTIONAL", "HOPS_MAX", "Found", "Hop", "Place", "Tunnel", "may_be_tunnel", "read_tunnel"]

HOPS_MAX = 8
"""Tunnels inside each other; more are not looked into."""


class Tunnel(IntEnum):
    """What carries a packet inside a packet."""

    IPV4 = 1
    """Directly in IP of any version."""
    IPV6 = 2
    GRE = 3
    PPTP = 4
    VXLAN = 5
    GENEVE = 6
    GTP = 7
    TEREDO = 8
    L2TP = 9
    ETHERIP = 10
    MPLS = 11


DIRECTIONAL = frozenset({Tunnel.GTP, Tunnel.L2TP, Tunnel.PPTP})
"""Each direction has its own identifier, chosen by the receiver."""


class Hop(NamedTuple):
    """A packet around the packet."""

    kind: Tunnel
    source: bytes
    destination: bytes
    id: int
    """Which of the tunnels between the two: VNI, key, TEID ...; 0 where there is none."""


class Found(NamedTuple):
    """A tunnel's header, and the layer inside."""

    kind: Tunnel
    id: int
    size: int
    layer: str
    number: int = 0
    length: int | None = None
    """So many bytes belong to the tunnel's packet, header included."""
    exact: bool = False
    """The next IP packet fills what is there to its last byte."""


class Place(Protocol):
    """A place in a frame, as the decoder has it."""

    at: int
    end: int
    limit: int
    frame: bytes

    def u8(self, offset: int) -> int:
        """Read a byte."""

    def u16(self, offset: int) -> int:
        """Read two."""

    def u32(self, offset: int) -> int:
        """Read four."""


_UDP = 17
_PORTS = frozenset({1701, 2152, 3544, 4789, 6081, 8472})
_PROTOCOLS = frozenset({4, 41, 47, 97, 137})
_INSIDE = {0x0800: ("ipv4", 0), 0x86DD: ("ipv6", 0), 0x6558: ("link", 1), 0x8847: ("mpls", 0), 0x8848: ("mpls", 0)}


def may_be_tunnel(protocol: int, source_port: int, destination_port: int) -> bool:
    """Whether a packet's protocol or ports are a tunnel's."""
    if protocol == _UDP:
        return destination_port in _PORTS or source_port in {1701, 3544}
    return protocol in _PROTOCOLS


def read_tunnel(place: Place, protocol: int, source_port: int, destination_port: int) -> Found | None:
    """Read the header at a packet's transport payload, or at what follows the IP header."""
    if protocol == _UDP:
        if destination_port in {4789, 8472}:
            return _vxlan(place)
        if destination_port == 6081:
            return _geneve(place)
        if destination_port == 2152:
            return _gtp(place)
        if destination_port == 3544 or (destination_port != 1701 and source_port == 3544):
            return _teredo(place)
        return _l2tp(place)
    if protocol in (4, 41):
        return Found(Tunnel.IPV4, 0, 0, "ipv4") if protocol == 4 else Found(Tunnel.IPV6, 0, 0, "ipv6")
    if protocol == 47:
        return _gre(place)
    if protocol == 97:  # EtherIP, RFC 3378: version 3, the rest is 0
        return Found(Tunnel.ETHERIP, 0, 2, "link", 1) if _has(place, 2) and place.u16(0) == 0x3000 else None
    return Found(Tunnel.MPLS, 0, 0, "mpls")  # RFC 4023


def _has(place: Place, count: int) -> bool:
    return place.at + count <= place.end


def _gre(place: Place) -> Found | None:
    """RFC 2784 and 2890; of RFC 1701 what has no routing. Version 1 is PPTP's (RFC 2637)."""
    if not _has(place, 4):
        return None
    flags, kind, size = place.u16(0), place.u16(2), 4
    if flags & 7 == 1:
        if flags & 0xEF78 != 0x2000 or kind != 0x880B:  # key, no more than numbers and an acknowledgement
            return None
        size = 8 + (4 if flags & 0x1000 else 0) + (4 if flags & 0x0080 else 0)
        if not _has(place, size):
            return None
        length = place.u16(4)
        if not length or place.at + size + length > place.limit:  # an acknowledgement alone
            return None
        return Found(Tunnel.PPTP, place.u16(6), size, "ppp", length=size + length)
    if flags & 0x4FFF or kind not in _INSIDE:
        return None
    key = 0
    if flags & 0x8000:
        size += 4
    if flags & 0x2000:
        if not _has(place, size + 4):
            return None
        key = place.u32(size)
        size += 4
    if flags & 0x1000:
        size += 4
    return Found(Tunnel.GRE, key, size, *_INSIDE[kind])


def _vxlan(place: Place) -> Found | None:
    """RFC 7348; a group policy may stand in the reserved bits."""
    if not _has(place, 8) or place.u8(7):
        return None
    if place.u8(0) != 0x88 and place.u32(0) != 0x08000000:
        return None
    return Found(Tunnel.VXLAN, place.u32(4) >> 8, 8, "link", 1)


def _geneve(place: Place) -> Found | None:
    """RFC 8926."""
    if not _has(place, 8) or place.u8(0) & 0xC0 or place.u8(1) & 0x80 or place.u8(7) or place.u16(2) not in _INSIDE:
        return None
    return Found(Tunnel.GENEVE, place.u32(4) >> 8, 8 + (place.u8(0) & 0x3F) * 4, *_INSIDE[place.u16(2)])


def _gtp(place: Place) -> Found | None:
    """3GPP TS 29.281 section 5: a G-PDU with its extension headers."""
    if not _has(place, 8) or place.u8(0) & 0xF8 != 0x30 or place.u8(1) != 0xFF:
        return None
    if place.u16(2) != place.limit - place.at - 8:
        return None
    size = 8
    if place.u8(0) & 7:
        size = 12
        if not _has(place, size):
            return None
        extension = place.u8(11) if place.u8(0) & 4 else 0
        for _ in range(8):
            if not extension:
                break
            if not _has(place, size + 4):
                return None
            length = place.u8(size) * 4
            if not length or not _has(place, size + length):
                return None
            size += length
            extension = place.u8(size - 1)
        if extension:
            return None
    return Found(Tunnel.GTP, place.u32(4), size, "ip", exact=True)


def _teredo(place: Place) -> Found | None:
    """RFC 4380 section 5.1.1: authentication and origin may stand before IPv6.

    What a client and its server say to each other about the tunnel itself comes from link-local addresses or carries
    nothing: that stays a UDP flow.
    """
    size = 0
    if not _has(place, 8):
        return None
    if place.u16(0) == 1:
        size = 13 + place.u8(2) + place.u8(3)
        if not _has(place, size + 2):
            return None
    if place.u16(size) == 0:
        size += 8
    if not _has(place, size + 40):
        return None
    if place.u8(size) >> 4 != 6 or place.u8(size + 6) == 59 or place.u16(size + 8) & 0xFFC0 == 0xFE80:
        return None
    return Found(Tunnel.TEREDO, 0, size, "ipv6", exact=True)


def _l2tp(place: Place) -> Found | None:
    """RFC 2661 section 3.1, data messages."""
    if not _has(place, 6):
        return None
    flags, size, length = place.u16(0), 2, None
    if flags & 0xB4FF != 0x0002:  # data, version 2, reserved bits 0
        return None
    if flags & 0x4000:
        length = place.u16(2)
        if place.at + length > place.limit or length < 8:
            return None
        size = 4
    if not _has(place, size + 4):
        return None
    key = place.u32(size)
    size += 4 + (4 if flags & 0x0800 else 0)
    if flags & 0x0200:
        if not _has(place, size + 2):
            return None
        size += 2 + place.u16(size)
    return Found(Tunnel.L2TP, key, size, "ppp", length=length, exact=True)
