"""The prober: questions come in, each endpoint gets one conversation at a time, answers go out."""

from __future__ import annotations

import asyncio
import contextlib
import random
import resource
import time
from collections import deque
from collections.abc import Callable, Iterable, Sequence
from functools import partial
from ipaddress import IPv4Network, IPv6Network
from typing import Final

from flowsonar.config import Settings
from flowsonar.errors import FlowsonarError
from flowsonar.model import Answer, Endpoint, Evidence, FlowKey, Outcome, Question, Transport
from flowsonar.probes.ahead import Ahead
from flowsonar.probes.audit import AuditAction, AuditEntry
from flowsonar.probes.brief import Brief, Briefs
from flowsonar.probes.controlling import Controlling
from flowsonar.probes.engine import Channel
from flowsonar.probes.experience import Experience
from flowsonar.probes.gate import Gate
from flowsonar.probes.own import canonical
from flowsonar.probes.pace import BEAT_S, Pace
from flowsonar.probes.preview import preview
from flowsonar.probes.reactor import Reactor
from flowsonar.probes.routes import Routes
from flowsonar.probes.scheduler import Scheduler
from flowsonar.probes.session import Session, planner_for
from flowsonar.probes.special.tls import prepare
from flowsonar.probes.thrift import Thrift
from flowsonar.signatures.catalogue import SignatureSet
from flowsonar.signatures.matcher import Matcher

__all__ = ["Prober"]

_SPARE_DESCRIPTORS: Final = 128
"""File descriptors left to the rest of the program."""
AT_A_TIME: Final = 8
"""Conversations that begin one right after the other: those under way are not kept waiting for more."""
PUT_SELDOM: Final = 64
"""Who puts more questions between two measurements of lateness holds up the loop himself: it says nothing then."""
EASE_AFTER_S: Final = 0.02
"""A conversation that takes longer waits for a long path or a slow server, not for us or its host's processor."""
_WAITS, _COUNTS, _EASED, _OVER = range(4)
"""Stages of a conversation: it waits for its turn, it counts among those held, it does not count any more, it ended."""
_PATIENCE_S: Final = 30.0
"""How long a conversation waits for its first packet's turn; a longer back-off ends it as not permitted."""


class _Talk:
    """One conversation and who waits for it."""

    __slots__ = (
        "began_s",
        "channel",
        "host",
        "listeners",
        "question",
        "session",
        "stage",
        "timer",
        "waiters",
    )

    def __init__(self, question: Question, host: str) -> None:
        self.question = question
        self.host = host
        self.listeners: list[Callable[[Evidence], None]] = []
        self.waiters: list[Callable[[Answer], None]] = []
        self.session: Session | Brief | None = None
        self.channel: Channel | None = None
        self.timer: asyncio.TimerHandle | None = None  # until its first packet may leave
        self.began_s = 0.0
        self.stage = _WAITS

    def note(self, evidence: Evidence) -> None:
        for listener in self.listeners:
            listener(evidence)


