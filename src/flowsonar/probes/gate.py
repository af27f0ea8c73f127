"""What every packet passes: scope and never-ports, budget, audit log, the registry of our own flows."""

from __future__ import annotations

import time
from collections.abc import Callable
from ipaddress import IPv4Network, IPv6Network

from flowsonar.config import Settings
from flowsonar.model import Endpoint, Outcome, Transport
from flowsonar.probes.audit import AuditAction, AuditEntry
from flowsonar.probes.budget import Budget
from flowsonar.probes.own import OwnTraffic
from flowsonar.probes.scope import Scope

__all__ = ["Gate"]


class Gate:
    """Asked before every packet; no dialogue gets round it."""

    def __init__(self, settings: Settings, audit: Callable[[AuditEntry], None]) -> None:
        self._audit = audit
        self._scope = Scope(settings.scope)
        self._nothing = (
            "passive: nothing is asked"
            if settings.passive
            else "dry run: nothing is asked"
            if settings.dry_run
            else None
        )
        self.budget = Budget(settings.budget, time.monotonic())
        self.own = OwnTraffic()
        self.counts = dict.fromkeys(("connections", "controls", "datagrams", "bytes_sent"), 0)

    def forbids(self, endpoint: Endpoint, *, amplifies: bool = False) -> str | None:
        """Why no packet may leave for `endpoint`; None when it may."""
        return self._nothing or self.permits(endpoint, amplifies=amplifies)

    def permits(self, endpoint: Endpoint, *, amplifies: bool = False) -> str | None:
        """The same without passive mode and dry run."""
        if endpoint.transport not in (Transport.TCP, Transport.UDP):
            return f"{endpoint.transport} endpoints cannot be asked"
        return self._scope.permits(endpoint, amplifies=amplifies)

    @property
    def networks(self) -> tuple[IPv4Network | IPv6Network, ...]:
        """Outside them no endpoint may be asked."""
        return self._scope.networks

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
