"""Questions to answers: one prober, its tasks, and the mailbox that brings the answers back."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Iterable
from functools import partial

from flowsonar.app.parts import Parts
from flowsonar.config import Settings
from flowsonar.model import Answer, Endpoint, FlowKey, Outcome, Question
from flowsonar.probes import AuditEntry, Prober, Scope

__all__ = ["Asking"]


def _no_audit(_entry: AuditEntry) -> None:
    pass


class Asking:
    """Asks endpoints in the background; `take` gives the answers that came since the last call.

    `wake` is called when one has come. Bounded by `limits.QUESTIONS_WAITING` in the tracker, and by the prober.
    """

    def __init__(
        self,
        settings: Settings,
        parts: Parts,
        *,
        audit: Callable[[AuditEntry], None] = _no_audit,
        wake: Callable[[], None] | None = None,
    ) -> None:
        self._prober = Prober(parts.signatures, parts.matcher, settings, audit=audit)
        self._scope = Scope(settings.scope)
        self._dry_run = settings.dry_run
        self._tasks: set[asyncio.Task[None]] = set()
        self._answers: list[Answer] = []
        self._news = asyncio.Event()
        self._loop = asyncio.get_running_loop()
        self._wake = wake
        self.planned: list[tuple[Question, list[str]]] = []
        """With `dry_run`: what would have been asked."""

    @property
    def busy(self) -> int:
        """Questions that are not answered yet."""
        return len(self._tasks)

    def why_not(self, endpoint: Endpoint) -> str | None:
        """Why an endpoint may not be asked; None when it may."""
        return self._scope.permits(endpoint)

    def is_own(self, key: FlowKey) -> bool:
        """Whether a flow is our own probe traffic."""
        return self._prober.is_own(key)

    def counters(self) -> dict[str, int]:
        """What was sent and refused so far."""
        return self._prober.counters()

    def ask(self, questions: Iterable[Question]) -> None:
        """Begin to ask."""
        for question in questions:
            if self._dry_run:
                self.planned.append((question, self._prober.plan(question)))
                self._put(Answer(endpoint=question.endpoint, outcome=Outcome.NOT_PERMITTED, detail="dry run"))
                continue
            task = asyncio.get_running_loop().create_task(self._one(question))
            self._tasks.add(task)
            task.add_done_callback(partial(self._done, question, time.monotonic()))

    def take(self) -> list[Answer]:
        """Answers since the last call."""
        self._news.clear()
        answers, self._answers = self._answers, []
        return answers

    async def changed(self) -> None:
        """Wait for an answer; returns at once where nothing is asked."""
        if self._tasks and not self._answers:
            await self._news.wait()

    def nudge(self) -> None:
        """Let `changed` return; may be called from a signal handler."""
        self._loop.call_soon_threadsafe(self._news.set)

    async def close(self) -> None:
        """Stop asking; what was under way ends as `cancelled`."""
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        await self._prober.close()

    async def _one(self, question: Question) -> None:
        self._put(await self._prober.ask(question))

    def _put(self, answer: Answer) -> None:
        self._answers.append(answer)
        self._news.set()
        if self._wake is not None:
            self._wake()

    def _done(self, question: Question, began_s: float, task: asyncio.Task[None]) -> None:
        """Every question gets its answer, also when its task was cancelled before it began."""
        self._tasks.discard(task)
        error = None if task.cancelled() else task.exception()
        if task.cancelled() or error is not None:
            took_ms = (time.monotonic() - began_s) * 1000
            self._put(Answer(endpoint=question.endpoint, outcome=Outcome.CANCELLED, took_ms=took_ms))
        if error is not None:
            task.get_loop().call_exception_handler({"message": "asking an endpoint failed", "exception": error})
        self._news.set()
        if self._wake is not None:
            self._wake()
