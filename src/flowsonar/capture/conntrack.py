"""The kernel's own list of connections as a source: a ctnetlink socket (linux/netfilter/nfnetlink_conntrack.h)."""

from __future__ import annotations

import errno
import socket
from pathlib import Path
from typing import Final

from flowsonar.errors import CaptureError, MalformedError
from flowsonar.protocols.conntrack import DUMP, Tracked, messages

__all__ = ["ConntrackSocket"]

_NETLINK_NETFILTER: Final = 12
_GROUPS: Final = 1 | 2 | 4  # NFNLGRP_CONNTRACK_NEW, _UPDATE, _DESTROY as bits
_RECEIVE_BYTES: Final = 8 << 20
"""Events that wait while we are busy: some 40,000 of about 200 bytes."""
_SO_RCVBUFFORCE: Final = 33
_DATAGRAM: Final = 1 << 16
_AT_ONCE: Final = 256
"""Datagrams taken in one turn, so that answers and screens get theirs."""
_ACCOUNTING: Final = Path("/proc/sys/net/netfilter/nf_conntrack_acct")


class ConntrackSocket:
    """Tells of connections that began, changed and ended, and first of those that are there. Needs CAP_NET_ADMIN.

    `lost` counts how often the kernel had to drop events because we were too slow, `malformed` what was not
    understood.
    """

    def __init__(self) -> None:
        """Raises CaptureError where the kernel or the privilege is missing."""
        self.lost = 0
        self.malformed = 0
        try:
            self._socket = socket.socket(socket.AF_NETLINK, socket.SOCK_RAW | socket.SOCK_NONBLOCK, _NETLINK_NETFILTER)
        except OSError as error:
            raise CaptureError(f"this kernel has no netfilter netlink ({error.strerror})") from error
        try:
            try:
                self._socket.setsockopt(socket.SOL_SOCKET, _SO_RCVBUFFORCE, _RECEIVE_BYTES)
            except PermissionError:
                self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, _RECEIVE_BYTES)
            self._socket.bind((0, _GROUPS))
            self._socket.send(DUMP)
        except OSError as error:
            self._socket.close()
            if error.errno in (errno.EPERM, errno.EACCES):
                raise CaptureError("connection tracking: not permitted: run as root or with CAP_NET_ADMIN") from error
            raise CaptureError(f"connection tracking cannot be listened to ({error.strerror})") from error

    def fileno(self) -> int:
        """For the event loop."""
        return self._socket.fileno()

    def read(self) -> list[Tracked]:
        """What it has now."""
        found: list[Tracked] = []
        for _ in range(_AT_ONCE):
            try:
                data = self._socket.recv(_DATAGRAM)
            except BlockingIOError:
                break
            except OSError as error:
                if error.errno != errno.ENOBUFS:
                    raise CaptureError(f"connection tracking: {error.strerror}") from error
                self.lost += 1
                continue
            try:
                found.extend(messages(data))
            except MalformedError:
                self.malformed += 1
        return found

    @staticmethod
    def accounting() -> bool | None:
        """Whether the kernel counts packets and bytes of connections; None where it does not say."""
        try:
            return _ACCOUNTING.read_text().strip() == "1"
        except OSError:
            return None

    def close(self) -> None:
        """Listen no longer."""
        self._socket.close()
