"""Asking endpoints: what may be asked, what to ask next, and the one place that opens sockets."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from flowsonar.probes.audit import AuditAction, AuditEntry
from flowsonar.probes.scope import Scope

if TYPE_CHECKING:
    from flowsonar.probes.prober import Prober

__all__ = ["AuditAction", "AuditEntry", "Prober", "Scope"]


def __getattr__(name: str) -> Any:
    """Import the prober when it is asked for: whoever only checks a scope needs no sockets, TLS or event loop."""
    if name != "Prober":
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from flowsonar.probes.prober import Prober

    return Prober
