"""One conversation with one endpoint: the planner says the move, the exchange makes it, the judge weighs the reply.

Without sockets: `Session.talk()` yields commands and is sent events (see `dialogue`), and comes to an `Answer`.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Final

from flowsonar.config import Settings
from flowsonar.model import Answer, Confidence, Evidence, Layer, Outcome, Question, Transport
from flowsonar.probes.dialogue import Close, Line, Talk
from flowsonar.probes.exchange import Exchange, packed
from flowsonar.probes.planner import Ask, Catalogue, Heard, Listen, Planner, Secure, Seen, Stop, TlsState
from flowsonar.probes.replies import Asked, Judge
from flowsonar.probes.special.computed import computed
from flowsonar.probes.special.tls import NO_APPLICATION_PROTOCOL, UNRECOGNIZED_NAME, looks_like_tls
from flowsonar.signatures.language import Connection, ProbeSpec, Step
from flowsonar.signatures.matcher import Matcher, Reply
from flowsonar.signatures.templates import Message, render

__all__ = ["Session", "planner_for"]

END_S: Final = 0.05
"""Kept of the time allowed, for timers that fire late: the answer is there when the time is over."""
_ALPN: Final = ("h2", "http/1.1")
"""Offered to servers that ask for a name (RFC 7301): HTTP/2 and HTTP/1.1."""
_NOT_OFFERED: Final = frozenset({"h2", "h3", "doq"})
"""Of all ALPN names: what travels over QUIC (RFC 9114, RFC 9250), and HTTP/2, which names its server later."""
UPGRADE_S: Final = 1.0
"""Longest wait for each answer on the way to STARTTLS."""
_HELLOS: Final = 3
"""ClientHellos put one after the other: without what the server did not like."""
_SAME_REQUEST: Final = 12
"""Constant bytes at a message's start that make two questions the same for whoever answers: `GET / HTTP/1`."""


def planner_for(signatures: Catalogue, settings: Settings) -> Planner:
    """The planner of all sessions with these settings: making it takes a while."""
    budget = settings.budget
    timeout_s = budget.timeout_s - min(END_S, budget.timeout_s / 10)
    return Planner(signatures, max_probes=budget.max_probes, timeout_s=timeout_s)


