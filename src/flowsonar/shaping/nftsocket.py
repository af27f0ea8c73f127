"""The socket through which elements of the firewall's maps come and go (netlink, NETLINK_NETFILTER)."""

from __future__ import annotations

import errno
import os
import socket
from collections.abc import Sequence
from typing import Final

from flowsonar.errors import ShapingError
from flowsonar.shaping.nftmessages import Drop, Operation, Put, batch, failures

__all__ = ["ElementSocket"]

_NETLINK_NETFILTER: Final = 12
_AT_ONCE: Final = 2048
"""Operations in one transaction: about 200 kB, within what a socket sends at once."""
_BUFFER: Final = 1 << 20
_DATAGRAM: Final = 1 << 16
_SO_SNDBUFFORCE: Final = 32
_SO_RCVBUFFORCE: Final = 33


class ElementSocket:
    """Applies operations at once: what `apply` was given is in the kernel when it returns."""

    def __init__(self) -> None:
        """Raises ShapingError where kernel or privilege is missing."""
        self._sequence = 1
        try:
            self._socket = socket.socket(socket.AF_NETLINK, socket.SOCK_RAW | socket.SOCK_NONBLOCK, _NETLINK_NETFILTER)
        except OSError as error:
            raise ShapingError(f"this kernel has no netfilter netlink ({error.strerror})") from error
        for forced, plain in ((_SO_SNDBUFFORCE, socket.SO_SNDBUF), (_SO_RCVBUFFORCE, socket.SO_RCVBUF)):
            try:
                self._socket.setsockopt(socket.SOL_SOCKET, forced, _BUFFER)
            except OSError:
                self._socket.setsockopt(socket.SOL_SOCKET, plain, _BUFFER)
        self._socket.bind((0, 0))

    def apply(self, operations: Sequence[Operation]) -> int:
        """Do all of it; give how many could not be done because a map is full.

        What is gone already need not be dropped, what is there with another value is replaced. Raises ShapingError
        where the table is gone or nothing is permitted.
        """
        refused = 0
        for start in range(0, len(operations), _AT_ONCE):
            part = operations[start : start + _AT_ONCE]
            if self._try(part):
                refused += sum(self._one(operation) for operation in part)
        return refused

    def close(self) -> None:
        """No operation after this."""
        self._socket.close()

    def _one(self, operation: Operation) -> int:
        code = self._try((operation,))
        if code == errno.ENOENT and isinstance(operation, Drop):
            return 0
        if code in (errno.EBUSY, errno.EEXIST) and isinstance(operation, Put):
            code = self._try((Drop(operation.place), operation))
        return 1 if code else 0

    def _try(self, operations: Sequence[Operation]) -> int:
        """Send one transaction; give the first error, 0 for none. Raises ShapingError for what cannot be mended."""
        data = batch(operations, self._sequence)
        self._sequence = (self._sequence + len(operations) + 2) & 0x7FFFFFFF or 1
        try:
            self._socket.send(data)
        except OSError as error:
            raise ShapingError(f"the firewall took no elements ({error.strerror})") from error
        code = self._answer()
        if code in (errno.EPERM, errno.EACCES):
            raise ShapingError("the firewall's maps: not permitted: run as root or with CAP_NET_ADMIN")
        if code == errno.ENOENT and any(isinstance(one, Put) for one in operations) and not _drops(operations):
            raise ShapingError("the firewall's table is gone: somebody has removed `inet flowsonar`")
        if code and code not in (errno.ENOENT, errno.EBUSY, errno.EEXIST, errno.ENFILE, errno.ENOSPC):
            raise ShapingError(f"the firewall took no elements ({os.strerror(code)})")
        return code

    def _answer(self) -> int:
        """The kernel has answered before `send` returned: read all, give the first error."""
        first = 0
        while True:
            try:
                data = self._socket.recv(_DATAGRAM)
            except BlockingIOError:
                return first
            except OSError as error:
                if error.errno != errno.ENOBUFS:  # more errors than fit: the first one counts
                    raise ShapingError(f"the firewall gave no answer ({error.strerror})") from error
                continue
            for _, code in failures(data):
                first = first or code


def _drops(operations: Sequence[Operation]) -> bool:
    return any(isinstance(one, Drop) for one in operations)
