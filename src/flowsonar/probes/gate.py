"""What every packet passes: scope and never-ports, budget, audit log, the registry of our own flows."""

from __future__ import annotations

import contextlib
import ipaddress
import socket
import time
from collections.abc import Callable
from functools import lru_cache
from typing import Final

from flowsonar.config import Settings
from flowsonar.model import Endpoint, Outcome, Transport
from flowsonar.probes.audit import AuditAction, AuditEntry
from flowsonar.probes.budget import Budget
from flowsonar.probes.own import OwnTraffic
from flowsonar.probes.scope import Scope

__all__ = ["Gate", "SocketAddress", "socket_address"]

SocketAddress = tuple[str, int] | tuple[str, int, int, int]

_ROUTE_S: Final = 1.0
"""How long our address towards a host is taken for granted: routes change seldom."""
_ROUTES: Final = 4096
"""Hosts whose route is remembered; then all are forgotten."""


class Gate:
    """Asked before every packet; no dialogue gets round it."""

    def __init__(self, settings: Settings, audit: Callable[[AuditEntry], None]) -> None:
        self._settings = settings
        self._audit = audit
        self._scope = Scope(settings.scope)
        self._routes: dict[tuple[str | int, ...], tuple[float, str]] = {}  # host and zone: when, our address
        self.budget = Budget(settings.budget, time.monotonic())
        self.own = OwnTraffic()
        self.timeout_s = settings.budget.timeout_s
        self.counts = dict.fromkeys(("connections", "datagrams", "bytes_sent"), 0)

    def forbids(self, endpoint: Endpoint, *, amplifies: bool = False) -> str | None:
        """Why no packet may leave for `endpoint`; None when it may."""
        if self._settings.passive:
            return "passive: nothing is asked"
        if self._settings.dry_run:
            return "dry run: nothing is asked"
        return self.permits(endpoint, amplifies=amplifies)

    def permits(self, endpoint: Endpoint, *, amplifies: bool = False) -> str | None:
        """The same without passive mode and dry run."""
        if endpoint.transport not in (Transport.TCP, Transport.UDP):
            return f"{endpoint.transport} endpoints cannot be asked"
        return self._scope.permits(endpoint, amplifies=amplifies)

    def record(
        self,
        endpoint: Endpoint,
        action: AuditAction,
        probe: str,
        size: int = 0,
        outcome: Outcome | None = None,
        detail: str = "",
    ) -> None:
        """Write the audit log. Raises what the log raises: what cannot be written down is not done."""
        self._audit(AuditEntry(time.time_ns(), endpoint, action, probe, size, outcome, detail))

    def local_address(self, family: int, target: SocketAddress, now_s: float) -> str:
        """Our address towards the target, from the routing table: connecting a datagram socket sends nothing.

        Raises OSError where there is no route.
        """
        key = (target[0], *target[3:])
        known = self._routes.get(key)
        if known is not None and now_s - known[0] < _ROUTE_S:
            return known[1]
        with socket.socket(family, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC) as probe:
            probe.connect(target)
            local = str(probe.getsockname()[0]).partition("%")[0]
        if len(self._routes) >= _ROUTES:
            self._routes.clear()
        self._routes[key] = (now_s, local)
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