class Session:
    """Asks one endpoint. `talk` is run once."""

    def __init__(
        self,
        question: Question,
        *,
        signatures: Catalogue,
        matcher: Matcher,
        settings: Settings,
        now_s: float,
        planner: Planner | None = None,
        prior: Sequence[str] = (),
        amplifying: bool = True,
        note: Callable[[Evidence], None] = lambda _evidence: None,
        pick: random.Random | None = None,
        purpose: str | None = None,
    ) -> None:
        budget = settings.budget
        addresses = settings.scope.own_addresses
        own = tuple(packed(address) for address in addresses) if addresses else ()
        rtt_ms = question.hints.rtt_ms
        self.seen = Seen(rtt_s=None if rtt_ms is None else rtt_ms / 1000, amplifying=amplifying)
        self._question = question
        self._signatures = signatures
        self._matcher = matcher
        self._max_probes = budget.max_probes
        self._planner = planner or planner_for(signatures, settings)
        self._prior = prior
        self._pick = pick or random.Random()
        self._judge = Judge(matcher, signatures, own, note)
        self._exchange = Exchange(
            question, self._judge, self.seen, timeout_s=self._planner.timeout_s, now_s=now_s, purpose=purpose
        )

    @property
    def evidence(self) -> tuple[Evidence, ...]:
        """What was found so far."""
        return tuple(self._judge.evidence)

    def talk(self) -> Talk[Answer]:
        """The whole conversation."""
        exchange = self._exchange
        while exchange.failed is None:
            self._update()
            move = self._planner.next(self._question, self.seen, self._prior)
            match move:
                case Stop():
                    break
                case Listen():
                    yield from self._listen(move)
                case Secure():
                    yield from self._secure()
                case Ask():
                    yield from self._ask(move)
        yield from self._upgrade()
        if exchange.line is not None:
            closed = yield Close()
            exchange.now_s = closed.at_s
        return self.answer()

    def answer(self, outcome: Outcome | None = None, detail: str = "", now_s: float | None = None) -> Answer:
        """What the conversation came to; `outcome` where it was cut short from outside."""
        exchange = self._exchange
        if outcome is None:
            self._judge.conclude(tls=self.seen.tls is TlsState.OPEN)
            outcome, detail = self._outcome()
        rtt_s = self.seen.rtt_s
        return Answer(
            endpoint=self._question.endpoint,
            outcome=outcome,
            evidence=self.evidence,
            connections=exchange.connections,
            datagrams=exchange.datagrams,
            bytes_sent=exchange.bytes_sent,
            rtt_ms=None if rtt_s is None else rtt_s * 1000,
            took_ms=((exchange.now_s if now_s is None else now_s) - exchange.started_s) * 1000,
            detail=detail,
        )

    def _outcome(self) -> tuple[Outcome, str]:
        seen, exchange = self.seen, self._exchange
        if exchange.garbled and self._judge.best is Confidence.UNKNOWN:
            return Outcome.GARBLED, exchange.garbled
        if seen.heard:
            return Outcome.ANSWERED, ""
        if exchange.failed is not None and (seen.spent <= 1 or exchange.udp or not seen.tried):
            return exchange.failed.outcome, exchange.failed.detail
        if not seen.tried and not seen.spent:
            return Outcome.SILENT, "no signature has a question for it"
        return (Outcome.CLOSED if seen.last is Heard.CLOSED and not seen.silences else Outcome.SILENT), ""

    def _update(self) -> None:
        seen, line = self.seen, self._exchange.line
        seen.elapsed_s = self._exchange.now_s - self._exchange.started_s
        seen.open = line is not None and line.end is None
        seen.said = line is not None and line.said
        seen.over = line.over if line is not None else None
        seen.best, seen.best_service = self._judge.best, self._judge.best_service
        seen.candidates = self._judge.candidates
        seen.echoes = self._judge.echoes

    # -- moves --------------------------------------------------------------------------------------------------

    def _listen(self, move: Listen) -> Talk[None]:
        exchange, seen = self._exchange, self.seen
        line = exchange.standing(move.over)
        if line is None:
            line = yield from exchange.open(move.over, "listen")
            seconds = self._planner.listen_s(self._question, seen, move.over) if line is not None else 0.0
            if line is None or seconds <= 0.0:
                return  # the planner says what then
            move = Listen(seconds, move.over)
        if seen.tried and seen.elapsed_s + move.seconds >= self._planner.timeout_s:
            seen.patient = True
        asked = self._judge.last_asked(move.over) if line.said else None
        asked = asked or Asked("listen", 0, Message(b"", exchange.facts(line).sent()), over=line.over)
        began_s = line.now_s
        yield from exchange.hear(line, asked, move.seconds)
        seen.listened_s.setdefault(move.over, exchange.now_s - began_s)

    def _secure(self) -> Talk[None]:
        """Open TLS; once more without what the server says it does not like."""
        hints, exchange, seen = self._question.hints, self._exchange, self.seen
        name, alpn = hints.server_name, _offered(hints.alpn)
        if not alpn and not looks_like_tls(hints.initiator_bytes):
            alpn = self._names()  # no ClientHello was seen: what the server picks tells what it is
        if seen.tls is TlsState.OPEN:  # it hung up inside: perhaps for want of ALPN
            alpn = _ALPN
            seen.tried = [(probe, over) for probe, over in seen.tried if over is None]
        for _ in range(_HELLOS):
            line = yield from exchange.open(None, "tls")
            if line is None:
                return
            seen.alpn_offered = seen.alpn_offered or "h2" in alpn
            client = yield from exchange.secure(line, name, alpn)
            if client.alert == NO_APPLICATION_PROTOCOL:
                alpn = () if set(_ALPN) <= set(alpn) else _ALPN
            elif client.alert == UNRECOGNIZED_NAME and name:
                name = None
            else:
                return
            if client.done or seen.spent >= self._max_probes:
                return

    def _names(self) -> tuple[str, ...]:
        """ALPN names of all services that speak inside TLS."""
        services = self._signatures.services.values()
        return tuple(
            dict.fromkeys(
                name
                for service in services
                if Layer.TLS in service.inside
                for name in service.alpn
                if name not in _NOT_OFFERED
            )
        )

    def _ask(self, move: Ask) -> Talk[None]:
        """Put a probe: go through its steps as far as their expectations hold."""
        seen, probe = self.seen, move.probe
        if not seen.spent and not self._exchange.udp:
            yield from self._exchange.open(move.over, probe.id)
            return  # the round trip is known now: the planner says how long to wait
        if seen.again is None and (probe, move.over) in seen.tried:
            seen.patient = True
        seen.again = None
        seen.tried.append((probe, move.over))
        dialogue = _Dialogue(probe, self._signatures, self._pick)
        if self._refuted(dialogue):
            return
        yield from self._go_through(move, dialogue)

    def _go_through(self, move: Ask, dialogue: _Dialogue, *, whole: bool = False) -> Talk[None]:
        """Make the steps; `whole`: to the end, though the service is known."""
        probe = move.probe
        while (step := dialogue.step) is not None:
            line = yield from self._line_for(move, dialogue, step)
            if line is None:
                return
            asked = self._message(dialogue, step, line)
            if asked.message.data:
                yield from self._exchange.say(line, asked.message.data, probe)
            if step.expect is None and dialogue.is_last_before_tls:
                dialogue.skip(Reply(probe=probe.id, step=0, data=b"", transport=Transport.TCP, sent={}, message=b""))
                yield from self._exchange.secure(line, self._question.hints.server_name, ())
                return
            seconds = move.seconds if step.within_ms is None else min(step.within_ms / 1000, self._exchange.left_s)
            began_s, seconds = line.now_s, dialogue.patience_s(step, seconds)
            reply = yield from self._exchange.hear(line, asked, seconds)
            dialogue.slowest_s = max(dialogue.slowest_s, line.now_s - began_s if reply.closed else 0.0)
            held = {} if step.expect is None else self._matcher.holds(step.expect, reply)
            if held is None or self._exchange.failed is not None:
                return
            dialogue.heard(reply, held)
            if dialogue.turns_to_tls:
                client = yield from self._exchange.secure(line, self._question.hints.server_name, ())
                if not client.done:
                    return
            if self._judge.best is Confidence.CONFIRMED and not whole and not self._judge.is_format_of(probe.service):
                yield from self._tidy(dialogue, line)
                return
        if probe.confidence is not None and any(step.expect for step in probe.steps):
            self._judge.went_through(probe, dialogue.groups, dialogue.previous[-1], move.over)

    def _upgrade(self) -> Talk[None]:
        """Begin TLS where the service that was found says that one may: the certificate names the server."""
        signature = self._judge.announced()
        if signature is None or not signature.starttls or self._exchange.failed is not None:
            return
        probe = ProbeSpec(
            service=signature.service, name="starttls", transport=Transport.TCP, steps=(), starttls=True, rarity=9
        )
        if self._exchange.standing(None) is not None:  # go on where the conversation is
            dialogue = _Dialogue(probe, self._signatures, self._pick)
            for step in signature.starttls[:-1]:
                before = next((reply for reply in self._judge.replies if self._holds(step, reply)), None)
                if before is None:
                    break
                dialogue.skip(before)
            dialogue.first = False
            yield from self._go_through(Ask(probe, UPGRADE_S), dialogue, whole=True)
        if self.seen.tls is not TlsState.OPEN and self.seen.spent < self._max_probes:
            dialogue = _Dialogue(probe, self._signatures, self._pick)
            yield from self._go_through(Ask(probe, UPGRADE_S, fresh=True), dialogue, whole=True)

    def _tidy(self, dialogue: _Dialogue, line: Line) -> Talk[None]:
        """Say what is left where no answer to it is expected: it tidies up on the other side (L2TP's StopCCN)."""
        left = dialogue.steps[dialogue.number :]
        if dialogue.probe.starttls or any(step.expect or step.connection is Connection.NEW for step in left):
            return
        while (step := dialogue.step) is not None and line.end is None:
            asked = self._message(dialogue, step, line)
            if asked.message.data:
                yield from self._exchange.say(line, asked.message.data, dialogue.probe)
            dialogue.number += 1

    def _line_for(self, move: Ask, dialogue: _Dialogue, step: Step) -> Talk[Line | None]:
        """The connection a step is to be made on: the standing one, or a new one where it must be or none stands."""
        fresh = move.fresh if dialogue.first else step.connection is Connection.NEW
        over = self._exchange.line.over if dialogue.secured and self._exchange.line else move.over
        line = self._exchange.standing(over)
        if line is not None and not fresh:
            return line
        if not dialogue.first and step.connection is Connection.SAME:
            return None  # the dialogue's connection is gone
        if self.seen.spent >= self._max_probes and not (self._exchange.udp and dialogue.first):
            return None
        line = yield from self._exchange.open(over, move.probe.id)
        return line

    def _message(self, dialogue: _Dialogue, step: Step, line: Line) -> Asked:
        facts = self._exchange.facts(line)
        if step.send is not None and step.again is None:
            dialogue.compute()
            message = render(step.send, facts, dialogue.known, self._pick)
            dialogue.known.update({name: value for name, value in message.sent.items() if "." not in name})
        else:
            again = step.again is not None and step.again < len(dialogue.messages)
            data = dialogue.messages[step.again or 0] if again else b""
            message = Message(data, {**facts.sent(), **dialogue.known})
        dialogue.messages.append(message.data)
        return Asked(
            dialogue.probe.id,
            dialogue.number,
            message,
            previous=tuple(dialogue.previous),
            over=line.over,
            probe=dialogue.probe,
            expect=step.expect,
        )

    def _refuted(self, dialogue: _Dialogue) -> bool:
        """Whether the first of several steps was answered before, and not as this service would answer.

        Where it was answered as expected, the dialogue goes on with its second step.
        """
        step = dialogue.steps[0]
        before = self._same_request(step) if len(dialogue.steps) > 1 else []
        for reply in before:
            if self._holds(step, reply):
                dialogue.skip(reply)
                return False
        return bool(before) and not any(self._holds(step, replace(reply, closed=True)) for reply in before)

    def _holds(self, step: Step, reply: Reply) -> bool:
        return step.expect is not None and self._matcher.holds(step.expect, reply) is not None

    def _same_request(self, step: Step) -> list[Reply]:
        """Earlier replies to what a dialogue's first step would ask for."""
        if step.send is None or step.expect is None or not step.send.parts:
            return []
        start = step.send.parts[0]
        if not isinstance(start, bytes) or len(start) < _SAME_REQUEST:
            return []
        start = start[:_SAME_REQUEST]
        return [reply for reply in self._judge.replies if reply.over is None and reply.message.startswith(start)]


