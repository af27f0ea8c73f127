"""What the kernel says of a connection: errors of the system as outcomes, and what TCP saw that we may read of late."""

from __future__ import annotations

import errno
import socket
import struct
from enum import Enum
from typing import Final

from flowsonar.model import Outcome

__all__ = ["Trouble", "handshake_s", "stands", "told_by", "unacknowledged"]

_TCPI_UNACKED: Final = struct.Struct("24xI")
"""`struct tcp_info` of linux/tcp.h: eight bytes, then u32 rto, ato, snd_mss, rcv_mss, and unacked."""

_ESTABLISHED: Final = b"\x01"
"""The same: the first byte is the state, with the numbers of linux/tcp_states.h."""

_TCPI_RTT: Final = struct.Struct("68xI")
"""The same: rtt in microseconds is the 16th of the u32."""

_REFUSED: Final = frozenset({errno.ECONNREFUSED})
_UNREACHABLE: Final = frozenset({errno.EHOSTUNREACH, errno.ENETUNREACH, errno.EHOSTDOWN, errno.ENETDOWN, errno.EINVAL,
                                 errno.EADDRNOTAVAIL, errno.ENODEV, errno.ENOPROTOOPT, errno.EOPNOTSUPP})  # fmt: skip
_PROHIBITED: Final = frozenset({errno.EACCES, errno.EPERM})
_SHORT: Final = frozenset({errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM})


class Trouble(Enum):
    """What an error means for those that are still to be sent there."""

    NONE = "none"
    REFUSED = "refused"
    """Nobody is there, or nobody wants us: many of these look like a scan."""
    PROHIBITED = "prohibited"
    """A firewall said so."""


def told_by(problem: OSError, *, connecting: bool) -> tuple[Trouble, Outcome, str]:
    """What an error of the system says about the other side; `connecting`: no connection stood yet."""
    code = problem.errno
    if code in _REFUSED:
        return Trouble.REFUSED, Outcome.REFUSED, "refused"
    if code in _PROHIBITED:
        return Trouble.PROHIBITED, Outcome.UNREACHABLE, "administratively prohibited"
    if code in _SHORT:
        return Trouble.NONE, Outcome.CANCELLED, "no file descriptor or memory left for a socket"
    if code in _UNREACHABLE:
        return Trouble.REFUSED, Outcome.UNREACHABLE, problem.strerror or "unreachable"
    if code == errno.ETIMEDOUT:
        return Trouble.NONE, Outcome.SILENT, "timed out"
    if connecting and code == errno.ECONNRESET:
        return Trouble.NONE, Outcome.REFUSED, "reset"
    return Trouble.NONE, Outcome.CLOSED, (problem.strerror or "broken").lower()


def unacknowledged(opened: socket.socket) -> bool:
    """Whether bytes we sent have not been acknowledged: the network, not the server, is slow."""
    try:
        info = opened.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, _TCPI_UNACKED.size)
        return len(info) == _TCPI_UNACKED.size and _TCPI_UNACKED.unpack(info)[0] > 0
    except OSError:
        return False


def stands(opened: socket.socket) -> bool:
    """Whether the connection request was answered, and neither side has ended the connection."""
    try:
        return opened.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, 1) == _ESTABLISHED
    except OSError:
        return False


def handshake_s(opened: socket.socket) -> float:
    """How long the handshake took as the kernel saw it: we may read of it late. 0 where it does not know."""
    try:
        info = opened.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, _TCPI_RTT.size)
        return float(_TCPI_RTT.unpack(info)[0]) / 1e6 if len(info) == _TCPI_RTT.size else 0.0
    except OSError:
        return 0.0
