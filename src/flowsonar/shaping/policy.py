"""What a label means for the packets: rules from service, product, name, class and network to class and DSCP. Pure.

The first rule that holds decides: those of the file in its order, then the built-in ones, then the service's own class.
A rule holds where all its conditions do and the label is sure enough. A `guess` never moves a packet.
"""

from __future__ import annotations

import fnmatch
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from functools import lru_cache
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address
from typing import Final, NamedTuple

from flowsonar.model import Confidence, Endpoint, FlowKey, TrafficClass, Verdict
from flowsonar.shaping.classes import DEFAULT_CLASSES, DSCP, Classes, by_name
from flowsonar.shaping.nftrules import Treatment

__all__ = ["BUILT_IN", "Decision", "Facts", "Policy", "Rule", "about_endpoint", "about_flow"]

Address = IPv4Address | IPv6Address
Network = IPv4Network | IPv6Network


class Facts(NamedTuple):
    """What is known of a flow, or of an endpoint whose flows are meant."""

    client: Address | None = None
    """Who began; None where any address may stand here."""
    server: Address | None = None
    service: str | None = None
    product: str | None = None
    name: str | None = None
    traffic_class: TrafficClass = TrafficClass.DEFAULT
    confidence: Confidence = Confidence.UNKNOWN
    encrypted: bool = False
    """Nobody knows what it is, but its bytes look enciphered."""
    of_endpoint: bool = False
    """About an endpoint: the other side's address and the flow's name are not known yet."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Rule:
    """Conditions, of which those that are empty hold always, and what follows."""

    title: str = ""
    line: int = 0
    """Where it stands in the file; 0 for a built-in one."""
    services: tuple[str, ...] = ()
    products: tuple[str, ...] = ()
    """Shell patterns, in any case of letters."""
    names: tuple[str, ...] = ()
    """Host names, each with all below it, or shell patterns."""
    classes: tuple[TrafficClass, ...] = ()
    """What the label's own class is."""
    networks: tuple[Network, ...] = ()
    """Either side."""
    clients: tuple[Network, ...] = ()
    servers: tuple[Network, ...] = ()
    exempt: tuple[Network, ...] = ()
    """Not where one of these is on either side."""
    confidence: Confidence | None = None
    """The least that it takes; None for the policy's."""
    target: TrafficClass | None = None
    """The class that its flows get; None for their own."""
    dscp: int | None = None
    """Their code point; None for the class's."""
    leave: bool = False
    """Leave its flows as they are."""


@dataclass(frozen=True, slots=True)
class Decision:
    """What happens to a flow, and by which rule."""

    treatment: Treatment | None
    """None: left as it is."""
    rule: str
    leave: bool = False
    """A rule says so: it is not to be treated as unknown either."""


