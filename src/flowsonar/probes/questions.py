"""Putting a question: opening TLS, or going through a probe's steps on the connections of one exchange.

Without sockets: every method that talks is a part of a conversation (see `dialogue`), used with `yield from`.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import TYPE_CHECKING, Final

from flowsonar.model import Confidence, Hints, Layer, Transport
from flowsonar.probes.dialogue import Line, Talk
from flowsonar.probes.exchange import Exchange
from flowsonar.probes.moves import Ask, Seen, TlsState
from flowsonar.probes.proof import PROOF, TURN_S, TURNS_S, Proof
from flowsonar.probes.quicquestion import look_inside
from flowsonar.probes.replies import Asked, Judge
from flowsonar.probes.special.computed import arithmetic
from flowsonar.probes.special.tls import NO_APPLICATION_PROTOCOL, UNRECOGNIZED_NAME, looks_like_tls
from flowsonar.probes.steps import Steps
from flowsonar.signatures.language import Connection, ProbeSpec, Signature, Speaker, Step
from flowsonar.signatures.matcher import Matcher, Reply
from flowsonar.signatures.templates import Message, render

if TYPE_CHECKING:
    from flowsonar.probes.contrast import Contrast

__all__ = ["Questions"]

_ALPN: Final = ("h2", "http/1.1")
"""Offered to servers that ask for a name (RFC 7301): HTTP/2 and HTTP/1.1."""
_NOT_OFFERED: Final = frozenset({"h2", "h3", "doq"})
"""Of all ALPN names: what travels over QUIC (RFC 9114, RFC 9250), and HTTP/2, which names its server later."""
UPGRADE_S: Final = 0.5
"""Longest wait for each answer on the way to STARTTLS."""
_HELLOS: Final = 3
"""ClientHellos put one after the other: without what the server did not like."""
_SAME_REQUEST: Final = 12
"""Constant bytes at a message's start that make two questions the same for whoever answers: `GET / HTTP/1`."""


