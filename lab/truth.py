"""What a flow really is, and whether a label says so."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import StrEnum

__all__ = ["CLEAR", "EITHER", "TLS", "Judgement", "Kind", "Known", "Registry", "Truth", "judge"]

CLEAR: frozenset[str | None] = frozenset({None})
TLS: frozenset[str | None] = frozenset({"tls"})
EITHER: frozenset[str | None] = frozenset({None, "tls"})
"""A connection that changes to TLS in its middle may be named with or without it."""


class Kind(StrEnum):
    """What can be expected of a flow."""

    SERVICE = "service"
    """Its responder answers probes."""
    DATA_PASSIVE = "data, passive"
    """FTP data to a port that takes one connection: nobody to ask, but the control connection said so in clear
    (server to client)."""
    DATA_ACTIVE = "data, active"
    """The same with the port on the client, said from client to server."""
    DATA_HIDDEN = "data, announced inside TLS"
    """Nobody to ask and nothing to read but that the control connection spoke just before."""
    IMPOSTOR = "impostor"
    """Speaks no protocol: must stay unknown."""
    BANNER = "impostor with a banner"
    """Looks like a service in its first line: must never be confirmed."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Truth:
    """What a flow really is."""

    service: str | None
    """None for impostors."""
    over: frozenset[str | None] = CLEAR
    """The values of `over` that are right."""
    kind: Kind = Kind.SERVICE
    peer: bool = False
    """The initiator answers probes too (a node, not a client)."""
    asks: bool = False
    """Cannot be named from its own bytes: an endpoint must be asked."""

    def __str__(self) -> str:
        """As it is printed: `http over tls`."""
        if self.service is None:
            return "unknown"
        return f"{self.service} over tls" if self.over == TLS else self.service


class Judgement(StrEnum):
    """How a label compares with the truth."""

    RIGHT = "right"
    OUTSIDE = "right, outside only"
    """Says `tls` of a service inside TLS: true, but not all of it."""
    UNKNOWN = "unknown"
    """No label."""
    WRONG = "wrong"


def judge(truth: Truth, service: str | None, over: str | None) -> Judgement:
    """Compare a label with the truth."""
    if service is None:
        return Judgement.RIGHT if truth.service is None else Judgement.UNKNOWN
    if truth.service is None:
        return Judgement.WRONG
    if service == truth.service and over in truth.over:
        return Judgement.RIGHT
    if service == "tls" and over is None and "tls" in truth.over:
        return Judgement.OUTSIDE
    return Judgement.WRONG


@dataclass(frozen=True, slots=True, kw_only=True)
class Known:
    """A truth with the name of the program that it is about and the endpoint that makes it so."""

    name: str
    truth: Truth
    transport: str
    address: str
    low: int
    high: int


@dataclass(slots=True)
class Registry:
    """All truths of one situation, by endpoint."""

    known: list[Known] = field(default_factory=list)

    def add(self, name: str, truth: Truth, transport: str, address: str, low: int, high: int | None = None) -> None:
        """`address` with ports `low` to `high` is `truth`."""
        known = Known(name=name, truth=truth, transport=transport, address=address, low=low, high=high or low)
        self.known.append(known)

    def find(self, transport: str, *endpoints: tuple[str, int]) -> Known | None:
        """The truth of a flow with these endpoints; the first that is known counts."""
        for address, port in endpoints:
            for known in self.known:
                if known.transport == transport and known.address == address and known.low <= port <= known.high:
                    return known
        return None
