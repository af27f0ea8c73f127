"""Questions to answers: one prober, its tasks, and the mailbox that brings the answers back."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable
from dataclasses import replace
from functools import partial
from ipaddress import IPv4Network, IPv6Network
from typing import TYPE_CHECKING, Final

from flowsonar.app.parts import Parts
from flowsonar.config import Settings
from flowsonar.model import Answer, Confidence, Endpoint, Evidence, FlowKey, Layer, Outcome, Question, Transport
from flowsonar.probes import AuditEntry, Prober

if TYPE_CHECKING:
    from flowsonar.app.peers import AskingAsPeer

__all__ = ["Asking", "of_flows"]

FLOW_UNANSWERED: Final = 12
"""Connections without a byte that an endpoint of a flow may cost: many flows wait, and most show what they are."""


BESIDE_S: Final = 0.06
"""What is asked beside another endpoint waits so long: most are found out by then, and its work would delay that."""


def of_flows(settings: Settings) -> Settings:
    """The settings where flows say whom to ask, and not somebody who wants to know of this endpoint."""
    most = min(settings.budget.max_unanswered, FLOW_UNANSWERED)
    return replace(settings, budget=replace(settings.budget, max_unanswered=most))


def _no_audit(_entry: AuditEntry) -> None:
    pass


class Asking:
    """Asks endpoints in the background; `take` gives the answers that came since the last call.

    `wake` is called when one has come. `early` is given what a dialogue proves before its end, at once: an answer that
    is not final. Bounded by `limits.QUESTIONS_WAITING` in the tracker, and by the prober.
    """

    def __init__(
        self,
        settings: Settings,
        parts: Parts,
        *,
        audit: Callable[[AuditEntry], None] = _no_audit,
        wake: Callable[[], None] | None = None,
        early: Callable[[Answer], None] | None = None,
    ) -> None:
        parts.matcher.prepare(replies=True, payloads=False)
        parts.signatures.by_port(Transport.TCP, 0)  # laid out now, and not while the first flow waits
        self._prober = Prober(parts.signatures, parts.matcher, settings, audit=audit)
        self._as_peer: AskingAsPeer | None = None
        if settings.ask_as_peer and not settings.passive and not settings.dry_run:
            from flowsonar.app.peers import AskingAsPeer  # noqa: PLC0415 - who does not want it does not wait for it

            self._as_peer = AskingAsPeer(settings, parts, audit=audit)
        self._of_peers: dict[Endpoint, Question] = {}  # questions that may be put again in a peer's name
        self._dry_run = settings.dry_run
        self._asked: dict[Endpoint, Callable[[], None]] = {}  # how to take each question back
        self._answers: list[Answer] = []
        self._news = asyncio.Event()
        self._loop = asyncio.get_running_loop()
        self._wake = wake
        self._early = early
        self.planned: list[tuple[Question, list[str]]] = []
        """With `dry_run`: what would have been asked."""

    @property
    def busy(self) -> int:
        """Questions that are not answered yet."""
        return len(self._asked)

    def why_not(self, endpoint: Endpoint) -> str | None:
        """Why an endpoint may not be asked; None when it may."""
        return self._prober.why_not(endpoint)

    def is_own(self, key: FlowKey) -> bool:
        """Whether a flow is our own probe traffic."""
        return self._prober.is_own(key)

    @property
    def networks(self) -> tuple[IPv4Network | IPv6Network, ...]:
        """Outside them no endpoint may be asked."""
        return self._prober.networks

    def tell_own(self, told: Callable[[Endpoint], None]) -> None:
        """Have the address of each socket of ours told before its first packet."""
        self._prober.tell_own(told)

    def counters(self) -> dict[str, int]:
        """What was sent and refused so far."""
        counts = self._prober.counters()
        return counts if self._as_peer is None else counts | self._as_peer.counters()

    def expect(self, endpoints: Iterable[Endpoint]) -> None:
        """Questions about these are likely: begin their connections."""
        if not self._dry_run:
            for endpoint in endpoints:
                self._prober.expect(endpoint)

    def ask(self, questions: Iterable[Question]) -> None:
        """Begin to ask."""
        for question in questions:
            if self._dry_run:
                self.planned.append((question, self._prober.plan(question)))
                self._put(Answer(endpoint=question.endpoint, outcome=Outcome.NOT_PERMITTED, detail="dry run"))
                continue
            endpoint = question.endpoint
            if endpoint in self._asked:
                continue  # its answer is on its way
            if self._as_peer is not None and question.peer is not None:
                self._of_peers[endpoint] = question
            if question.hints.beside:
                self._asked[endpoint] = self._loop.call_later(BESIDE_S, self._begin, question).cancel
            else:
                self._begin(question)

    def _begin(self, question: Question) -> None:
        endpoint = question.endpoint
        heard = partial(self._heard, endpoint) if self._early is not None else None
        self._asked[endpoint] = _nothing
        forget = self._prober.put(question, self._told, on_evidence=heard)
        if endpoint in self._asked:  # it was not answered at once
            self._asked[endpoint] = forget

    def withdraw(self, endpoints: Iterable[Endpoint]) -> None:
        """Stop asking endpoints that were found out otherwise; no answer comes."""
        for endpoint in endpoints:
            forget = self._asked.pop(endpoint, None)
            if forget is not None:
                forget()

    def prefer(self, priority: int, dscp: int) -> None:
        """Let questions have this packet priority and code point."""
        self._prober.prefer(priority, dscp)

    def remember(self, findings: Iterable[tuple[Endpoint, str]]) -> None:
        """What earlier runs found: it moves the order of questions."""
        self._prober.remember(findings)

    def take(self) -> list[Answer]:
        """Answers since the last call."""
        self._news.clear()
        answers, self._answers = self._answers, []
        return answers

    async def changed(self) -> None:
        """Wait for an answer; returns at once where nothing is asked."""
        if self._asked and not self._answers:
            await self._news.wait()

    def nudge(self) -> None:
        """Let `changed` return; may be called from a signal handler."""
        self._loop.call_soon_threadsafe(self._news.set)

    async def close(self) -> None:
        """Stop asking; what was under way ends as `cancelled`."""
        self._of_peers.clear()
        if self._as_peer is not None:
            self._as_peer.close()
            self._as_peer = None
        for endpoint, forget in list(self._asked.items()):
            forget()
            if self._asked.pop(endpoint, None) is not None:
                self._put(Answer(endpoint=endpoint, outcome=Outcome.CANCELLED, detail="stopped"))
        await self._prober.close()

    def _heard(self, endpoint: Endpoint, evidence: Evidence) -> None:
        """Evidence of a dialogue, which says by itself what it is worth, or a greeting inside TLS.

        Greetings there come a round trip or two later than in clear, and the question that makes sure takes one more.
        Other replies wait to be weighed together.
        """
        telling = evidence.probe == evidence.signature or (evidence.probe == "listen" and evidence.over is Layer.TLS)
        if telling and evidence.confidence.rank >= Confidence.LIKELY.rank and self._early is not None:
            self._early(Answer(endpoint=endpoint, outcome=Outcome.ANSWERED, evidence=(evidence,), final=False))

    def _told(self, answer: Answer) -> None:
        question = self._of_peers.pop(answer.endpoint, None)
        if question is not None and self._as_peer is not None and self._as_peer.wants(question, answer):
            self._asked[answer.endpoint] = _nothing
            self._as_peer.ask(question, answer, self._told)
            return
        self._asked.pop(answer.endpoint, None)
        self._put(answer)

    def _put(self, answer: Answer) -> None:
        self._answers.append(answer)
        self._news.set()
        if self._wake is not None:
            self._wake()


def _nothing() -> None:
    """Take back what is not under way yet."""
