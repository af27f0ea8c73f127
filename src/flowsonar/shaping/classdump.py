"""What each class of an HTB has sent and what waits in it, asked of the kernel (rtnetlink) without any program."""

from __future__ import annotations

import socket
import struct
from collections.abc import Iterator
from typing import Final

from flowsonar.errors import MalformedError
from flowsonar.shaping.classes import MAJOR
from flowsonar.shaping.windows import Served

__all__ = ["ClassDump", "ended", "request", "served"]

_HEADER: Final = struct.Struct("=IHHII")  # struct nlmsghdr
_CLASS: Final = struct.Struct("=BxxxiIII")  # struct tcmsg
_ATTRIBUTE: Final = struct.Struct("=HH")  # struct nlattr
_STATISTICS: Final = struct.Struct("=QIIIIIII")  # struct tc_stats
_NEW, _GET = 40, 42  # RTM_NEWTCLASS, RTM_GETTCLASS
_REQUEST, _DUMP = 1, 0x300
_ERROR, _DONE = 2, 3
_STATS: Final = 3  # TCA_STATS
_KIND: Final = 0x3FFF  # NLA_TYPE_MASK
_DATAGRAM: Final = 1 << 15
_WAIT_S: Final = 1.0
_DATAGRAMS: Final = 64
"""A dump of a dozen classes is one or two."""


class ClassDump:
    """Reads one interface's classes again and again."""

    def __init__(self, index: int) -> None:
        """`index` is the interface's number. Raises OSError."""
        self._index = index
        self._socket = socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, socket.NETLINK_ROUTE)
        self._socket.settimeout(_WAIT_S)

    def read(self) -> dict[int, Served]:
        """By minor number. Raises OSError and MalformedError."""
        self._socket.send(request(self._index))
        found: dict[int, Served] = {}
        for _ in range(_DATAGRAMS):
            data = self._socket.recv(_DATAGRAM)
            found.update(served(data))
            if ended(data):
                break
        return found

    def close(self) -> None:
        """No reading after this."""
        self._socket.close()


def request(index: int) -> bytes:
    """The message that asks for all classes of an interface."""
    body = _CLASS.pack(socket.AF_UNSPEC, index, 0, 0, 0)
    return _HEADER.pack(_HEADER.size + len(body), _GET, _REQUEST | _DUMP, 1, 0) + body


def served(data: bytes) -> Iterator[tuple[int, Served]]:
    """(minor number, what it says) of each class of ours. Raises MalformedError."""
    for kind, body in _messages(data):
        if kind != _NEW or len(body) < _CLASS.size:
            continue
        _, _, handle, _, _ = _CLASS.unpack_from(body)
        if handle >> 16 != MAJOR:
            continue
        for what, start, stop in _attributes(body, _CLASS.size):
            if what == _STATS and stop - start >= _STATISTICS.size:
                octets, *_, waiting = _STATISTICS.unpack_from(body, start)
                yield handle & 0xFFFF, Served(octets, waiting)


def ended(data: bytes) -> bool:
    """Whether a dump ends with this datagram."""
    return any(kind in (_ERROR, _DONE) for kind, _ in _messages(data))


def _messages(data: bytes) -> Iterator[tuple[int, bytes]]:
    place = 0
    while place + _HEADER.size <= len(data):
        length, kind, *_ = _HEADER.unpack_from(data, place)
        if length < _HEADER.size or place + length > len(data):
            raise MalformedError("a netlink message reaches beyond its datagram")
        yield kind, data[place + _HEADER.size : place + length]
        place += (length + 3) & ~3


def _attributes(body: bytes, place: int) -> Iterator[tuple[int, int, int]]:
    """Kind, start and end of each attribute's value."""
    while place + 4 <= len(body):
        length, kind = _ATTRIBUTE.unpack_from(body, place)
        if length < 4 or place + length > len(body):
            raise MalformedError("a netlink attribute reaches beyond its message")
        yield kind & _KIND, place + 4, place + length
        place += (length + 3) & ~3
