"""The prober: questions come in, each endpoint gets one conversation at a time, answers go out."""

from __future__ import annotations

import asyncio
import contextlib
import random
import resource
import time
from collections.abc import Callable, Sequence
from typing import Final

from flowsonar.config import Settings
from flowsonar.errors import FlowsonarError
from flowsonar.model import Answer, Endpoint, Evidence, FlowKey, Outcome, Question
from flowsonar.probes.audit import AuditAction, AuditEntry
from flowsonar.probes.engine import Channel, Gate
from flowsonar.probes.own import canonical
from flowsonar.probes.pace import BEAT_S, Pace
from flowsonar.probes.preview import preview
from flowsonar.probes.scheduler import Scheduler
from flowsonar.probes.session import Session
from flowsonar.probes.special.tls import prepare
from flowsonar.signatures.loader import SignatureSet
from flowsonar.signatures.matcher import Matcher

__all__ = ["Prober"]

_SPARE_DESCRIPTORS: Final = 128
"""File descriptors left to the rest of the program."""
EASE_AFTER_S: Final = 0.02
"""A conversation that takes longer waits for a long path or a slow server, not for us or its host's processor."""
_PATIENCE_S: Final = 30.0
"""How long a conversation waits for its first packet's turn; a longer back-off ends it as not permitted."""


class _Talk:
    """One conversation and who waits for it."""

    __slots__ = ("askers", "ease", "eased", "future", "listeners", "question", "session", "task")

    def __init__(self, question: Question, future: asyncio.Future[Answer]) -> None:
        self.question = question
        self.future = future
        self.listeners: list[Callable[[Evidence], None]] = []
        self.askers = 0
        self.session: Session | None = None
        self.task: asyncio.Task[None] | None = None
        self.ease: asyncio.TimerHandle | None = None
        self.eased = False  # its place was given to another one

    def note(self, evidence: Evidence) -> None:
        for listener in self.listeners:
            listener(evidence)