class _Dialogue:
    """How far a probe's steps have come."""

    def __init__(self, probe: ProbeSpec, signatures: Catalogue, pick: random.Random) -> None:
        before = signatures.services[probe.service].starttls if probe.starttls else ()
        self.probe = probe
        self.steps: tuple[Step, ...] = (*before, *probe.steps)
        self.number = 0
        self.first = True  # no step was made on a connection yet
        self.known: dict[str, bytes] = {}
        self.groups: dict[str, str] = {}
        self.messages: list[bytes] = []
        self.previous: list[bytes] = []
        self.slowest_s = 0.0
        self._before = len(before)
        self._computed = computed(probe.special, pick)

    def compute(self) -> None:
        """Values that take arithmetic, for the next message."""
        if self._computed is not None:
            self.known.update(self._computed.values(self.previous))

    def patience_s(self, step: Step, seconds: float) -> float:
        """How long to wait for a step's reply."""
        expect = step.expect
        if self._computed is None or expect is None or expect.closed is None:
            return seconds
        return self._computed.patience_s(closes=expect.closed, slowest_s=self.slowest_s, seconds=seconds)

    @property
    def step(self) -> Step | None:
        """The next one; None when all were made."""
        return self.steps[self.number] if self.number < len(self.steps) else None

    @property
    def is_last_before_tls(self) -> bool:
        """The handshake begins as soon as the next step is said, where nothing is expected of it."""
        return 0 < self._before == self.number + 1

    @property
    def turns_to_tls(self) -> bool:
        """The last step was the one after which the handshake begins."""
        return 0 < self._before == self.number

    @property
    def secured(self) -> bool:
        """Further steps are made inside TLS."""
        return 0 < self._before <= self.number

    def heard(self, reply: Reply, held: dict[str, str]) -> None:
        """A step's reply was as expected."""
        self.groups.update(held)
        self.known.update({name: value.encode("latin-1", "replace") for name, value in held.items()})
        self.previous.append(reply.data)
        self.number += 1
        self.first = False

    def skip(self, reply: Reply) -> None:
        """The first step was answered before."""
        self.messages.append(reply.message)
        self.previous.append(reply.data)
        self.number += 1


def _offered(alpn: tuple[str, ...]) -> tuple[str, ...]:
    """The flow's own offer; without h2 where HTTP/1.1 will do, which names its server in one round trip less."""
    if "http/1.1" in alpn:
        return tuple(name for name in alpn if name != "h2")
    return alpn
