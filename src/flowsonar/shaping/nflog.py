"""Packets that a firewall rule hands to a program, by netlink (linux/netfilter/nfnetlink_log.h): a copy of each, whole.

A rule `log group N drop` gives the program what it takes off the path, as it would have gone on.
"""

from __future__ import annotations

import random
import socket
import struct
from typing import Final

from flowsonar.errors import ShapingError

__all__ = ["PacketLog", "payloads"]

_NETLINK_NETFILTER: Final = 12
_SUBSYSTEM: Final = 4 << 8  # NFNL_SUBSYS_ULOG
_PACKET, _CONFIG = _SUBSYSTEM | 0, _SUBSYSTEM | 1
_REQUEST_ACK: Final = 1 | 4
_ERROR: Final = 2
_CFG_CMD, _CFG_MODE, _CFG_TIMEOUT, _CFG_QTHRESH = 1, 2, 4, 5
_BIND: Final = 1
_COPY_PACKET: Final = 2
_PAYLOAD: Final = 9
_HEAD: Final = struct.Struct("=IHHII")
_RECEIVE_BYTES: Final = 1 << 20
_BUSY_TRIES: Final = 8


def _attribute(kind: int, data: bytes) -> bytes:
    return struct.pack("=HH", 4 + len(data), kind) + data + bytes(-len(data) % 4)


def payloads(datagram: bytes) -> list[bytes]:
    """The packets in one datagram from the kernel, from their IP header on; what is cut or odd is left out."""
    found = []
    at = 0
    while at + 20 <= len(datagram):
        length, kind, _, _, _ = _HEAD.unpack_from(datagram, at)
        if length < 20 or at + length > len(datagram):
            break
        inner, end = at + 20, at + length
        while kind == _PACKET and inner + 4 <= end:
            size, name = struct.unpack_from("=HH", datagram, inner)
            if size < 4 or inner + size > end:
                break
            if name & 0x7FFF == _PAYLOAD:
                found.append(datagram[inner + 4 : inner + size])
            inner += (size + 3) & ~3
        at += (length + 3) & ~3
    return found


class PacketLog:
    """Receives the packets of one group of its own; `group` is for the rule."""

    def __init__(self) -> None:
        """Raises ShapingError where the kernel or the privilege is missing."""
        try:
            self._socket = socket.socket(socket.AF_NETLINK, socket.SOCK_RAW | socket.SOCK_CLOEXEC, _NETLINK_NETFILTER)
            self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, _RECEIVE_BYTES)
            self._socket.bind((0, 0))
            self.group = self._bind()
        except OSError as error:
            raise ShapingError(f"packets cannot be taken from the firewall ({error.strerror}): run as root") from error
        self._socket.setblocking(False)

    def _bind(self) -> int:
        problem = 0
        for _ in range(_BUSY_TRIES):
            group = random.randrange(1 << 10, 1 << 16)  # another program may have one
            problem = self._configure(group, _attribute(_CFG_CMD, struct.pack("B", _BIND)))
            if not problem:
                mode = struct.pack("!IBB", 0xFFFF, _COPY_PACKET, 0)
                # One packet at a time, at once: the flow's own packets must not wait.
                at_once = _attribute(_CFG_QTHRESH, struct.pack("!I", 1)) + _attribute(
                    _CFG_TIMEOUT, struct.pack("!I", 1)
                )
                problem = self._configure(group, _attribute(_CFG_MODE, mode) + at_once)
                if not problem:
                    return group
        raise OSError(problem, "the kernel cannot log packets to programs (nfnetlink_log)")

    def _configure(self, group: int, attributes: bytes) -> int:
        body = struct.pack("!BBH", socket.AF_UNSPEC, 0, group) + attributes
        self._socket.send(_HEAD.pack(16 + len(body), _CONFIG, _REQUEST_ACK, 0, 0) + body)
        answer = self._socket.recv(4096)
        _, kind, _, _, _ = _HEAD.unpack_from(answer)
        return -struct.unpack_from("=i", answer, 16)[0] if kind == _ERROR else 0

    def fileno(self) -> int:
        """To wait for."""
        return self._socket.fileno()

    def read(self) -> list[bytes]:
        """The packets that are there now."""
        found: list[bytes] = []
        try:
            while len(found) < 256:
                found += payloads(self._socket.recv(1 << 17))
        except BlockingIOError:
            pass
        except OSError:  # ENOBUFS: the kernel had to drop some
            pass
        return found

    def close(self) -> None:
        """End; the kernel forgets the group."""
        self._socket.close()
