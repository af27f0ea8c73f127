"""The situations: who talks to whom by which way, what flowsonar sees of it and whom it may ask."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from lab.topology import (
    ASYM,
    CLIENT,
    CLIENT_NET4,
    CLIENT_NET6,
    FORWARDED_NET,
    INNER,
    SERVER_NET4,
    SERVER_NET6,
    WAYS,
    Way,
)
from lab.truth import Kind, Truth

__all__ = ["SITUATIONS", "Scope", "Seen", "Situation", "required"]


class Scope(StrEnum):
    """Whom flowsonar may ask."""

    BOTH = "both sides"
    SERVER = "server only"
    CLIENT = "client only"
    NONE = "nobody"


class Seen(StrEnum):
    """Which directions flowsonar sees."""

    BOTH = "both directions"
    TO_SERVER = "to the server only"
    TO_CLIENT = "to the client only"


@dataclass(frozen=True, slots=True, kw_only=True)
class Situation:
    """One run of flowsonar with all services."""

    name: str
    title: str
    client: str = CLIENT
    """Its namespace."""
    way: Way = WAYS["direct"]
    interfaces: tuple[str, ...] = ("gc",)
    families: tuple[int, ...] = (4,)
    scope: Scope = Scope.BOTH
    seen: Seen = Seen.BOTH
    middle: bool = False
    """Flows begin before the watching."""
    quick: bool = False
    """Part of `--quick`."""

    @property
    def scopes(self) -> tuple[str, ...]:
        """The networks for `--scope`."""
        servers = (SERVER_NET4, SERVER_NET6, FORWARDED_NET) if self.scope in {Scope.BOTH, Scope.SERVER} else ()
        clients = (CLIENT_NET4, CLIENT_NET6) if self.scope in {Scope.BOTH, Scope.CLIENT} else ()
        return servers + clients


SITUATIONS = (
    Situation(
        name="first",
        title="from the first packet, two interfaces watched, IPv4 and IPv6",
        interfaces=("gc", "gs-direct"),
        families=(4, 6),
        quick=True,
    ),
    Situation(name="middle", title="picked up in the middle", families=(4, 6), middle=True, quick=True),
    Situation(
        name="to-server",
        title="only packets to the server seen",
        client=ASYM,
        interfaces=("ga-out",),
        seen=Seen.TO_SERVER,
    ),
    Situation(
        name="to-client",
        title="only packets to the client seen",
        client=ASYM,
        interfaces=("ga-in",),
        seen=Seen.TO_CLIENT,
        quick=True,
    ),
    Situation(
        name="to-client-middle",
        title="only packets to the client seen, picked up in the middle",
        client=ASYM,
        interfaces=("ga-in",),
        seen=Seen.TO_CLIENT,
        middle=True,
    ),
    Situation(name="forwarded", title="server behind a forwarded port", way=WAYS["fwd"], quick=True),
    Situation(name="nat", title="client behind NAT", client=INNER, interfaces=("gn",), quick=True),
    Situation(name="scope-server", title="only the server may be asked", scope=Scope.SERVER),
    Situation(name="scope-client", title="only the client may be asked", scope=Scope.CLIENT),
    Situation(name="scope-none", title="nobody may be asked", families=(4, 6), scope=Scope.NONE, quick=True),
    Situation(name="rtt10", title="10 ms round trip", way=WAYS["rtt10"]),
    Situation(name="rtt80", title="80 ms round trip, IPv4 and IPv6", way=WAYS["rtt80"], families=(4, 6), quick=True),
    Situation(name="rtt80-middle", title="80 ms round trip, picked up in the middle", way=WAYS["rtt80"], middle=True),
    Situation(name="loss", title="10 ms round trip, 1 % loss", way=WAYS["loss"], quick=True),
)


def required(truth: Truth, situation: Situation) -> bool:
    """Whether a flow of this truth must be labelled right in this situation."""
    if truth.service is None:
        return False
    if truth.kind is Kind.DATA_PASSIVE:
        return not situation.middle and situation.seen is not Seen.TO_SERVER
    if truth.kind is Kind.DATA_ACTIVE:
        return not situation.middle and situation.seen is not Seen.TO_CLIENT
    if truth.kind is not Kind.SERVICE:
        return False
    if situation.scope is Scope.CLIENT:
        return truth.peer
    return situation.scope is not Scope.NONE
