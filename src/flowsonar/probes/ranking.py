"""Which questions are left for an endpoint, best first: what something points to, then the general order."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from flowsonar.model import Confidence, Layer, Question, Transport
from flowsonar.probes.moves import Seen
from flowsonar.probes.order import Catalogue, Order, Setting
from flowsonar.signatures.language import ProbeSpec, Speaker
from flowsonar.signatures.randomness import looks_random

__all__ = ["Ranking"]


class Ranking:
    """Looks things up in the catalogue and the order. Holds nothing of any endpoint."""

    def __init__(self, catalogue: Catalogue) -> None:
        self._catalogue = catalogue
        self._order = Order(catalogue)

    def ranked(
        self, question: Question, seen: Seen, over: Layer | None, prior: Sequence[str]
    ) -> Iterator[tuple[ProbeSpec, bool]]:
        """Probes not tried yet, best first; the flag says whether something points to the service."""
        tried = [probe.id for probe, layer in seen.tried if layer is over]
        setting = self._setting(question, seen, over)
        for service in self.pointed(question, seen, over):
            for probe in self._order.of(service, setting, strong=True):
                if probe.id not in tried:
                    yield probe, True
        expected = self._expected(seen, setting)
        if expected is not None and expected.id not in tried:
            yield expected, True
        for probe in self._order.general(setting, tried, prior):
            if probe.id not in tried:
                yield probe, False

    def _expected(self, seen: Seen, setting: Setting) -> ProbeSpec | None:
        """The question for what the port had elsewhere: one, for if it is not that nothing speaks for its others."""
        service = seen.expected
        if (
            service is None
            or service not in self._catalogue.services
            or seen.candidates
            or seen.best is not Confidence.UNKNOWN
        ):
            return None
        return next(iter(self._order.of(service, setting, strong=True)), None)

    def own(self, service: str, question: Question, seen: Seen, over: Layer | None) -> tuple[ProbeSpec, ...]:
        """The probes of a service that something points to."""
        return self._order.of(service, self._setting(question, seen, over), strong=True)

    def pointed(self, question: Question, seen: Seen, over: Layer | None) -> Sequence[str]:
        """Services that something points to: replies, the negotiated ALPN, the flow's bytes, the port."""
        names: list[str] = list(seen.candidates)
        if over is Layer.TLS and seen.alpn:
            names += self._catalogue.by_alpn(seen.alpn)
        if question.hints.candidates:
            names += [name for name in question.hints.candidates if name != "tls"]
        endpoint = question.endpoint
        if over is Layer.TLS:
            names += self._tls_services(endpoint.port)
        else:
            names += self.plain_services(endpoint.transport, endpoint.port)
        if len(names) <= 1:
            return [name for name in names if name in self._catalogue.services]
        return list(dict.fromkeys(name for name in names if name in self._catalogue.services))

    def may_greet(self, question: Question, seen: Seen, over: Layer | None) -> bool:
        """Whether what was met is what a service does that greets only who says nothing."""
        return self._order.may_greet(self._setting(question, seen, over).met)

    def speakers(self, question: Question, seen: Seen, over: Layer | None) -> Iterator[Speaker]:
        """Who speaks first in the services that something points to."""
        for service in self.pointed(question, seen, over):
            yield self._catalogue.services[service].speaks_first

    def plain_services(self, transport: Transport, port: int) -> Sequence[str]:
        """Services whose plain default port this is."""
        named = self._catalogue.by_port(transport, port)
        if not named:
            return ()
        known = self._catalogue.services
        return [
            name
            for name in named
            if name != "tls" and any(port in ports for kind, ports in known[name].ports if kind is transport)
        ]

    def _tls_services(self, port: int) -> Sequence[str]:
        """Services that speak TLS on this port from the first byte."""
        known = self._catalogue.services
        named = self._catalogue.by_port(Transport.TCP, port)
        return [name for name in named if port in known[name].tls_ports] if named else ()

    def _setting(self, question: Question, seen: Seen, over: Layer | None) -> Setting:
        endpoint, hints = question.endpoint, question.hints
        shown: bytes = b""
        if endpoint.transport is Transport.UDP:
            shown = hints.initiator_bytes or hints.responder_bytes
        return Setting(
            endpoint.transport,
            over,
            over is not None and seen.alpn == "h2",
            6 if ":" in endpoint.address else 4,
            seen.amplifying,
            seen.text_ignored,
            seen.text_ended,
            looks_random(shown) if shown else None,
            tuple(
                (probe, reaction)
                for (probe, layer), reaction in seen.met.items()
                if layer is over and probe in self._order.telling
            ),
        )
