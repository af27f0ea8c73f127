"""Linux's connection tracking as it tells its events: ctnetlink messages (linux/netfilter/nfnetlink_conntrack.h)."""

from __future__ import annotations

import struct
from collections.abc import Iterator
from enum import IntEnum
from typing import Final, NamedTuple

from flowsonar.errors import MalformedError

__all__ = ["DUMP", "Change", "Tracked", "messages"]

_HEADER: Final = struct.Struct("=IHHII")  # struct nlmsghdr
_GENERIC: Final = 4  # struct nfgenmsg
_ATTRIBUTE: Final = struct.Struct("=HH")  # struct nlattr
_CREATED: Final = 0x400 | 0x200  # NLM_F_CREATE, NLM_F_EXCL
_ERROR, _DONE = 2, 3  # NLMSG_ERROR, NLMSG_DONE
_NEW, _DELETE = 0x100, 0x102  # NFNL_SUBSYS_CTNETLINK << 8 with IPCTNL_MSG_CT_NEW, IPCTNL_MSG_CT_DELETE
_SEEN_REPLY: Final = 2  # IPS_SEEN_REPLY
_PAYLOAD: Final = 0x3FFF  # NLA_TYPE_MASK
_TUPLE_ORIG, _TUPLE_REPLY, _STATUS, _PROTOINFO, _COUNTERS_ORIG, _COUNTERS_REPLY, _ID = 1, 2, 3, 4, 9, 10, 12  # CTA_*
_TUPLE_IP, _TUPLE_PROTO = 1, 2

DUMP: Final = _HEADER.pack(20, 0x101, 0x301, 1, 0) + b"\0\0\0\0"
"""IPCTNL_MSG_CT_GET with NLM_F_REQUEST and NLM_F_DUMP: all connections that are tracked now, both families."""


class Change(IntEnum):
    """What happened to a connection."""

    NEW = 0
    UPDATE = 1
    DESTROY = 2
    KNOWN = 3
    """It was there when asked: an answer to `DUMP`."""


class Tracked(NamedTuple):
    """One connection. Addresses are packed; ports of what has none are 0.

    The initiator is the original direction's source; the responder the reply direction's: the server behind a
    forwarded port, where this machine forwards it.
    """

    change: Change
    number: int
    """The kernel's identifier; reused after a while."""
    protocol: int
    initiator: bytes
    initiator_port: int
    responder: bytes
    responder_port: int
    replied: bool
    """Packets were seen in both directions."""
    tcp_state: int
    """TCP_CONNTRACK_*: 3 is established; 0 where it is not TCP or not told."""
    packets_toserver: int
    packets_toclient: int
    bytes_toserver: int
    bytes_toclient: int


def messages(data: bytes) -> Iterator[Tracked]:
    """The connections that one datagram of a ctnetlink socket tells of. Raises MalformedError."""
    place = 0
    while place + _HEADER.size <= len(data):
        length, kind, flags, sequence, _ = _HEADER.unpack_from(data, place)
        if length < _HEADER.size or place + length > len(data):
            raise MalformedError("a netlink message reaches beyond its datagram")
        if kind in (_NEW, _DELETE) and length >= _HEADER.size + _GENERIC:
            change = Change.DESTROY if kind == _DELETE else Change.NEW if flags & _CREATED else Change.UPDATE
            if sequence:
                change = Change.KNOWN
            tracked = _tracked(change, data[place + _HEADER.size + _GENERIC : place + length])
            if tracked is not None:
                yield tracked
        elif kind in (_ERROR, _DONE):
            return
        place += (length + 3) & ~3


def _attributes(data: bytes) -> dict[int, bytes]:
    """One level of attributes, by type; the last of a type counts."""
    found: dict[int, bytes] = {}
    place = 0
    while place + _ATTRIBUTE.size <= len(data):
        length, kind = _ATTRIBUTE.unpack_from(data, place)
        if length < _ATTRIBUTE.size or place + length > len(data):
            raise MalformedError("a netlink attribute reaches beyond its message")
        found[kind & _PAYLOAD] = data[place + _ATTRIBUTE.size : place + length]
        place += (length + 3) & ~3
    return found


def _tracked(change: Change, data: bytes) -> Tracked | None:
    attributes = _attributes(data)
    original, reply = attributes.get(_TUPLE_ORIG), attributes.get(_TUPLE_REPLY)
    if original is None or reply is None:
        return None
    protocol, initiator, initiator_port, _, port = _tuple(original)
    _, responder, responder_port, _, _ = _tuple(reply)
    if protocol in (1, 58):
        responder_port = port
    packets_toserver, bytes_toserver = _counters(attributes.get(_COUNTERS_ORIG, b""))
    packets_toclient, bytes_toclient = _counters(attributes.get(_COUNTERS_REPLY, b""))
    tcp = _attributes(_attributes(attributes.get(_PROTOINFO, b"")).get(1, b"")) if protocol == 6 else {}
    return Tracked(
        change,
        _number(attributes.get(_ID, b"")),
        protocol,
        initiator,
        initiator_port,
        responder,
        responder_port,
        bool(_number(attributes.get(_STATUS, b"")) & _SEEN_REPLY),
        _number(tcp.get(1, b"")),
        packets_toserver,
        packets_toclient,
        bytes_toserver,
        bytes_toclient,
    )


def _tuple(data: bytes) -> tuple[int, bytes, int, bytes, int]:
    """Protocol, source, its port, destination, its port; ICMP's identifier and type stand as ports."""
    parts = _attributes(data)
    ip, proto = _attributes(parts.get(_TUPLE_IP, b"")), _attributes(parts.get(_TUPLE_PROTO, b""))
    source, destination = ip.get(1) or ip.get(3) or b"", ip.get(2) or ip.get(4) or b""
    if len(source) not in (4, 16) or len(source) != len(destination):
        raise MalformedError("a tracked connection without addresses")
    first = proto.get(2) or proto.get(4) or proto.get(7) or b""
    second = proto.get(3) or proto.get(5) or proto.get(8) or b""
    return _number(proto.get(1, b"")), source, _number(first), destination, _number(second)


def _counters(data: bytes) -> tuple[int, int]:
    parts = _attributes(data)
    return _number(parts.get(1, b"")), _number(parts.get(2, b""))


def _number(data: bytes) -> int:
    return int.from_bytes(data[:8])