BUILT_IN: Final = (
    Rule(
        title="signalling",
        services=("sip", "h323", "mgcp", "megaco", "sccp"),
        target=TrafficClass.REALTIME,
        dscp=DSCP["CS5"],  # RFC 4594, 4.2: signalling
    ),
    Rule(
        title="routing",
        services=("bgp", "rip", "ldp", "bfd"),
        target=TrafficClass.CONTROL,
        dscp=DSCP["CS6"],  # RFC 4594, 3.2: network control
    ),
    Rule(
        title="video calls",
        services=("zoom", "agora"),
        target=TrafficClass.REALTIME,
        dscp=DSCP["AF41"],  # RFC 4594, 4.3: multimedia conferencing
    ),
    Rule(
        title="games",
        services=(
            *("bzflag", "cube2", "enet", "genshin-impact", "minecraft", "minetest", "nintendo", "quake", "quake3"),
            *("raknet", "source-engine", "steam", "teeworlds", "tencent-games", "unreal-engine", "world-of-warcraft"),
        ),
        classes=(TrafficClass.REALTIME,),
        dscp=DSCP["CS4"],  # RFC 4594, 4.4: real-time interactive
    ),
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Policy:
    """All of it; as it stands, what happens without any file."""

    source: str = ""
    """The file, for people."""
    classes: Classes = DEFAULT_CLASSES
    rules: tuple[Rule, ...] = ()
    built_in: tuple[Rule, ...] = BUILT_IN
    confidence: Confidence = Confidence.LIKELY
    unknown: TrafficClass | None = None
    """What packets get whose flow has no label; None leaves them as they are."""
    encrypted: TrafficClass | None = None
    """What a flow gets that looks enciphered and that nobody could identify; None: no more than any unknown one."""
    exempt: tuple[Network, ...] = ()
    """Hosts and networks whose packets are never touched."""
    windows: bool = True
    """Lower the windows of downloads: see `windows`."""
    brake: bool = True
    """Lower the rate of downloads for a moment where their surplus waits beyond the line: see `brake`."""

    def decide(self, facts: Facts) -> Decision | None:
        """What happens to a flow; None where that hangs on what is not known of an endpoint's flows."""
        if _inside(self.exempt, facts.client) or _inside(self.exempt, facts.server):
            return Decision(None, "except")
        if facts.encrypted and self.encrypted is not None:
            return Decision(self.treatment(self.encrypted), "encrypted")
        if facts.service is None or facts.confidence.rank < Confidence.LIKELY.rank:
            return Decision(None, "no label that is sure enough")
        perhaps = list[Decision]()
        for rule in (*self.rules, *self.built_in):
            held = self._holds(rule, facts)
            if held is False:
                continue
            decision = Decision(self._treatment(rule, facts), self.name_of(rule), rule.leave)
            if held is None:
                perhaps.append(decision)
                continue
            return decision if all(one.treatment == decision.treatment for one in perhaps) else None
        if facts.confidence.rank < self.confidence.rank:
            decision = Decision(None, f"{facts.confidence} is not sure enough: confidence = {self.confidence}")
        else:
            decision = Decision(self.treatment(facts.traffic_class), f"class {facts.traffic_class}")
        return decision if all(one.treatment == decision.treatment for one in perhaps) else None

    def reasons(self, facts: Facts) -> Iterator[str]:
        """Rule by rule why it does not hold, up to the one that does."""
        for rule in (*self.rules, *self.built_in):
            why = self.obstacle(rule, facts)
            yield f"{self.name_of(rule)}: {'holds' if why is None else why}"
            if why is None:
                return

    def obstacle(self, rule: Rule, facts: Facts) -> str | None:
        """Why a rule does not hold, for people; None where it does."""
        for held, why in self._conditions(rule, facts):
            if held is not True:
                return why
        return None

    def treatment(self, name: TrafficClass) -> Treatment:
        """A class as it is served."""
        shaped = by_name(self.classes, name)
        return Treatment(shaped, shaped.dscp)

    def treatments(self) -> tuple[Treatment, ...]:
        """All that can come out."""
        found = {self.treatment(name): None for name in TrafficClass}
        for rule in (*self.rules, *self.built_in):
            targets = (rule.target,) if rule.target else rule.classes or tuple(TrafficClass)
            for name in targets:
                made = self.treatment(name)
                found[made if rule.dscp is None else _with_dscp(made, rule.dscp)] = None
        return tuple(found)

    def name_of(self, rule: Rule) -> str:
        """A rule for people: its title, and where it stands."""
        if not rule.line:
            return f'built-in rule "{rule.title}"'
        title = f' "{rule.title}"' if rule.title else ""
        return f"rule{title} ({self.source}:{rule.line})"

    def _treatment(self, rule: Rule, facts: Facts) -> Treatment | None:
        if rule.leave:
            return None
        made = self.treatment(rule.target or facts.traffic_class)
        return made if rule.dscp is None else _with_dscp(made, rule.dscp)

    def _holds(self, rule: Rule, facts: Facts) -> bool | None:
        """None: it may or may not, for an endpoint."""
        result: bool | None = True
        for held, _ in self._conditions(rule, facts):
            if held is False:
                return False
            if held is None:
                result = None
        return result

    def _conditions(self, rule: Rule, facts: Facts) -> Iterator[tuple[bool | None, str]]:
        if rule.services:
            yield facts.service in rule.services, f"service {facts.service} is not {_any(rule.services)}"
        if rule.classes:
            yield facts.traffic_class in rule.classes, f"class {facts.traffic_class} is not {_any(rule.classes)}"
        if rule.products:
            known = facts.product is not None
            held: bool | None = known and any(_product(one).match(facts.product or "") for one in rule.products)
            yield held, f"product {facts.product or '(not known)'} is not {_any(rule.products)}"
        if rule.names:
            if facts.name is None:
                held = None if facts.of_endpoint else False
            else:
                held = any(_host(one).match(facts.name) for one in rule.names)
                if facts.of_endpoint and not held:
                    held = None  # another flow to the same endpoint may have another name
            yield held, f"name {facts.name or '(not known)'} is not {_any(rule.names)}"
        for what, networks, sides in (
            ("either side", rule.networks, (facts.client, facts.server)),
            ("the client", rule.clients, (facts.client,)),
            ("the server", rule.servers, (facts.server,)),
        ):
            if networks:
                within = any(_inside(networks, side) for side in sides)
                held = within or (None if None in sides and facts.of_endpoint else False)
                yield held, f"{what} is not in {_any(map(str, networks))}"
        if rule.exempt:
            sides = (facts.client, facts.server)
            excepted = any(_inside(rule.exempt, side) for side in sides)
            held = False if excepted else None if None in sides and facts.of_endpoint else True
            yield held, f"one side is in its exceptions {_any(map(str, rule.exempt))}"
        least = rule.confidence or self.confidence
        yield facts.confidence.rank >= least.rank, f"{facts.confidence} is not sure enough: it takes {least}"


def about_flow(key: FlowKey, verdict: Verdict) -> Facts:
    """Facts of a flow and its label."""
    return Facts(
        client=_address(key.initiator_address),
        server=_address(key.responder_address),
        service=verdict.service,
        product=verdict.product,
        name=verdict.name,
        traffic_class=verdict.traffic_class,
        confidence=verdict.confidence,
        encrypted=verdict.encrypted,
    )


def about_endpoint(endpoint: Endpoint, verdict: Verdict, *, as_client: bool = False) -> Facts:
    """Facts of all flows to an endpoint, or of those that begin there."""
    address = _address(endpoint.address)
    return Facts(
        client=address if as_client else None,
        server=None if as_client else address,
        service=verdict.service,
        product=verdict.product,
        name=verdict.name,
        traffic_class=verdict.traffic_class,
        confidence=verdict.confidence,
        of_endpoint=True,
    )


def _with_dscp(treatment: Treatment, dscp: int) -> Treatment:
    """The same class with another code point."""
    return replace(treatment, dscp=dscp)


@lru_cache(maxsize=4096)
def _address(text: str) -> Address | None:
    try:
        return ip_address(text.partition("%")[0])
    except ValueError:
        return None


def _inside(networks: Iterable[Network], address: Address | None) -> bool:
    return address is not None and any(address in network for network in networks)


@lru_cache(maxsize=1024)
def _product(pattern: str) -> re.Pattern[str]:
    return re.compile(fnmatch.translate(pattern), re.IGNORECASE)


@lru_cache(maxsize=1024)
def _host(pattern: str) -> re.Pattern[str]:
    if any(sign in pattern for sign in "*?["):
        return re.compile(fnmatch.translate(pattern), re.IGNORECASE)
    return re.compile(rf"(?:[^\n]*\.)?{re.escape(pattern)}\.?\Z", re.IGNORECASE)


def _any(values: Iterable[object]) -> str:
    return " or ".join(map(str, values))
