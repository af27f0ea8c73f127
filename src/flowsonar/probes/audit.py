"""The audit entry: one line for every packet-causing act of a probe, written before it happens."""

from __future__ import annotations

from enum import StrEnum
from typing import Final, NamedTuple

from flowsonar.model import Endpoint, Outcome

__all__ = ["CONTROL", "AuditAction", "AuditEntry"]

CONTROL: Final = "control"
"""What control connections are for in the log; they are counted by themselves."""


class AuditAction(StrEnum):
    """What is about to be done, or what became of it."""

    CONNECT = "connect"
    """A TCP connection is about to be opened."""
    SEND = "send"
    """Bytes are about to leave: on a TCP connection, or as one UDP datagram."""
    END = "end"
    """The conversation is over; `outcome` says how."""


class AuditEntry(NamedTuple):
    """Who was asked what, when. Entries of the acts `connect` and `send` are made before the packet leaves."""

    time_ns: int
    """Since the epoch."""
    endpoint: Endpoint
    action: AuditAction
    probe: str
    """`service/name`; `listen` while nothing was said, `tls` for a TLS handshake."""
    bytes: int = 0
    """Payload bytes that leave."""
    outcome: Outcome | None = None
    detail: str = ""