class Prober:
    """Asks endpoints. Belongs to one event loop; `close` it at the end.

    `audit` is called before every packet leaves; if it raises a FlowsonarError nothing is sent. `prior` names the
    services that an endpoint's neighbours turned out to be, most likely first. A host is asked once in a while whether
    it takes connections to any port (`control`).
    """

    def __init__(
        self,
        signatures: SignatureSet,
        matcher: Matcher,
        settings: Settings,
        *,
        audit: Callable[[AuditEntry], None],
        prior: Callable[[Endpoint], Sequence[str]] | None = None,
    ) -> None:
        self._signatures = signatures
        self._matcher = matcher
        self._settings = settings
        self._prior = prior
        self._gate = Gate(settings, audit)
        self._experience = Experience()
        self._thrift = Thrift(signatures.probe)
        self._routes = Routes()
        self._ahead = Ahead(self._gate, self._routes)
        self._sweep: asyncio.TimerHandle | None = None
        self._planner = planner_for(signatures, settings)
        self._briefs = Briefs(signatures, matcher)
        self._pick = random.Random()  # seeded once: it takes as long as a question
        self._controlling: Controlling[_Talk] = Controlling(
            signatures, matcher, settings, self._gate, self._routes, self._pick, settle=self._settle, pump=self._pump
        )
        descriptors = resource.getrlimit(resource.RLIMIT_NOFILE)[0]
        room = 1 << 20 if descriptors == resource.RLIM_INFINITY else max(1, descriptors - _SPARE_DESCRIPTORS)
        most = min(settings.budget.parallel, room)
        self._pace = Pace(most)
        self._scheduler: Scheduler[_Talk] = Scheduler(
            parallel=self._pace.number, per_host=max(1, settings.budget.per_host_parallel), most=most
        )
        self._beat: asyncio.TimerHandle | None = None
        self._talks: dict[Endpoint, _Talk] = {}
        self._young: deque[_Talk] = deque()  # conversations that count, the oldest first; ended ones lie between them
        self._wakeup: asyncio.TimerHandle | None = None
        self._reactor: Reactor | None = None
        self._pumping = False
        self._worked_s = 0.0  # the thread's processor time when the beat was set
        self._asked = 0  # questions put since lateness was measured
        self._begun = 0  # conversations, since the loop has looked at all sockets
        self._turn: asyncio.Handle | None = None  # when it has
        self._closed = False
        prepare()
        self._counts = dict.fromkeys(("questions", "shared", "failed"), 0)
        self._outcomes = dict.fromkeys(Outcome, 0)

    # -- the face -----------------------------------------------------------------------------------------------

    async def ask(self, question: Question, *, on_evidence: Callable[[Evidence], None] | None = None) -> Answer:
        """Ask one endpoint; concurrent questions about the same one share the conversation and its answer.

        `on_evidence` is called for each piece as it is found. Cancelling the last asker ends the conversation.
        """
        future: asyncio.Future[Answer] = asyncio.get_running_loop().create_future()

        def told(answer: Answer) -> None:
            if not future.done():
                future.set_result(answer)

        forget = self.put(question, told, on_evidence=on_evidence)
        try:
            return await future
        finally:
            forget()

    def put(
        self,
        question: Question,
        told: Callable[[Answer], None],
        *,
        on_evidence: Callable[[Evidence], None] | None = None,
    ) -> Callable[[], None]:
        """The same without a task: `told` gets the answer, perhaps before this returns.

        What is returned takes the question back; `told` is not called then. Who took back the last one ends the
        conversation.
        """
        self._counts["questions"] += 1
        self._asked += 1
        endpoint = question.endpoint
        why = self._gate.forbids(endpoint)
        if why is not None or self._closed:
            outcome = Outcome.NOT_PERMITTED if why is not None else Outcome.CANCELLED
            self._outcomes[outcome] += 1
            told(Answer(endpoint=endpoint, outcome=outcome, detail=why or "shutting down"))
            return _nothing
        talk = self._talks.get(endpoint)
        if talk is None:
            talk = _Talk(question, canonical(endpoint.address))
            if not self._scheduler.add(talk, talk.host, question.weight):
                self._outcomes[Outcome.NOT_PERMITTED] += 1
                detail = "too many questions wait already"
                told(Answer(endpoint=endpoint, outcome=Outcome.NOT_PERMITTED, detail=detail))
                return _nothing
            self._talks[endpoint] = talk
        else:
            self._counts["shared"] += 1
        if on_evidence is not None:
            for evidence in talk.session.evidence if talk.session is not None else ():
                on_evidence(evidence)
            talk.listeners.append(on_evidence)
        talk.waiters.append(told)
        self._pump()
        return partial(self._forget, talk, told, on_evidence)

    def _forget(
        self, talk: _Talk, told: Callable[[Answer], None], on_evidence: Callable[[Evidence], None] | None
    ) -> None:
        """Somebody does not want to know any more."""
        if on_evidence in talk.listeners:
            talk.listeners.remove(on_evidence)
        if told in talk.waiters:
            talk.waiters.remove(told)
            if not talk.waiters:
                self._abandon(talk)

    def expect(self, endpoint: Endpoint) -> None:
        """A question about the endpoint is likely to be put within a second: its connection may be begun."""
        if self._closed or endpoint in self._talks:
            return
        if self._ahead.begin(endpoint) and self._sweep is None:
            self._sweep_ahead()

    def _sweep_ahead(self) -> None:
        next_s = self._ahead.sweep(time.monotonic())
        loop = asyncio.get_running_loop()
        self._sweep = None
        if next_s is not None:
            self._sweep = loop.call_later(max(0.0, next_s - time.monotonic()), self._sweep_ahead)

    def why_not(self, endpoint: Endpoint) -> str | None:
        """Why an endpoint may not be asked, by scope and never-ports; None when it may."""
        return self._gate.permits(endpoint)

    @property
    def networks(self) -> tuple[IPv4Network | IPv6Network, ...]:
        """Outside them no endpoint may be asked."""
        return self._gate.networks

    def is_own(self, key: FlowKey) -> bool:
        """Whether the flow is one of our own, seen from either side, until a minute after it ended."""
        return self._gate.own.is_own(key, time.monotonic())

    def tell_own(self, told: Callable[[Endpoint], None]) -> None:
        """Have the address of each socket of ours told before its first packet."""
        self._gate.own.told = told

    def prefer(self, priority: int, dscp: int) -> None:
        """Let what is sent from now on have this packet priority and code point."""
        self._routes.preferred = (priority, dscp)

    def plan(self, question: Question) -> list[str]:
        """What would be asked if nothing answered, one line a move; sends nothing."""
        why = self._gate.permits(question.endpoint)
        if why is not None:
            return [f"nothing: {why}"]
        amplifying = self._gate.permits(question.endpoint, amplifies=True) is None
        return preview(
            question, self._signatures, self._settings, self._priors(question),
            expected=self._experience.here(question.endpoint), amplifying=amplifying,
        )  # fmt: skip

    def counters(self) -> dict[str, int]:
        """What was sent and what came of it, since the start; `waiting` and `active` are of now."""
        return {
            **self._counts,
            **self._gate.counts,
            **self._thrift.counts,
            **self._briefs.counts,
            **self._ahead.counts,
            **{f"outcome_{outcome.value}": count for outcome, count in self._outcomes.items()},
            "waiting": len(self._scheduler),
            "active": self._scheduler.active + self._scheduler.eased,
            "parallel": self._pace.number,
            "slowed": self._pace.slowed,
            "turned_away": self._scheduler.turned_away,
            "budget_waits": self._gate.budget.waited,
            "own_flows": len(self._gate.own),
            "own_flows_forgotten": self._gate.own.forgotten,
        }

    def remember(self, findings: Iterable[tuple[Endpoint, str]]) -> None:
        """What was found in earlier runs, oldest first: it moves the order of questions and is no evidence."""
        for endpoint, service in findings:
            self._experience.found(endpoint, service)

    async def close(self) -> None:
        """End all conversations as `cancelled`; returns when the last socket is closed."""
        self._closed = True
        if self._wakeup is not None:
            self._wakeup.cancel()
            self._wakeup = None
        if self._beat is not None:
            self._beat.cancel()
            self._beat = None
        if self._turn is not None:
            self._turn.cancel()
            self._turn = None
        if self._sweep is not None:
            self._sweep.cancel()
            self._sweep = None
        self._ahead.close()
        for talk in list(self._talks.values()):
            self._abandon(talk)
        self._controlling.close()
        if self._reactor is not None:
            self._reactor.close()
            self._reactor = None

    # -- conversations ------------------------------------------------------------------------------------------

    def _priors(self, question: Question) -> Sequence[str]:
        expected = self._experience.expected(question.endpoint)
        return (*self._prior(question.endpoint), *expected) if self._prior is not None else expected

    def _pump(self) -> None:
        """Start what may start now; the heaviest first, as the budget of all lets them."""
        if self._pumping or self._begun >= AT_A_TIME:
            return  # a conversation that ended at once asks for the next one: the loop below goes on anyway
        self._pumping = True
        try:
            while self._scheduler.ready and self._begun < AT_A_TIME and not self._closed:
                now_s = time.monotonic()
                delay_s = self._gate.budget.global_delay_s(now_s)
                if delay_s > 0:
                    if self._wakeup is None:
                        self._wakeup = asyncio.get_running_loop().call_later(delay_s, self._wake)
                    return
                started = self._scheduler.start()
                if started is None:
                    return
                if not self._begun:
                    self._turn = asyncio.get_running_loop().call_soon(self._turned)
                self._begun += 1
                self._begin(started[0], self._gate.budget.take(started[1], now_s))
        finally:
            self._pumping = False

    def _turned(self) -> None:
        """The loop has looked at all sockets since: others may begin."""
        self._begun, self._turn = 0, None
        self._pump()

    def _wake(self) -> None:
        self._wakeup = None
        self._pump()

    def _begin(self, talk: _Talk, delay_s: float) -> None:
        """It is the turn of a conversation; its first packet may leave after `delay_s`."""
        loop = asyncio.get_running_loop()
        talk.stage = _COUNTS
        if self._beat is None:
            self._set_beat(loop)
        if delay_s > _PATIENCE_S:
            endpoint = talk.question.endpoint
            detail = f"{endpoint.address} asked not to be asked: {delay_s:.0f} s to go"
            self._settle(talk, Answer(endpoint=endpoint, outcome=Outcome.NOT_PERMITTED, detail=detail))
        elif delay_s > 0:
            talk.timer = loop.call_later(delay_s, self._converse, talk)
        else:
            self._converse(talk)

    def _converse(self, talk: _Talk) -> None:
        """Hold the conversation; `_ended` is told when it is over."""
        talk.timer = None
        endpoint = talk.question.endpoint
        if self._reactor is None:
            self._reactor = Reactor()
        talk.began_s = time.monotonic()
        self._young.append(talk)
        try:
            prior, expected = self._priors(talk.question), self._experience.here(endpoint)
            session = partial(
                Session,
                talk.question,
                signatures=self._signatures,
                planner=self._planner,
                matcher=self._matcher,
                settings=self._settings,
                now_s=talk.began_s,
                prior=prior,
                expected=expected,
                amplifying=endpoint.transport is Transport.TCP or self._gate.permits(endpoint, amplifies=True) is None,
                note=talk.note,
                pick=self._pick,
            )
            brief = self._briefs.brief(
                talk.question, (expected, *prior), now_s=talk.began_s, session=session, note=talk.note
            )
            talk.session = brief or session()
            talk.channel = Channel(self._gate, self._reactor, self._routes, endpoint, talk.host, ahead=self._ahead)
            if self._controlling.suspects(talk.question):
                later = asyncio.get_running_loop().call_soon  # what is to be said on it is said first
                talk.channel.stood = partial(later, self._control, talk.host)
            talk.channel.start(talk.session.talk(), partial(self._ended, talk))
        except Exception as problem:  # noqa: BLE001 - one broken conversation must not end the others
            self._ended(talk, None, problem)

    def _ended(self, talk: _Talk, answer: Answer | None, problem: Exception | None) -> None:
        endpoint = talk.question.endpoint
        if answer is None:
            self._counts["failed"] += 1
            answer = Answer(endpoint=endpoint, outcome=Outcome.CANCELLED, detail=f"internal error: {problem!r}")
            context = {"message": f"the conversation with {endpoint} failed", "exception": problem}
            asyncio.get_running_loop().call_exception_handler(context)
        self._controlling.weigh(talk, talk.host, answer, self._reactor)
        self._pump()

    def _control(self, address: str) -> None:
        if self._reactor is not None:
            self._controlling.connect(address, self._reactor)

    # -- how many at a time ---------------------------------------------------------------------------------------

    def _measure(self, due_s: float) -> None:
        """See how late the loop is, and hold as many conversations as it can serve in time."""
        loop = asyncio.get_running_loop()
        self._beat = None
        asked, self._asked = self._asked, 0
        if asked <= PUT_SELDOM:
            worked_s = time.thread_time() - self._worked_s
            self._pace.measured(loop.time() - due_s, worked_s, self._scheduler.active)
        self._scheduler.parallel = self._pace.number
        self._ease(time.monotonic() - EASE_AFTER_S)
        if (self._scheduler.active or self._scheduler.eased) and not self._closed:
            self._set_beat(loop)
            self._pump()

    def _set_beat(self, loop: asyncio.AbstractEventLoop) -> None:
        self._worked_s = time.thread_time()
        self._beat = loop.call_later(BEAT_S, self._measure, loop.time() + BEAT_S)

    def _ease(self, before_s: float) -> None:
        """Let other conversations begin beside those that take long."""
        young = self._young
        while young and (young[0].stage is not _COUNTS or young[0].began_s <= before_s):
            talk = young.popleft()
            if talk.stage is _COUNTS and self._scheduler.ease(talk.host):
                talk.stage = _EASED

    def _settle(self, talk: _Talk, answer: Answer) -> None:
        """The answer is there: give the place back, and tell."""
        if talk.stage is _COUNTS or talk.stage is _EASED:
            self._scheduler.finish(talk.host, eased=talk.stage is _EASED)
        talk.stage = _OVER
        if self._talks.get(talk.question.endpoint) is talk:
            del self._talks[talk.question.endpoint]
        self._outcomes[answer.outcome] += 1
        if answer.connections or answer.datagrams:
            won = self._thrift.answered(answer)
            if won is not None and won.service is not None:
                self._experience.found(answer.endpoint, won.service)
            with contextlib.suppress(FlowsonarError):
                self._gate.record(talk.question.endpoint, AuditAction.END, "", 0, answer.outcome, answer.detail)
        waiters, talk.waiters = talk.waiters, []
        for told in waiters:
            told(answer)

    def _abandon(self, talk: _Talk) -> None:
        """Nobody waits for it any more, or all is to end."""
        if talk.stage is _OVER:
            return
        if talk.stage is _WAITS:
            self._scheduler.remove(talk)
        if talk.timer is not None:
            talk.timer.cancel()
        answer = Answer(endpoint=talk.question.endpoint, outcome=Outcome.CANCELLED, detail="stopped")
        if talk.channel is not None and talk.session is not None:
            talk.channel.cancel()
            answer = talk.session.answer(Outcome.CANCELLED, "stopped", time.monotonic())
        self._settle(talk, answer)
        self._pump()


def _nothing() -> None:
    """Take back what was answered already."""
