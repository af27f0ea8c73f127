"""Addresses for the kernel, and our own address towards each host."""

from __future__ import annotations

import contextlib
import ipaddress
import socket
from functools import lru_cache
from typing import Final

__all__ = ["Routes", "SocketAddress", "socket_address"]

SocketAddress = tuple[str, int] | tuple[str, int, int, int]

_ROUTE_S: Final = 1.0
"""How long our address towards a host is taken for granted: routes change seldom."""
_ROUTES: Final = 4096
"""Hosts whose route is remembered; then all are forgotten."""


class Routes:
    """Our own address towards each host, as the routing table has it."""

    def __init__(self) -> None:
        self.preferred: tuple[int, int] | None = None
        """Packet priority and DSCP of questions, where queues of ours serve them: they must not wait behind the very
        flows that they are about."""
        self._known: dict[tuple[str | int, ...], tuple[float, str]] = {}  # host and zone: when, our address

    def open(self, family: int, kind: int) -> socket.socket:
        """A socket for a conversation."""
        opened = socket.socket(family, kind)
        if self.preferred is not None:
            priority, dscp = self.preferred
            level, option = (
                (socket.IPPROTO_IPV6, socket.IPV6_TCLASS)
                if family == socket.AF_INET6
                else (socket.IPPROTO_IP, socket.IP_TOS)
            )
            with contextlib.suppress(OSError):  # without the right they wait as everybody does
                opened.setsockopt(level, option, dscp << 2)  # this sets a priority too: ours comes after it
                opened.setsockopt(socket.SOL_SOCKET, socket.SO_PRIORITY, priority)
        return opened

    def local_address(self, family: int, target: SocketAddress, now_s: float) -> str:
        """Our address towards the target, from the routing table: connecting a datagram socket sends nothing.

        Raises OSError where there is no route.
        """
        key = (target[0], *target[3:])
        known = self._known.get(key)
        if known is not None and now_s - known[0] < _ROUTE_S:
            return known[1]
        with socket.socket(family, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC) as probe:
            probe.connect(target)
            local = str(probe.getsockname()[0]).partition("%")[0]
        if len(self._known) >= _ROUTES:
            self._known.clear()
        self._known[key] = (now_s, local)
        return local


@lru_cache(maxsize=4096)
def socket_address(address: str, port: int) -> tuple[int, SocketAddress]:
    """Family and address for the kernel; an IPv4-mapped address is asked as what it is, IPv4."""
    parsed = ipaddress.ip_address(address)
    if isinstance(parsed, ipaddress.IPv4Address):
        return socket.AF_INET, (address, port)
    if parsed.ipv4_mapped is not None:
        return socket.AF_INET, (str(parsed.ipv4_mapped), port)
    zone = 0
    if parsed.scope_id:
        with contextlib.suppress(OSError):
            zone = int(parsed.scope_id) if parsed.scope_id.isdigit() else socket.if_nametoindex(parsed.scope_id)
    return socket.AF_INET6, (address.partition("%")[0], port, 0, zone)
