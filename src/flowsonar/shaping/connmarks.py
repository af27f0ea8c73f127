"""Takes our bits out of the marks of connections that go on: the last that is left of shaping (ctnetlink)."""

from __future__ import annotations

import socket
import struct
from collections.abc import Iterator
from typing import Final

from flowsonar.errors import MalformedError
from flowsonar.shaping.classes import MARK_MASK, SCALE_MASK, SET_MASK

__all__ = ["clear_marks", "clearing", "marked_tuples"]

_HEADER: Final = struct.Struct("=IHHII")  # struct nlmsghdr
_ATTRIBUTE: Final = struct.Struct("=HH")  # struct nlattr
_GENERIC: Final = 4  # struct nfgenmsg
_NETLINK_NETFILTER: Final = 12
_NEW, _GET = 0x100, 0x101  # NFNL_SUBSYS_CTNETLINK << 8 with IPCTNL_MSG_CT_NEW, _GET
_REQUEST, _DUMP = 1, 0x300
_ERROR, _DONE = 2, 3
_TUPLE, _MARK, _MASK, _ZONE = 1, 8, 21, 18  # CTA_TUPLE_ORIG, CTA_MARK, CTA_MARK_MASK, CTA_ZONE
_KIND: Final = 0x3FFF  # NLA_TYPE_MASK
_DATAGRAM: Final = 1 << 16
_AT_ONCE: Final = 64
"""Updates in one send."""
_WAIT_S: Final = 5.0


def clear_marks() -> int:
    """Take our bits from all connections of this network namespace; how many had some. Nothing where that cannot be."""
    try:
        with socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, _NETLINK_NETFILTER) as line:
            line.settimeout(_WAIT_S)
            line.bind((0, 0))
            line.send(_HEADER.pack(20, _GET, _REQUEST | _DUMP, 1, 0) + bytes(4))
            found = list(_dumped(line))
            for start in range(0, len(found), _AT_ONCE):
                line.send(b"".join(clearing(*one) for one in found[start : start + _AT_ONCE]))
            return len(found)
    except (OSError, MalformedError):
        return 0


def _dumped(line: socket.socket) -> Iterator[tuple[int, bytes]]:
    while True:
        data = line.recv(_DATAGRAM)
        yield from marked_tuples(data)
        if _ended(data):
            return


def _ended(data: bytes) -> bool:
    return any(kind in (_ERROR, _DONE) for kind, _ in _messages(data))


def marked_tuples(data: bytes) -> Iterator[tuple[int, bytes]]:
    """(family, attributes that name it) of each connection with a mark of ours. Raises MalformedError."""
    for kind, body in _messages(data):
        if kind != _NEW or len(body) < _GENERIC:
            continue
        names, mark = b"", 0
        for what, start, stop in _attributes(body, _GENERIC):
            if what in (_TUPLE, _ZONE):
                names += body[start:stop] + bytes(-(stop - start) % 4)
            elif what == _MARK and stop - start == 8:
                (mark,) = struct.unpack_from(">I", body, start + 4)
        if mark & (SET_MASK | SCALE_MASK) and names:
            yield body[0], names


def clearing(family: int, names: bytes) -> bytes:
    """The message that clears our bits of one connection and keeps the others'."""
    body = struct.pack(">BBH", family, 0, 0) + names
    body += _ATTRIBUTE.pack(8, _MARK) + bytes(4)
    body += _ATTRIBUTE.pack(8, _MASK) + struct.pack(">I", MARK_MASK | SCALE_MASK)
    return _HEADER.pack(_HEADER.size + len(body), _NEW, _REQUEST, 2, 0) + body


def _messages(data: bytes) -> Iterator[tuple[int, bytes]]:
    place = 0
    while place + _HEADER.size <= len(data):
        length, kind, *_ = _HEADER.unpack_from(data, place)
        if length < _HEADER.size or place + length > len(data):
            raise MalformedError("a netlink message reaches beyond its datagram")
        yield kind, data[place + _HEADER.size : place + length]
        place += (length + 3) & ~3


def _attributes(body: bytes, place: int) -> Iterator[tuple[int, int, int]]:
    """Kind, start and end (header included) of each attribute."""
    while place + 4 <= len(body):
        length, kind = _ATTRIBUTE.unpack_from(body, place)
        if length < 4 or place + length > len(body):
            raise MalformedError("a netlink attribute reaches beyond its message")
        yield kind & _KIND, place, place + length
        place += (length + 3) & ~3