class Prober:
    """Asks endpoints. Belongs to one event loop; `close` it at the end.

    `audit` is called before every packet leaves; if it raises a FlowsonarError nothing is sent. `prior` names the
    services that an endpoint's neighbours turned out to be, most likely first; a control question to a port that
    nobody listens on ("does this host answer everything?") would be answered there too.
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
        self._pick = random.Random()  # seeded once: it takes as long as a question
        descriptors = resource.getrlimit(resource.RLIMIT_NOFILE)[0]
        room = 1 << 20 if descriptors == resource.RLIM_INFINITY else max(1, descriptors - _SPARE_DESCRIPTORS)
        most = min(settings.budget.parallel, room)
        self._pace = Pace(most)
        self._scheduler: Scheduler[_Talk] = Scheduler(
            parallel=self._pace.number, per_host=max(1, settings.budget.per_host_parallel), most=most
        )
        self._beat: asyncio.TimerHandle | None = None
        self._talks: dict[Endpoint, _Talk] = {}
        self._wakeup: asyncio.TimerHandle | None = None
        self._closed = False
        prepare()
        self._counts = dict.fromkeys(("questions", "shared", "failed"), 0)
        self._outcomes = dict.fromkeys(Outcome, 0)

    # -- the face -----------------------------------------------------------------------------------------------

    async def ask(self, question: Question, *, on_evidence: Callable[[Evidence], None] | None = None) -> Answer:
        """Ask one endpoint; concurrent questions about the same one share the conversation and its answer.

        `on_evidence` is called for each piece as it is found. Cancelling the last asker ends the conversation.
        """
        self._counts["questions"] += 1
        endpoint = question.endpoint
        why = self._gate.forbids(endpoint)
        if why is not None or self._closed:
            outcome = Outcome.NOT_PERMITTED if why is not None else Outcome.CANCELLED
            self._outcomes[outcome] += 1
            return Answer(endpoint=endpoint, outcome=outcome, detail=why or "shutting down")
        talk = self._talks.get(endpoint)
        if talk is None:
            talk = _Talk(question, asyncio.get_running_loop().create_future())
            if not self._scheduler.add(talk, canonical(endpoint.address), question.weight):
                self._outcomes[Outcome.NOT_PERMITTED] += 1
                detail = "too many questions wait already"
                return Answer(endpoint=endpoint, outcome=Outcome.NOT_PERMITTED, detail=detail)
            self._talks[endpoint] = talk
        else:
            self._counts["shared"] += 1
        if on_evidence is not None:
            for evidence in talk.session.evidence if talk.session is not None else ():
                on_evidence(evidence)
            talk.listeners.append(on_evidence)
        talk.askers += 1
        self._pump()
        try:
            return await asyncio.shield(talk.future)
        finally:
            talk.askers -= 1
            if on_evidence is not None:
                talk.listeners.remove(on_evidence)
            if not talk.askers and not talk.future.done():
                self._abandon(talk)

    def is_own(self, key: FlowKey) -> bool:
        """Whether the flow is one of our own, seen from either side, until a minute after it ended."""
        return self._gate.own.is_own(key, time.monotonic())

    def plan(self, question: Question) -> list[str]:
        """What would be asked if nothing answered, one line a move; sends nothing."""
        why = self._gate.permits(question.endpoint)
        if why is not None:
            return [f"nothing: {why}"]
        amplifying = self._gate.permits(question.endpoint, amplifies=True) is None
        return preview(question, self._signatures, self._settings, self._priors(question), amplifying=amplifying)

    def counters(self) -> dict[str, int]:
        """What was sent and what came of it, since the start; `waiting` and `active` are of now."""
        return {
            **self._counts,
            **self._gate.counts,
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

    async def close(self) -> None:
        """End all conversations as `cancelled`; returns when the last socket is closed."""
        self._closed = True
        if self._wakeup is not None:
            self._wakeup.cancel()
            self._wakeup = None
        if self._beat is not None:
            self._beat.cancel()
            self._beat = None
        tasks = [talk.task for talk in self._talks.values() if talk.task is not None]
        for talk in list(self._talks.values()):
            self._abandon(talk)
        if tasks:
            await asyncio.gather(*tasks, return_exceptions=True)

    # -- conversations ------------------------------------------------------------------------------------------

    def _priors(self, question: Question) -> Sequence[str]:
        return self._prior(question.endpoint) if self._prior is not None else ()

    def _pump(self) -> None:
        """Start what may start now; the heaviest first, as the budget of all lets them."""
        loop = asyncio.get_running_loop()
        while not self._closed and len(self._scheduler):
            delay_s = self._gate.budget.global_delay_s(time.monotonic())
            if delay_s > 0:
                if self._wakeup is None:
                    self._wakeup = loop.call_later(delay_s, self._wake)
                return
            started = self._scheduler.start()
            if started is None:
                return
            talk, host = started
            delay_s = self._gate.budget.take(host, time.monotonic())
            talk.task = loop.create_task(self._converse(talk, host, delay_s))
            if self._beat is None:
                self._beat = loop.call_later(BEAT_S, self._measure, loop.time() + BEAT_S)

    def _wake(self) -> None:
        self._wakeup = None
        self._pump()

    def _measure(self, due_s: float) -> None:
        """See how late the loop is, and hold as many conversations as it can serve in time."""
        loop = asyncio.get_running_loop()
        self._beat = None
        self._pace.measured(loop.time() - due_s, self._scheduler.active)
        self._scheduler.parallel = self._pace.number
        if (self._scheduler.active or self._scheduler.eased) and not self._closed:
            self._beat = loop.call_later(BEAT_S, self._measure, loop.time() + BEAT_S)
            self._pump()

    async def _converse(self, talk: _Talk, host: str, delay_s: float) -> None:
        """The task of one conversation; it always leaves an answer and gives its place back."""
        endpoint = talk.question.endpoint
        channel = Channel(self._gate, endpoint, host)
        answer = Answer(endpoint=endpoint, outcome=Outcome.CANCELLED, detail="stopped")
        began_s = time.monotonic()
        try:
            if delay_s > _PATIENCE_S:
                detail = f"{endpoint.address} asked not to be asked: {delay_s:.0f} s to go"
                answer = Answer(endpoint=endpoint, outcome=Outcome.NOT_PERMITTED, detail=detail)
                return
            if delay_s > 0:
                await asyncio.sleep(delay_s)
            began_s = time.monotonic()
            talk.ease = asyncio.get_running_loop().call_later(EASE_AFTER_S, self._ease, talk, host)
            session = talk.session = Session(
                talk.question,
                signatures=self._signatures,
                matcher=self._matcher,
                settings=self._settings,
                now_s=began_s,
                prior=self._priors(talk.question),
                amplifying=self._gate.permits(endpoint, amplifies=True) is None,
                note=talk.note,
                pick=self._pick,
            )
            answer = await channel.run(session.talk())
        except asyncio.CancelledError:
            if talk.session is not None:
                answer = talk.session.answer(Outcome.CANCELLED, "stopped", time.monotonic())
        except Exception as problem:  # noqa: BLE001 - the task boundary: one broken conversation must not end the others
            self._counts["failed"] += 1
            answer = Answer(endpoint=endpoint, outcome=Outcome.CANCELLED, detail=f"internal error: {problem!r}")
            context = {"message": f"the conversation with {endpoint} failed", "exception": problem}
            asyncio.get_running_loop().call_exception_handler(context)
        finally:
            if talk.ease is not None:
                talk.ease.cancel()
            channel.close()
            self._settle(talk, answer)
            self._scheduler.finish(host, eased=talk.eased)
            self._pump()

    def _ease(self, talk: _Talk, host: str) -> None:
        """Let another conversation begin beside one that takes long."""
        talk.eased = self._scheduler.ease(host)
        if talk.eased:
            self._pump()

    def _settle(self, talk: _Talk, answer: Answer) -> None:
        if self._talks.get(talk.question.endpoint) is talk:
            del self._talks[talk.question.endpoint]
        self._outcomes[answer.outcome] += 1
        if answer.connections or answer.datagrams:
            with contextlib.suppress(FlowsonarError):
                self._gate.record(talk.question.endpoint, AuditAction.END, "", 0, answer.outcome, answer.detail)
        if not talk.future.done():
            talk.future.set_result(answer)

    def _abandon(self, talk: _Talk) -> None:
        """Nobody waits for it any more."""
        if talk.task is not None:
            talk.task.cancel()
            return
        self._scheduler.remove(talk)
        self._settle(talk, Answer(endpoint=talk.question.endpoint, outcome=Outcome.CANCELLED, detail="stopped"))
