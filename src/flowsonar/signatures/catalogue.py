"""All signatures that are loaded, and what is looked up in them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import cached_property
from typing import TYPE_CHECKING

from flowsonar.model import Side, TrafficClass, Transport

if TYPE_CHECKING:
    from flowsonar.signatures.language import ProbeSpec, Signature

__all__ = ["SignatureSet"]


class SignatureSet:
    """All signatures that are loaded, by service name."""

    def __init__(self, signatures: Sequence[Signature], digest: str = "") -> None:
        """`digest` names what they were read from; empty where that is not known."""
        self.digest = digest
        self.services: Mapping[str, Signature] = {signature.service: signature for signature in signatures}

    def __len__(self) -> int:
        return len(self.services)

    @cached_property
    def parents(self) -> Mapping[str, str]:
        """The services that are spoken inside another's format, with that other one."""
        return {name: one.parent for name, one in self.services.items() if one.parent is not None}

    @cached_property
    def on_port(self) -> frozenset[str]:
        """Ids of the payload patterns that mean something only on their service's port."""
        return frozenset(one.id for held in self.services.values() for one in held.payloads if one.on_port)

    @cached_property
    def both_transports(self) -> frozenset[str]:
        """Services whose connections tell of the datagrams beside them."""
        return frozenset(service for service, held in self.services.items() if held.both_transports)

    @cached_property
    def greetings(self) -> frozenset[str]:
        """Ids of the payload patterns that prove nothing, whatever the other side says."""
        return frozenset(one.id for held in self.services.values() for one in held.payloads if one.greeting)

    @cached_property
    def one_sided(self) -> Mapping[str, Side]:
        """Which side alone says what a payload pattern looks for, by its id; not for services between equal peers."""
        return {
            one.id: one.side
            for held in self.services.values()
            if not held.peers
            for one in held.payloads
            if one.side is not None
        }

    @cached_property
    def _fixed_bits(self) -> dict[str, float]:
        """Of payload patterns that were asked about."""
        return {}

    def is_slight(self, pattern: str) -> bool:
        """Whether a payload pattern fixes so little that the middle of any connection may meet it now and then."""
        from flowsonar.signatures import strength  # noqa: PLC0415 - what a start must not wait for

        known = self._fixed_bits
        if pattern not in known:
            held = self.services[pattern.partition("/")[0]].payloads
            known[pattern] = max((strength.bits(one.condition) for one in held if one.id == pattern), default=0.0)
        return known[pattern] < strength.SLIGHT

    def ancestors(self, service: str) -> tuple[str, ...]:
        """In whose format it is spoken, the nearest first; nothing for a service with a format of its own."""
        found: list[str] = []
        while (above := self.parents.get(service)) is not None and above not in found:
            found.append(above)
            service = above
        return tuple(found)

    def traffic_class(self, service: str) -> TrafficClass:
        """What a shaper makes of the service; `default` for one nobody knows."""
        signature = self.services.get(service)
        return signature.traffic_class if signature is not None else TrafficClass.DEFAULT

    def by_port(self, transport: Transport, port: int) -> tuple[str, ...]:
        """Services whose default port it is; those that speak TLS there from the first byte come last."""
        return self._ports.get((transport, port), ())

    def by_ip_protocol(self, number: int) -> str | None:
        """The service that an IP protocol number stands for."""
        return self._ip_protocols.get(number)

    def by_alpn(self, name: str) -> tuple[str, ...]:
        """The services that a protocol name in TLS's ALPN stands for."""
        return self._alpn.get(name, ())

    def probes(self, transport: Transport) -> tuple[ProbeSpec, ...]:
        """All probes over a transport, those worth trying most often first."""
        return self._probes.get(transport, ())

    def probe(self, identifier: str) -> ProbeSpec | None:
        """The probe of that id (`service/name`)."""
        return self._by_id.get(identifier)

    @cached_property
    def _ports(self) -> dict[tuple[Transport, int], tuple[str, ...]]:
        found: dict[tuple[Transport, int], tuple[str, ...]] = {}
        for name, signature in self.services.items():
            for transport, ports in signature.ports:
                for port in ports:
                    found[transport, port] = (*found.get((transport, port), ()), name)
        for name, signature in self.services.items():
            for port in signature.tls_ports:
                known = found.get((Transport.TCP, port), ())
                found[Transport.TCP, port] = known if name in known else (*known, name)
        return found

    @cached_property
    def _ip_protocols(self) -> dict[int, str]:
        return {number: name for name, signature in self.services.items() for number in signature.ip_protocols}

    @cached_property
    def _alpn(self) -> dict[str, tuple[str, ...]]:
        found: dict[str, tuple[str, ...]] = {}
        for name, signature in self.services.items():
            for alpn in signature.alpn:
                found[alpn] = (*found.get(alpn, ()), name)
        return found

    @cached_property
    def _by_id(self) -> dict[str, ProbeSpec]:
        return {probe.id: probe for signature in self.services.values() for probe in signature.probes}

    @cached_property
    def _probes(self) -> dict[Transport, tuple[ProbeSpec, ...]]:
        ranked = sorted(self._by_id.values(), key=lambda probe: (probe.rarity, probe.id))
        return {kind: tuple(probe for probe in ranked if probe.transport is kind) for kind in Transport}