class Questions:
    """Puts them on one exchange; `beside` makes others, with an exchange of their own."""

    def __init__(
        self,
        exchange: Exchange,
        judge: Judge,
        seen: Seen,
        hints: Hints,
        *,
        services: Mapping[str, Signature],
        matcher: Matcher,
        pick: random.Random,
        max_probes: int,
        beside: Callable[[], Questions],
    ) -> None:
        self.exchange = exchange
        self._beside = beside
        self._judge = judge
        self._seen = seen
        self._hints = hints
        self._services = services
        self._matcher = matcher
        self._pick = pick
        self._max_probes = max_probes
        self.contrast: Contrast | None = None
        """What is, or was, put beside a question."""

    # -- TLS ----------------------------------------------------------------------------------------------------

    def secure(self) -> Talk[None]:
        """Open TLS, or QUIC over UDP; once more without what the server says it does not like."""
        hints, exchange, seen = self._hints, self.exchange, self._seen
        if exchange.udp:
            yield from look_inside(exchange, self._judge, seen, hints, self._pick)
            return
        name, alpn = hints.server_name, _offered(hints.alpn)
        seen.securing = True
        seen.hello_unheard += seen.hello_unheard == 1  # this one is the second
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
        return tuple(
            dict.fromkeys(
                name
                for service in self._services.values()
                if Layer.TLS in service.inside
                for name in service.alpn
                if name not in _NOT_OFFERED
            )
        )

    def upgrade(self) -> Talk[None]:
        """Begin TLS where the service that was found says that one may: the certificate names the server."""
        signature = self._judge.announced()
        if signature is None or not signature.starttls or self.exchange.failed is not None:
            return
        probe = ProbeSpec(
            service=signature.service, name="starttls", transport=Transport.TCP, steps=(), starttls=True, rarity=9
        )
        if self.exchange.standing(None) is not None:  # go on where the conversation is
            steps = Steps(probe, self._services, self._pick)
            for step in signature.starttls[:-1]:
                before = next((reply for reply in self._judge.replies if self.holds(step, reply)), None)
                if before is None:
                    break
                steps.skip(before)
            steps.first = False
            yield from self._go_through(Ask(probe, UPGRADE_S), steps, whole=True)
        if self._seen.tls is not TlsState.OPEN and self._seen.spent < self._max_probes:
            steps = Steps(probe, self._services, self._pick)
            yield from self._go_through(Ask(probe, UPGRADE_S, fresh=True), steps, whole=True)

    # -- probes -------------------------------------------------------------------------------------------------

    def ask(self, move: Ask) -> Talk[None]:
        """Put a probe: go through its steps as far as their expectations hold."""
        seen = self._seen
        if seen.again is None and (move.probe, move.over) in seen.tried:
            seen.patient = True
        seen.repeats += seen.again is not None
        seen.again = None
        seen.tried.append((move.probe, move.over))
        yield from self.put(move)

    def put(self, move: Ask) -> Talk[None]:
        """The same where it is known already that it is asked."""
        steps = Steps(move.probe, self._services, self._pick)
        if self._refuted(steps) or self._is_needless(move.probe):
            return
        if move.probe.special == PROOF:
            suspect = move.probe.service in self._hints.candidates
            yield from Proof(move, self, self._beside, steps, self._judge, suspect=suspect).talk()
        else:
            yield from self._go_through(move, steps)

    def _is_needless(self, probe: ProbeSpec) -> bool:
        """Whether another dialogue with the same arithmetic was not answered, came to something, or cost enough."""
        if arithmetic(probe.special) is None:
            return False
        same = [one for one, _ in self._seen.tried if arithmetic(one.special) is arithmetic(probe.special)]
        others = {one.id for one in same if one.id != probe.id}
        if not others:
            return False
        answered = any(reply.data for reply in self._judge.replies if reply.probe in others)
        enough = self.contrast is not None and self.contrast.both
        return not answered or enough or self._judge.has_other_proof(probe)

    def _go_through(self, move: Ask, steps: Steps, *, whole: bool = False) -> Talk[None]:
        """Make the steps; `whole`: to the end, though the service is known."""
        probe, exchange = move.probe, self.exchange
        while (step := steps.step) is not None:
            line = yield from self.line_for(move, steps, step)
            if line is None:
                self._stopped(steps)
                return
            asked, follows = self.message(steps, step, line), line.heard
            if asked.message.data:
                yield from exchange.say(line, asked.message.data, probe)
                steps.said_s = line.now_s
            if step.expect is None and steps.is_last_before_tls:
                steps.skip(Reply(probe=probe.id, step=0, data=b"", transport=Transport.TCP, sent={}, message=b""))
                yield from exchange.secure(line, self._hints.server_name, ())
                return
            seconds = move.seconds if step.within_ms is None else min(step.within_ms / 1000, exchange.left_s)
            if probe.special is not None and steps.number == 0 and probe.service in self._hints.candidates:
                seconds = min(max(seconds, TURNS_S), exchange.left_s)
            began_s, seconds = line.now_s, steps.patience_s(step, seconds, line.rtt_s, line.now_s)
            reply = yield from exchange.hear(line, asked, seconds)
            steps.slowest_s = max(steps.slowest_s, line.now_s - began_s if reply.closed else 0.0)
            if self._was_cut_short(steps, reply, follows=follows) and exchange.failed is None:
                self._seen.again = probe
            held = {} if step.expect is None else self._matcher.holds(step.expect, reply)
            if held is None or exchange.failed is not None:
                self._stopped(steps, reply)
                return
            steps.first_s = steps.first_s or line.now_s - began_s
            steps.heard(reply, held)
            if step.reached is not None:
                steps.reached = True
                reached = Confidence.CONFIRMED if self._judge.has_other_proof(probe) else step.reached
                self._judge.went_through(probe, steps.groups, reply.data, move.over, reached=reached)
            if steps.turns_to_tls:
                client = yield from exchange.secure(line, self._hints.server_name, ())
                if not client.done:
                    return
            if self._judge.best is Confidence.CONFIRMED and not whole and not self._judge.is_format_of(probe.service):
                yield from self._tidy(steps, line)
                return
        if probe.confidence is not None and any(step.expect for step in probe.steps):
            self._judge.went_through(probe, steps.groups, steps.previous[-1], move.over)

    def _stopped(self, steps: Steps, reply: Reply | None = None) -> None:
        """A dialogue did not come to its end: what it had proved half-way falls, unless we were cut off.

        Nor does it where the flow points to the service as well, the first answer took long, and a later question was
        only not answered in time, or our own is over: who works in turns may take several of them. Who answered at
        once the first time, and not the second, answers as he likes.
        """
        if self.exchange.failed is not None:
            return
        if not steps.reached:
            return
        step, pointed = steps.step, steps.probe.service in self._hints.candidates and steps.first_s >= TURN_S
        waits = step is not None and step.expect is not None and step.expect.closed is None
        if pointed and (waits or self.exchange.left_s <= 0) and reply and not reply.data and not reply.closed:
            return
        self._judge.take_back(steps.probe)

    def _was_cut_short(self, steps: Steps, reply: Reply, *, follows: bool) -> bool:
        """Whether a dialogue that an answer points to was ended before its first word was heard.

        A server for one client at a time, which is still busy with the end of our last connection, drops the next one;
        and one that has answered something else (`follows`) may have been about to close.
        """
        begun = steps.number == 0 and (follows or len(steps.steps) > 1)
        return begun and reply.closed and not reply.data and steps.probe.service in self._seen.candidates

    def _tidy(self, steps: Steps, line: Line) -> Talk[None]:
        """Say what is left where no answer to it is expected: it tidies up on the other side (L2TP's StopCCN)."""
        left = steps.steps[steps.number :]
        if steps.probe.starttls or any(step.expect or step.connection is Connection.NEW for step in left):
            return
        while (step := steps.step) is not None and line.end is None:
            asked = self.message(steps, step, line)
            if asked.message.data:
                yield from self.exchange.say(line, asked.message.data, steps.probe)
            steps.number += 1

    def line_for(self, move: Ask, steps: Steps, step: Step) -> Talk[Line | None]:
        """The connection a step is to be made on: the standing one, or a new one where it must be or none stands."""
        exchange = self.exchange
        fresh = move.fresh if steps.first else step.connection is Connection.NEW
        over = exchange.line.over if steps.secured and exchange.line else move.over
        line = exchange.standing(over)
        if line is not None and not fresh:
            return line
        if not steps.first and step.connection is Connection.SAME:
            return None  # the dialogue's connection is gone
        exchange.leave()
        if steps.first and self._seen.spent >= self._max_probes and not exchange.udp:
            return None  # a dialogue that was begun is gone through: its connections were counted then
        line = yield from exchange.open(over, move.probe.id, any_port=move.probe.any_port)
        if line is not None and step.send is not None and self._greets(move.probe):
            nothing = Asked("listen", 0, Message(b"", exchange.facts(line).sent()), over=line.over)
            yield from exchange.hear(line, nothing, move.seconds)
            line = exchange.standing(over)
        return line

    def _greets(self, probe: ProbeSpec) -> bool:
        """Whether the server is one that greets: some turn away who speaks before it (RFC 5321 section 4.3.1)."""
        return (
            probe.service in self._seen.candidates
            and self._services[probe.service].speaks_first is Speaker.SERVER
            and not self.exchange.udp
        )

    def message(self, steps: Steps, step: Step, line: Line) -> Asked:
        """What a step says on a connection."""
        facts = self.exchange.facts(line)
        if step.send is not None and step.again is None:
            steps.compute()
            message = render(step.send, facts, steps.known, self._pick)
            steps.known.update({name: value for name, value in message.sent.items() if "." not in name})
        else:
            again = step.again is not None and step.again < len(steps.messages)
            data = steps.messages[step.again or 0] if again else b""
            message = Message(data, {**facts.sent(), **steps.known})
        steps.messages.append(message.data)
        return Asked(
            steps.probe.id,
            steps.number,
            message,
            previous=tuple(steps.previous),
            over=line.over,
            probe=steps.probe,
            expect=step.expect,
            whole=steps.whole(step),
        )

    def _refuted(self, steps: Steps) -> bool:
        """Whether the first of several steps was answered before, and not as this service would answer.

        Where it was answered as expected, the dialogue goes on with its second step.
        """
        step = steps.steps[0]
        before = self._same_request(step) if len(steps.steps) > 1 else []
        for reply in before:
            if self.holds(step, reply):
                steps.skip(reply)
                return False
        return bool(before) and not any(self.holds(step, replace(reply, closed=True)) for reply in before)

    def holds(self, step: Step, reply: Reply) -> bool:
        """Whether a reply is what a step expects."""
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


def _offered(alpn: tuple[str, ...]) -> tuple[str, ...]:
    """The flow's own offer; without h2 where HTTP/1.1 will do, which names its server in one round trip less."""
    if "http/1.1" in alpn:
        return tuple(name for name in alpn if name != "h2")
    return alpn
