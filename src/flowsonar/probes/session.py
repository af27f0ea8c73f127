"""One conversation with one endpoint: the planner says the move, the exchange makes it, the judge weighs the reply.

Without sockets: `Session.talk()` yields commands and is sent events (see `dialogue`), and comes to an `Answer`.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence
from typing import Final

from flowsonar.config import Settings
from flowsonar.model import Answer, Confidence, Evidence, Layer, Outcome, Question
from flowsonar.probes.contrast import CONTRAST, Contrast
from flowsonar.probes.dialogue import Attend, Attended, Beside, Close, Line, Part, Talk
from flowsonar.probes.exchange import Exchange, packed
from flowsonar.probes.moves import Ask, Listen, Secure, Seen, Spread, Stop, TlsState
from flowsonar.probes.order import Catalogue
from flowsonar.probes.planner import Planner
from flowsonar.probes.questions import Questions
from flowsonar.probes.replies import Asked, Judge
from flowsonar.signatures.matcher import Matcher
from flowsonar.signatures.templates import Message

__all__ = ["Session", "planner_for"]

APART_S: Final = 1.0
"""How long the answer to a question on a socket of its own may take, while others are asked."""
END_S: Final = 0.05
"""Kept of the time allowed, for timers that fire late: the answer is there when the time is over."""


def planner_for(signatures: Catalogue, settings: Settings) -> Planner:
    """The planner of all sessions with these settings: making it takes a while."""
    budget = settings.budget
    timeout_s = budget.timeout_s - min(END_S, budget.timeout_s / 10)
    return Planner(signatures, max_probes=budget.max_probes, max_unanswered=budget.max_unanswered, timeout_s=timeout_s)


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
        expected: str | None = None,
        amplifying: bool = True,
        note: Callable[[Evidence], None] = lambda _evidence: None,
        pick: random.Random | None = None,
        purpose: str | None = None,
    ) -> None:
        addresses = settings.scope.own_addresses
        own = tuple(packed(address) for address in addresses) if addresses else ()
        rtt_ms = question.hints.rtt_ms
        self._planner = planner or planner_for(signatures, settings)
        self.seen = Seen(
            rtt_s=None if rtt_ms is None else rtt_ms / 1000,
            expected=expected,
            amplifying=amplifying,
            unanswered_left=self._planner.max_unanswered,
        )
        self._pointed: tuple[str, ...] = ()  # what the flow pointed to when it was looked at last
        self._spent_blindly = 0  # connections or datagrams before that
        self._question = question
        self._signatures = signatures
        self._matcher = matcher
        self._max_probes = settings.budget.max_probes
        self._prior = prior
        self._pick = pick or random.Random()
        self._purpose = purpose
        self._judge = Judge(matcher, signatures, own, note)
        self._began_s = now_s
        self._apart = False  # a question was put on a socket of its own
        self._exchanges: list[Exchange] = []
        self._questions = self._on_its_own(now_s)
        self._exchange = self._questions.exchange
        self._bound()

    def _on_its_own(self, now_s: float) -> Questions:
        """Questions on a connection of their own."""
        exchange = Exchange(
            self._question, self._judge, self.seen, timeout_s=self._planner.timeout_s, began_s=self._began_s,
            now_s=now_s, purpose=self._purpose,
        )  # fmt: skip
        self._exchanges.append(exchange)
        return Questions(
            exchange, self._judge, self.seen, self._question.hints, services=self._signatures.services,
            matcher=self._matcher, pick=self._pick, max_probes=self._max_probes,
            beside=lambda: self._on_its_own(self._exchange.now_s),
        )  # fmt: skip

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
                    yield from self._questions.secure()
                case Ask():
                    yield from self._ask(move)
                case Spread():
                    yield from self._spread(move)
        yield from self._questions.upgrade()
        if exchange.line is not None:
            closed = yield Close()
            exchange.now_s = closed.at_s
        return self.answer()

    def answer(self, outcome: Outcome | None = None, detail: str = "", now_s: float | None = None) -> Answer:
        """What the conversation came to; `outcome` where it was cut short from outside."""
        if outcome is None:
            self._judge.conclude(tls=self.seen.tls is TlsState.OPEN)
            outcome, detail = self._outcome()
        rtt_s = self.seen.rtt_s
        return Answer(
            endpoint=self._question.endpoint,
            outcome=outcome,
            evidence=self.evidence,
            connections=sum(exchange.connections for exchange in self._exchanges),
            datagrams=sum(exchange.datagrams for exchange in self._exchanges),
            bytes_sent=sum(exchange.bytes_sent for exchange in self._exchanges),
            rtt_ms=None if rtt_s is None else rtt_s * 1000,
            took_ms=((self._exchange.now_s if now_s is None else now_s) - self._began_s) * 1000,
            detail=detail,
        )

    def _outcome(self) -> tuple[Outcome, str]:
        seen, exchange = self.seen, self._exchange
        garbled = next((one.garbled for one in self._exchanges if one.garbled), "")
        if garbled and self._judge.best is Confidence.UNKNOWN:
            return Outcome.GARBLED, garbled
        if seen.heard:
            return Outcome.ANSWERED, ""
        if exchange.failed is not None and (exchange.connections <= 1 or exchange.udp or not seen.tried):
            return exchange.failed.outcome, exchange.failed.detail
        if not seen.tried and not exchange.connections:
            return Outcome.SILENT, "no signature has a question for it"
        return (Outcome.CLOSED if seen.closes and not seen.silences else Outcome.SILENT), ""

    def _update(self) -> None:
        seen, line, asked = self.seen, self._exchange.line, self._exchange.asked
        seen.open = line is not None and line.end is None
        seen.said = line is not None and line.said
        said = b"" if asked is None else asked.message.data
        seen.unfinished = bool(said) and not said.endswith(b"\n")
        seen.over = line.over if line is not None else None
        self._learn(self._exchange.now_s)

    def _learn(self, now_s: float) -> None:
        """What the replies came to so far."""
        seen = self.seen
        seen.elapsed_s = now_s - self._began_s - seen.held_s
        seen.best, seen.best_service = self._judge.best, self._judge.best_service
        seen.candidates = self._judge.candidates
        seen.echoes = self._judge.echoes
        self._bound()

    def _bound(self) -> None:
        """See how much the endpoint may cost; what was spent before the flow pointed to anything does not count."""
        seen, pointed = self.seen, self._question.hints.candidates
        if pointed != self._pointed:
            self._pointed = pointed
            self._spent_blindly = seen.spent if self._exchange.udp else seen.opened
        seen.most = self._spent_blindly + self._planner.most(self._question, seen)

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
        asked = exchange.asked if line.said else None
        if exchange.udp:
            asked = self._judge.last_asked(None)
        began_s = line.now_s
        if exchange.udp and self._apart:
            event = yield Attend(move.seconds)
            exchange.now_s = line.now_s = event.at_s
            if not (isinstance(event, Attended) and event.readable):
                return
            move = Listen(0.0)
        yield from exchange.hear(line, asked or _nothing_asked(exchange, line), move.seconds)
        seen.listened_s.setdefault(move.over, exchange.now_s - began_s)

    def _ask(self, move: Ask) -> Talk[None]:
        if not self._exchange.connections and not self._exchange.udp:
            yield from self._exchange.open(move.over, move.probe.id)
            return  # the round trip is known now: the planner says how long to wait
        if move.probe.any_port and self._exchange.udp:
            self._apart = True
            self.seen.tried.append((move.probe, move.over))
            began = yield Beside(self._ask_apart(Ask(move.probe, APART_S, fresh=True)))
            self._exchange.now_s = began.at_s
        else:
            contrast = self._contrast(move)
            self._questions.contrast = contrast or self._questions.contrast
            if contrast is not None:
                began = yield Beside(contrast.talk())
                self._exchange.now_s = began.at_s
            yield from self._questions.ask(move)
            if contrast is not None:
                yield from self._await(contrast)

    def _contrast(self, move: Ask) -> Contrast | None:
        """What is put beside a slow question to whom the flow itself makes suspect; None: nothing."""
        probe = move.probe
        service = self._signatures.services[probe.service]
        quick = next((one for one in service.probes if one.special == CONTRAST), None)
        if quick is None or probe.special is None or probe.service not in self._question.hints.candidates:
            return None
        if any(one is quick for one, _ in self.seen.tried):
            return None  # it was put beside another dialogue of the service
        self.seen.tried.append((quick, move.over))
        return Contrast(
            quick, self._exchange, lambda: self._on_its_own(self._exchange.now_s).exchange, self._judge, self._pick
        )

    def _await(self, contrast: Contrast) -> Talk[None]:
        """Wait for the end of what was put beside a question that has ended."""
        exchange = self._exchange
        if exchange.line is not None and not contrast.over:
            exchange.leave()
            exchange.line = None
            closed = yield Close()
            exchange.now_s = closed.at_s
        while not contrast.over and exchange.failed is None and exchange.left_s > 0:
            event = yield Attend(exchange.left_s)
            exchange.now_s = event.at_s

    def _ask_apart(self, move: Ask) -> Talk[None]:
        """Put a question whose answer may come from another port: on a socket of its own."""
        yield from self._on_its_own(self._exchange.now_s).put(move)

    def _spread(self, move: Spread) -> Talk[None]:
        """Put questions side by side until one of them brings something; the standing connection is listened to.

        What the flow says only now may point to one question: then that is next, and the others wait.
        """
        exchange, seen, hints = self._exchange, self.seen, self._question.hints
        pointed = hints.candidates
        seen.spread.add(move.over)
        yield from self._drop_ended()
        sides: list[_Side] = []
        next_s, closes = exchange.now_s, seen.closes
        while exchange.failed is None and not self._told and not (sides and all(side.over for side in sides)):
            if hints.candidates != pointed:
                seen.spread.discard(move.over)
                break
            self._learn(exchange.now_s)
            left_s = self._planner.timeout_s - seen.elapsed_s
            if left_s <= 0:
                break
            if len(sides) < move.number and exchange.now_s >= next_s:
                if sides and seen.closes != closes:  # it hangs up at once: one after the other is quick enough
                    closes, next_s = seen.closes, exchange.now_s + move.stagger_s
                    continue
                sides.append(_Side())
                begun = yield Beside(self._beside(move.over, sides[-1]))
                exchange.now_s = max(exchange.now_s, begun.at_s)
                next_s = exchange.now_s + move.stagger_s
                continue
            event = yield Attend(left_s if len(sides) == move.number else min(left_s, next_s - exchange.now_s))
            exchange.now_s = event.at_s
            line = exchange.line
            if line is not None:
                line.now_s = event.at_s
            if isinstance(event, Attended) and event.readable and line is not None and line.end is None:
                yield from exchange.hear(line, exchange.asked or _nothing_asked(exchange, line), 0.0)
                yield from self._drop_ended()
        parted = yield Part()
        exchange.now_s = parted.at_s

    def _drop_ended(self) -> Talk[None]:
        """Close the standing connection where the other side has ended it."""
        exchange = self._exchange
        if exchange.line is not None and exchange.line.end is not None:
            exchange.leave()
            exchange.line = None
            closed = yield Close()
            exchange.now_s = closed.at_s

    @property
    def _told(self) -> bool:
        """Something was found that is to be followed up."""
        judge, seen = self._judge, self.seen
        return (
            judge.best is not Confidence.UNKNOWN
            or bool(judge.candidates)
            or judge.echoes
            or seen.barred
            or seen.tls is TlsState.SUGGESTED
            or (seen.tls is TlsState.OPEN and None in seen.spread and Layer.TLS not in seen.spread)
        )

    def _beside(self, over: Layer | None, side: _Side) -> Talk[None]:
        """One of several connections at a time: put one question after the other, each on a new one."""
        questions = self._on_its_own(self._exchange.now_s)
        exchange = questions.exchange
        try:
            while exchange.failed is None and not self._told:
                self._learn(exchange.now_s)
                move = self._planner.beside(self._question, self.seen, over, self._prior)
                match move:
                    case Listen():
                        yield from self._await_greeting(exchange, move)
                    case Secure():
                        yield from questions.secure()
                    case Ask():
                        yield from questions.ask(move)
                    case _:
                        break
                exchange.leave()
        finally:
            exchange.leave()
            side.over = True

    def _await_greeting(self, exchange: Exchange, move: Listen) -> Talk[None]:
        self.seen.waited.add(move.over)
        line = yield from exchange.open(move.over, "listen")
        if line is not None:
            yield from exchange.hear(line, _nothing_asked(exchange, line), move.seconds)


def _nothing_asked(exchange: Exchange, line: Line) -> Asked:
    return Asked("listen", 0, Message(b"", exchange.facts(line).sent()), over=line.over)


class _Side:
    """Whether one of the conversations beside has ended."""

    __slots__ = ("over",)

    def __init__(self) -> None:
        self.over = False
