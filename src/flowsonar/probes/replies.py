"""Replies to evidence: every reply is matched against all signatures; what holds becomes evidence and candidates."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Final

from flowsonar import limits
from flowsonar.model import Confidence, Evidence, EvidenceKind, Layer, Transport
from flowsonar.probes.greeting import split_greeting
from flowsonar.probes.order import Catalogue
from flowsonar.probes.special.tls import TlsFacts
from flowsonar.probes.weighing import (
    TARPIT,
    guessed,
    is_drip,
    is_last_word,
    is_strong,
    mirrors,
    shown,
    tells_tls,
    tls_evidence,
    weakened,
)
from flowsonar.protocols.http import body_to_come
from flowsonar.signatures.conditions import is_echo
from flowsonar.signatures.language import Condition, ProbeSpec, Signature, Speaker
from flowsonar.signatures.matcher import Match, Matcher, Reply
from flowsonar.signatures.templates import Message

__all__ = ["Asked", "Judge"]

_SERVICES_PER_REPLY: Final = 4
"""Services that one reply may speak for; more would say nothing."""
_WEB: Final = frozenset({"h2", "http/1.1", "http/1.0"})
_STRANGE_REPLIES: Final = 2
"""Replies nobody knows that are kept as evidence."""
_REPLIES_KEPT: Final = 8


@dataclass(frozen=True, slots=True)
class Asked:
    """One question that was put: what a reply is compared to."""

    probe_id: str
    step: int
    message: Message
    previous: tuple[bytes, ...] = ()
    over: Layer | None = None
    probe: ProbeSpec | None = None
    expect: Condition | None = None
    whole: int = 0
    """Where known: so many bytes are an answer, and what comes behind them may come within the next one."""


class Judge:
    """Keeps what one endpoint's replies came to."""

    def __init__(
        self,
        matcher: Matcher,
        signatures: Catalogue,
        own_addresses: Sequence[bytes],
        note: Callable[[Evidence], None],
    ) -> None:
        self._matcher = matcher
        self._signatures = signatures
        self._own_addresses = own_addresses
        self._note = note
        self._formats = frozenset(signatures.parents.values())  # services in whose format others are spoken
        self._asked: list[Asked] = []
        self._earlier: frozenset[str] = frozenset()
        self._unknown = 0  # datagrams that answer nothing
        self._strange: list[tuple[Asked, Reply]] = []
        self._held: tuple[Asked, Reply] | None = None
        self._tls: TlsFacts | None = None
        self._mirrored: dict[str, bytes] = {}  # probe id: our address as a reply from behind a NAT showed it
        self._again: ProbeSpec | None = None
        self._matched: tuple[Reply, list[Match]] | None = None  # the last reply that was matched
        self.evidence: list[Evidence] = []
        self.replies: list[Reply] = []
        self.candidates: list[str] = []
        self.echoes = False  # it sends our own bytes back
        self.best = Confidence.UNKNOWN
        self.best_service: str | None = None

    # -- questions ----------------------------------------------------------------------------------------------

    def ask(self, asked: Asked) -> None:
        """A question was put; late replies over UDP are compared to all of them."""
        if asked.message.data and (not self._asked or self._asked[-1] is not asked):
            self._asked.append(asked)

    def last_asked(self, over: Layer | None) -> Asked | None:
        """The question that a late reply on the standing connection would answer."""
        return self._asked[-1] if self._asked and self._asked[-1].over is over else None

    def wanted_again(self) -> ProbeSpec | None:
        """A probe to be put once more, for its answer only counts when it comes twice."""
        again, self._again = self._again, None
        return again

    # -- replies ------------------------------------------------------------------------------------------------

    def as_reply(self, asked: Asked, data: bytes, transport: Transport, *, closed: bool) -> Reply:
        """What the matcher is given."""
        return Reply(
            probe=asked.probe_id,
            step=asked.step,
            data=data,
            transport=transport,
            closed=closed,
            sent=asked.message.sent,
            message=asked.message.data,
            previous=asked.previous,
            earlier=self._earlier,
            over=asked.over,
        )

    def _match(self, reply: Reply) -> list[Match]:
        """What the signatures say of a reply; it is asked of the same one several times, and worked out once."""
        known = self._matched
        if known is not None:
            last = known[0]
            if (
                last.data == reply.data
                and last.closed is reply.closed
                and last.probe == reply.probe
                and last.step == reply.step
                and last.message is reply.message
                and last.sent is reply.sent
                and last.previous == reply.previous
                and last.over is reply.over
                and last.earlier == reply.earlier
            ):
                return list(known[1])
        matches = self._matcher.reply(reply)
        self._matched = (reply, matches)
        return list(matches)

    def hangs_on_the_end(self, asked: Asked, data: bytes) -> bool:
        """Whether the step's expectation holds if, and only if, the endpoint now ends the connection."""
        if asked.expect is None or asked.expect.closed is None:
            return False
        ended = self.as_reply(asked, data, Transport.TCP, closed=True)
        return asked.expect.closed is False or self._matcher.holds(asked.expect, ended) is not None

    def enough(self, asked: Asked, data: bytes, *, first: bool = False) -> bool:
        """Whether what came so far on a connection already is the last word. `first`: see `settle`."""
        if data == asked.message.data:
            return True  # an echo: there will be no more
        if asked.whole:
            return len(data) >= asked.whole
        reply = self.as_reply(asked, data, Transport.TCP, closed=False)
        matches = self._match(reply)
        if any(is_last_word(match, asked.over) for match in matches[:1]):
            if matches[0].service in self._formats and body_to_come(data):
                return False  # what tells Docker from any other HTTP often stands in the body
            return not tells_tls(reply, matches[:1])
        parts = self._greeting(reply, matches) if first else ()
        return any(is_last_word(match, asked.over) for _, said in parts for match in said[:1])

    def tells_tls(self, reply: Reply) -> bool:
        """Whether a plain reply says that the port speaks TLS."""
        return tells_tls(reply, self._match(reply)[:1])

    def hold(self, asked: Asked, reply: Reply) -> None:
        """Keep a reply that points to TLS until TLS was tried."""
        self._held = (asked, reply)
        for match in self._match(reply):
            if match.over is Layer.TLS:
                self._candidate(match.service)

    def announced(self) -> Signature | None:
        """The best service, where a plain reply of this endpoint says that TLS may be begun in the middle."""
        signature = self._signatures.services.get(self.best_service or "")
        if signature is None or signature.announced is None or self._tls is not None:
            return None
        offer = Condition(pattern=signature.announced)
        said = (reply for reply in self.replies if reply.over is None)
        return signature if any(self._matcher.holds(offer, reply) is not None for reply in said) else None

    def unhold(self) -> None:
        """TLS was tried in vain: the reply stands for itself."""
        if self._held is not None:
            (asked, reply), self._held = self._held, None
            self.settle(asked, reply)

    def reply(self, asked: Asked, data: bytes, transport: Transport, *, closed: bool) -> bool:
        """Judge the first bytes of a connection as a whole reply; False when no signature knows it."""
        return self.settle(asked, self.as_reply(asked, data, transport, closed=closed), first=True)

    def settle(self, asked: Asked, reply: Reply, *, first: bool = False) -> bool:
        """Make evidence of a reply; False when no signature knows it.

        `first`: nothing came before it on a connection where we spoke first. It may then be, or begin with, the
        greeting of a server that was about to speak.
        """
        if len(self.replies) < _REPLIES_KEPT:
            self.replies.append(reply)
        matches = self._match(reply)
        parts = self._greeting(reply, matches) if first else ()
        for part, said in parts:
            if said:
                self._accept(said, part, remember=len(parts) > 1)
        if parts:
            return True
        if matches:
            self._accept(matches, reply)
            return True
        if is_echo(reply.data, reply.message):
            self._echoes()
        self._keep_strange(asked, reply)
        return False

    def _keep_strange(self, asked: Asked, reply: Reply) -> None:
        """Keep a reply that nobody knows; rather those to two questions than two to the same."""
        kept = self._strange
        if len(kept) == _STRANGE_REPLIES and kept[-1][1].message == kept[0][1].message != reply.message:
            kept.pop()
        if len(kept) < _STRANGE_REPLIES:
            kept.append((asked, reply))

    def datagram(self, data: bytes) -> bool:
        """Judge a datagram: it may answer any of the questions put so far."""
        begun_with = [asked for asked in self._asked if is_echo(data, asked.message.data)]
        answered = begun_with or self._asked  # what begins with a question of ours answers no other
        if self._unknown >= limits.UNKNOWN_DATAGRAMS:
            answered = answered[-1:]
        for asked in reversed(answered):
            reply = self.as_reply(asked, data, Transport.UDP, closed=False)
            matches = self._match(reply)
            if not is_strong(matches):
                for address in self._own_addresses:
                    seen_as = replace(reply, sent={**reply.sent, "prober.address": address})
                    if is_strong(better := self._match(seen_as)):
                        self._accept(better, seen_as)
                        return True
                if self._from_behind_nat(asked, reply):
                    return True
            if matches:
                self._accept(matches, reply)
                self._late(matches[0].service)
                return True
        self._unknown += 1
        if self._asked and len(self._strange) < _STRANGE_REPLIES:
            asked = self._asked[-1]
            if is_echo(data, asked.message.data) and len(data) <= len(asked.message.data):
                self._echoes()  # what is ours and more is no echo server's: Cube 2 puts its answer behind any datagram
            self._strange.append((asked, self.as_reply(asked, data, Transport.UDP, closed=False)))
        return False

    def _late(self, service: str) -> None:
        """Let a dialogue be held again whose first answer came when others were asked already."""
        if self._asked[-1].probe is not None and self._asked[-1].probe.service == service:
            return
        cut = (one.probe for one in self._asked if one.probe is not None and len(one.probe.steps) > one.step + 1)
        self._again = next((probe for probe in cut if probe.service == service), None)

    def _from_behind_nat(self, asked: Asked, reply: Reply) -> bool:
        """A reply that mirrors an address which is not ours: it counts, as likely, when it comes twice.

        Between us and the target may be a NAT that nobody told us of; two questions with fresh fields then bring the
        same address back, which chance or an impostor does not.
        """
        if asked.probe is None:
            return False
        for at, size in mirrors(self._signatures.services.get(asked.probe.service)):
            address = reply.data[at : at + size]
            if len(address) != size or address == reply.sent.get("prober.address"):
                continue
            as_if = replace(reply, sent={**reply.sent, "prober.address": address})
            matches = self._match(as_if)
            if not is_strong(matches) or matches[0].service != asked.probe.service:
                continue
            if self._mirrored.get(asked.probe_id) == address:
                told = f"it sees us as {'.'.join(map(str, address))}"
                self._accept([weakened(match, told) for match in matches[:1]], as_if)
            else:
                self._mirrored[asked.probe_id] = address
                self._again = asked.probe
            return True
        return False

    def went_through(
        self,
        probe: ProbeSpec,
        groups: Mapping[str, str],
        data: bytes,
        over: Layer | None,
        reached: Confidence | None = None,
    ) -> None:
        """A dialogue went through all its steps, and that proves something by itself; `reached`: through some."""
        confidence = reached or probe.confidence
        assert confidence is not None
        detail = probe.detail or f"the dialogue {probe.id} went through"
        product = self._matcher.product(probe.product, groups)
        self.proved(probe.service, confidence, probe.id, detail, over=over, data=data, product=product)

    def proved(
        self,
        service: str,
        confidence: Confidence,
        probe: str,
        detail: str,
        *,
        over: Layer | None = None,
        data: bytes = b"",
        product: tuple[str | None, str | None, str | None] = (None, None, None),
    ) -> None:
        """A dialogue, or a probe that does its own arithmetic, has shown something. `product`: with version and CPE."""
        self._strange.clear()
        self._keep(
            Evidence(
                kind=EvidenceKind.REPLY, service=service, confidence=confidence, over=over, product=product[0],
                version=product[1], cpe=product[2], probe=probe, signature=probe, detail=detail,
                data=data[: limits.EVIDENCE_BYTES], specificity=10 * confidence.rank,
            )
        )  # fmt: skip
        self._raise(service, confidence)

    def by_alpn(self, name: str) -> tuple[str, ...]:
        """The services that an ALPN name stands for."""
        return tuple(self._signatures.by_alpn(name))

    def has_other_proof(self, probe: ProbeSpec) -> bool:
        """Whether another dialogue of the same service has come to something: two that agree are sure."""
        return any(
            piece.service == probe.service and piece.probe == piece.signature != probe.id
            for piece in self.evidence
            if piece.confidence.rank >= Confidence.LIKELY.rank
        )

    def take_back(self, probe: ProbeSpec) -> None:
        """What a dialogue had proved half-way does not hold: it did not go on as it should."""
        self.evidence = [piece for piece in self.evidence if (piece.probe, piece.signature) != (probe.id, probe.id)]
        left = max(self.evidence, key=lambda piece: piece.confidence.rank, default=None)
        self.best = Confidence.UNKNOWN if left is None else left.confidence
        self.best_service = None if left is None else left.service

    # -- TLS ----------------------------------------------------------------------------------------------------

    def tls_facts(self, facts: TlsFacts, *, upgraded: bool = False, offered: Sequence[str] = ()) -> None:
        """A handshake went through; what runs inside is still to be seen. `upgraded`: it began in clear."""
        self._held = None
        if self.best_service == "tls":  # an alert to another hello had said so much: now there is an inside
            self.best, self.best_service = Confidence.UNKNOWN, None
        if self._tls is None:
            self._tls = facts
            detail = f"STARTTLS: {facts.line()}" if upgraded else facts.line()
            self._keep(tls_evidence(detail, b"", service=None))
            self._picked(facts.alpn, offered)

    def _picked(self, alpn: str | None, offered: Sequence[str]) -> None:
        """A server that picks one service's own name out of several, and not just the first, is likely that service.

        Syncthing hangs up inside for want of a client's certificate: nothing more can be had. Names of the web say
        less, for many other things are spoken over HTTP.
        """
        if alpn is None or alpn in _WEB or alpn not in offered[1:]:
            return
        services = self._signatures.by_alpn(alpn)
        if len(services) == 1:
            self._keep(
                Evidence(
                    kind=EvidenceKind.REPLY, service=services[0], confidence=Confidence.LIKELY, over=Layer.TLS,
                    probe="tls", signature="tls/handshake", detail=f"picks ALPN {alpn} out of {len(offered)} names",
                )
            )  # fmt: skip
            self._candidate(services[0])
            self._raise(services[0], Confidence.LIKELY)

    def tls_closed(self, problem: str, raw: bytes) -> None:
        """It speaks TLS, but not to the end with us: nobody can look inside."""
        self._held = None
        if self._tls is None and self.best is Confidence.UNKNOWN:
            detail = f"the handshake did not come through: {problem}" if problem else "it answered with a TLS alert"
            self._keep(tls_evidence(detail, raw, service="tls"))
            self._raise("tls", Confidence.CONFIRMED)

    def conclude(self, *, tls: bool) -> None:
        """Nothing more will come: a TLS service nobody could look into is `tls`; strange replies become evidence."""
        self.unhold()
        if tls and self._tls is not None and self.best.rank < Confidence.LIKELY.rank:
            self._keep(tls_evidence(self._tls.line(), b"", service="tls"))
            self.best, self.best_service = Confidence.CONFIRMED, "tls"
        if self.best.rank >= Confidence.LIKELY.rank and self.best_service != "tls":
            return
        drips = [reply for _, reply in self._strange if is_drip(reply)]
        if len(drips) >= _STRANGE_REPLIES and drips[0].message != drips[-1].message:
            self._keep(TARPIT)
        for asked, reply in self._strange:
            self._keep(
                Evidence(
                    kind=EvidenceKind.REPLY, service=None, confidence=Confidence.UNKNOWN, over=reply.over,
                    probe=asked.probe_id, detail=shown(reply), data=reply.data[: limits.EVIDENCE_BYTES],
                )
            )  # fmt: skip
        self._strange.clear()

    # -- inside -------------------------------------------------------------------------------------------------

    def _greeting(self, reply: Reply, matches: Sequence[Match]) -> tuple[tuple[Reply, Sequence[Match]], ...]:
        """The greeting that a reply begins with, and the answer after it; nothing where it is an answer only.

        `matches`: what it says as an answer. A greeting alone may as well be an answer: what many services have in
        common is a guess then.
        """
        if reply.probe == "listen" or is_echo(reply.data, reply.message):
            return ()
        if any(is_last_word(match, reply.over) for match in matches[:1]):
            return ()
        data, rest = split_greeting(reply.data)
        if rest and rest.startswith(data):
            return ()  # a greeting is said once
        for head, tail in ((data, rest), (reply.data, b"")):
            greeting = replace(reply, probe="listen", step=0, data=head, message=b"", closed=reply.closed and not tail)
            said = [match for match in self._match(greeting) if self._greets(match.service)]
            if not said or (said[0].soft and matches and not matches[0].soft):
                continue
            if not tail:
                return ((greeting, [guessed(match) if match.soft else match for match in said]),)
            earlier = reply.earlier | {match.pattern for match in said}
            answer = replace(reply, data=tail, earlier=earlier)
            return (greeting, said), (answer, self._match(answer))
        return ()

    def _greets(self, service: str) -> bool:
        signature = self._signatures.services.get(service)
        return signature is not None and signature.speaks_first is Speaker.SERVER

    def _accept(self, matches: Sequence[Match], reply: Reply, *, remember: bool = True) -> None:
        if any(before.data == reply.data and before.message != reply.message for _, before in self._strange):
            matches = [weakened(match, "it says the same to other questions") for match in matches]
        top = matches[0]
        services: set[str] = set()
        for match in matches:
            if remember or not match.soft:
                self._earlier |= {match.pattern}
            if match.service in services or len(services) >= _SERVICES_PER_REPLY:
                continue
            if match.soft and not top.soft and match.service != top.service:
                continue
            services.add(match.service)
            inside = match.service in self._signatures.parents
            if match is not top and match.confidence.rank < top.confidence.rank and not inside:
                self._candidate(match.service)
                continue
            self._keep(
                Evidence(
                    kind=EvidenceKind.REPLY, service=match.service, confidence=match.confidence,
                    over=match.over or reply.over, product=match.product, version=match.version, cpe=match.cpe,
                    probe=reply.probe, signature=match.pattern, detail=match.detail or shown(reply),
                    data=reply.data[: limits.EVIDENCE_BYTES], specificity=match.specificity,
                )
            )  # fmt: skip
            self._candidate(match.service)
            if not match.soft:
                self._raise(match.service, match.confidence)
        order = {match.service: place for place, match in reversed(list(enumerate(matches)))}
        self.candidates.sort(key=lambda service: order.get(service, len(order)))

    def _keep(self, evidence: Evidence) -> None:
        if len(self.evidence) < limits.EVIDENCE_ITEMS and evidence not in self.evidence:
            self.evidence.append(evidence)
            self._note(evidence)

    def _echoes(self) -> None:
        self.echoes = True
        self._candidate("echo")

    def _candidate(self, service: str) -> None:
        if service not in self.candidates:
            self.candidates.append(service)

    def is_format_of(self, service: str) -> bool:
        """Whether the best so far is the service in whose format `service` is spoken."""
        return self.best_service in self._formats and self.best_service in self._signatures.ancestors(service)

    def _raise(self, service: str, confidence: Confidence) -> None:
        inside = confidence is self.best and self.is_format_of(service)
        if confidence.rank > self.best.rank or inside:
            self.best, self.best_service = confidence, service
