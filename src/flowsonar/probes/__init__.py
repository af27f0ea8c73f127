"""Asking endpoints: what may be asked, what to ask next, and the one place that opens sockets."""

from flowsonar.probes.audit import AuditAction, AuditEntry
from flowsonar.probes.prober import Prober
from flowsonar.probes.scope import Scope

__all__ = ["AuditAction", "AuditEntry", "Prober", "Scope"]
