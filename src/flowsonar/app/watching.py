"""The main job: live flows, from packets or from the kernel's own list, to labels."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import AsyncIterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, cast

from flowsonar import limits
from flowsonar.app.asking import Asking, of_flows
from flowsonar.app.clock import Clock
from flowsonar.app.connections import ConnectionSource
from flowsonar.app.lanes import lanes_wanted
from flowsonar.app.packets import PacketSource
from flowsonar.app.parts import Parts
from flowsonar.app.sources import Source
from flowsonar.config import Settings
from flowsonar.errors import ConfigError, ShapingError, StoreError
from flowsonar.model import Answer, FlowRecord
from flowsonar.probes import AuditEntry
from flowsonar.signatures.cachefile import before_making
from flowsonar.verdicts.store import Store
from flowsonar.verdicts.tracker import Tracker

if TYPE_CHECKING:
    from flowsonar.app.livelanes import LiveLanes
    from flowsonar.app.shaping import Shaping

__all__ = ["Watching"]

_log = logging.getLogger(__name__)

_AT_A_TIME = 4
"""Events after which it is seen whom to ask: the first of many flows does not wait until the last one was looked at."""
_CHECK_NS = 1_000_000_000
"""Source and store are looked after once a second."""


class Watching:
    """Watches interfaces until `stop` is called or `duration_s` is over; one that goes away is waited for.

    Without an interface the kernel's connection tracking is watched, and nothing is read of the flows themselves.

    Iterate it (`async for record in watching`) or take `batches`. Raises CaptureError where an interface cannot be
    opened. What was seen until the end is recorded before the iteration ends, however it ends.
    """

    def __init__(
        self,
        interfaces: Sequence[str],
        settings: Settings | None = None,
        *,
        duration_s: float | None = None,
        write: str | Path | None = None,
        filter_expression: str | None = None,
        parts: Parts | None = None,
        shaping: Shaping | None = None,
    ) -> None:
        """`shaping` acts on the labels."""
        self.settings = settings or Settings()
        if not interfaces and (write is not None or filter_expression is not None):
            raise ConfigError("connection tracking has no packets to write or filter: name an interface")
        if interfaces and self.settings.ask_as_peer and not self.settings.passive:
            from flowsonar.shaping.datagram import OURS  # noqa: PLC0415 - who does not ask so does not wait for it

            # What we say in a peer's name must not be read as the peer's own words.
            wanted = filter_expression or self.settings.capture.filter
            filter_expression = f"({wanted}) and not ({OURS})" if wanted else f"not ({OURS})"
        self._source: Source = (
            PacketSource(
                interfaces,
                self.settings.flows,
                write=write,
                filter_expression=filter_expression,
                capture=self.settings.capture,
            )
            if interfaces
            else ConnectionSource(self.settings.flows)
        )
        self.interfaces = self._source.interfaces
        self._duration_s = duration_s
        self._parts = parts
        self._shaping = shaping
        self._began_s = time.monotonic(), time.process_time()
        self._wake = asyncio.Event()
        self._stopping = False
        self._capturing = False
        self._clock = Clock()
        self._check_ns = 0  # of the clock that never jumps
        self._tracker: Tracker | None = None
        self._asking: Asking | None = None
        self._lines = False
        self._lanes: LiveLanes | None = None
        self._ended: list[bytes | FlowRecord] = []  # what the lanes gave
        self._store: Store | None = None
        self._store_told = False
        self.ending = False
        """The batch that comes now is the last one."""
        self.problems: list[str] = []
        """What went wrong without ending the run: an interface that vanished, a store or file that is full."""

    # -- for users ----------------------------------------------------------------------------------------------

    def stop(self) -> None:
        """End the run; the iteration gives what is left and ends. May be called from a signal handler."""
        self._stopping = True
        self._wake.set()

    @property
    def planned(self) -> list[tuple[str, list[str]]]:
        """With `dry_run`: endpoints that would have been asked, and the probes, since the last call."""
        if self._asking is None:
            return []
        planned, self._asking.planned = self._asking.planned, []
        return [
            (f"{question.endpoint.address} {question.endpoint.port}/{question.endpoint.transport}", probes)
            for question, probes in planned
        ]

    def counters(self) -> dict[str, int]:
        """What was seen, dropped, asked and refused so far."""
        counts = dict(self._source.counters())
        counts["elapsed_ms"] = int((time.monotonic() - self._began_s[0]) * 1000)
        counts["cpu_ms"] = int((time.process_time() - self._began_s[1]) * 1000)
        if self._lanes is not None:
            counts |= self._lanes.counts()
        elif self._tracker is not None:
            counts |= self._tracker.counts
        if self._asking is not None:
            counts |= self._asking.counters()
        return counts

    async def __aiter__(self) -> AsyncIterator[FlowRecord]:
        async for batch in self.batches():
            for record in batch:
                yield record

    def batches(self) -> AsyncIterator[list[FlowRecord]]:
        """Records as they come, some at a time; also an empty list now and then, for a screen to refresh."""
        return cast("AsyncIterator[list[FlowRecord]]", self._run())

    def lines(self) -> AsyncIterator[list[bytes | FlowRecord]]:
        """Like `batches`, in the fast lane where flows need no Python: their records are JSON lines."""
        self._lines = True
        return self._run()

    async def _run(self) -> AsyncIterator[list[bytes | FlowRecord]]:
        loop = asyncio.get_running_loop()
        self._open()
        deadline = None if self._duration_s is None else loop.time() + self._duration_s
        try:
            while not self._stopping and (deadline is None or loop.time() < deadline):
                self._wake.clear()
                self._turn()
                yield self._taken()
                if not self._wake.is_set():
                    await self._sleep(deadline)
            await self._finish()
            self.ending = True
            yield self._taken()
        finally:
            await self._close()

    # -- one turn -----------------------------------------------------------------------------------------------

    def _turn(self) -> None:
        """Take what the source has, then what is due."""
        tracker = self._tracker
        assert tracker is not None
        clock = self._clock
        if jump_ns := clock.jumped_ns():
            _log.warning("the clock was set by %.3f s", jump_ns / 1e9)
            tracker.clock_jumped(jump_ns)
        self._answers(clock.now_ns())  # before the packets: a verdict is waited for
        self._take()
        now_ns = clock.now_ns()
        if clock.steady_ns() >= self._check_ns:
            self._check_ns = clock.steady_ns() + _CHECK_NS
            for problem in self._source.check():
                self._problem(problem)
            self._check_store()
        if self._lanes is not None:
            self._ended += self._lanes.expire(now_ns)
        else:
            tracker.feed(self._source.expire(now_ns), now_ns)
        self._answers(now_ns)
        tracker.due(now_ns)
        self._questions()
        self._instruct()
        if self._shaping is not None:
            self._shaping.turn(tracker.records, now_ns)
            for problem in self._shaping.problems:
                self._problem(problem)
            self._shaping.problems.clear()

    def _take(self) -> None:
        assert self._tracker is not None
        if self._lanes is None:
            for events in self._source.events():
                for first in range(0, len(events), _AT_A_TIME):
                    self._tracker.feed(events[first : first + _AT_A_TIME], self._clock.now_ns())
                    self._questions()
            return
        assert isinstance(self._source, PacketSource)
        for block in self._source.blocks():
            self._ended += self._lanes.feed(block, self._clock.now_ns())
            self._instruct()

    def _answers(self, now_ns: int) -> None:
        assert self._tracker is not None
        if self._asking is not None:
            for answer in self._asking.take():
                self._tracker.answer(answer, now_ns)

    def _heard(self, answer: Answer) -> None:
        """Take what an endpoint has proved so far, which other conversations must not keep waiting."""
        if self._tracker is not None:
            self._tracker.answer(answer, self._clock.now_ns())
        self._wake.set()

    def _questions(self) -> None:
        assert self._tracker is not None
        if self._asking is not None and self._tracker.withdrawn:
            self._asking.withdraw(self._tracker.withdrawn)
            self._tracker.withdrawn.clear()
        if self._asking is not None and self._tracker.expected:
            self._asking.expect(self._tracker.expected)
            self._tracker.expected.clear()
        if self._asking is not None and self._tracker.questions:
            # what is asked beside something else comes after what it is beside
            questions = sorted(self._tracker.questions, key=lambda question: question.hints.beside)
            self._tracker.questions.clear()
            self._asking.ask(questions)

    def _instruct(self) -> None:
        assert self._tracker is not None
        for flow in self._tracker.follows:
            self._source.follow(flow)
        self._tracker.follows.clear()
        for flow in self._tracker.releases:
            self._source.release(flow)
        self._tracker.releases.clear()

    def _taken(self) -> list[bytes | FlowRecord]:
        assert self._tracker is not None
        if self._lanes is not None:
            ended, self._ended = self._ended, []
            return [*ended, *self._lanes.records()] if self._tracker.records else ended
        records, self._tracker.records = self._tracker.records, []
        return cast("list[bytes | FlowRecord]", records)

    async def _sleep(self, deadline: float | None) -> None:
        """Until a ring has something, an answer came, a grace is over, or the housekeeping is due."""
        assert self._tracker is not None
        wait_s = limits.HOUSEKEEPING_S
        if (due_ns := self._tracker.next_due_ns) is not None:
            wait_s = min(wait_s, max(0.0, (due_ns - self._clock.now_ns()) / 1e9))
        if deadline is not None:
            wait_s = min(wait_s, max(0.0, deadline - asyncio.get_running_loop().time()))
        timer = asyncio.get_running_loop().call_later(wait_s, self._wake.set)
        try:
            await self._wake.wait()
        finally:
            timer.cancel()

    # -- beginning and end --------------------------------------------------------------------------------------

    def _open(self) -> None:
        """What takes long to load is loaded before capture begins: what is seen is judged at once.

        Where patterns must be compiled first, which takes seconds, the rings keep what comes meanwhile.
        """
        try:
            with before_making(self._capture):
                parts = self._load()
            self._capture()
        except BaseException:
            if self._capturing:
                self._source.close()
            raise
        self._connect(parts)
        loop = asyncio.get_running_loop()
        for descriptor in self._source.descriptors():
            loop.add_reader(descriptor, self._wake.set)
        _log.info("watching %s", ", ".join(self.interfaces) or "connection tracking")

    def _capture(self) -> None:
        if not self._capturing:
            self._source.open()
            self._capturing = True

    def _load(self) -> Parts:
        parts = self._parts or Parts.load(self.settings)
        parts.matcher.prepare(replies=not self.settings.passive, payloads=True)
        if not self.settings.passive:
            self._asking = Asking(
                of_flows(self.settings), parts, audit=self._audit, wake=self._wake.set, early=self._heard
            )
        return parts

    def _connect(self, parts: Parts) -> None:
        """Store, tracker and shaping. Who waits for the store's file may rely on the capture."""
        self._open_store()
        if self._asking is not None and self._store is not None:
            self._asking.remember(self._store.lately())
        shaping, cache = self._shaping, self._store
        if self._wants_lanes(parts):
            self._connect_lanes(parts)
            return
        self._tracker = Tracker(
            parts.new_reader(),
            parts.signatures,
            cache=cache if shaping is None or cache is None else shaping.listening(cache),
            ask=self._asking is not None,
            live=True,
            permits=self._asking.why_not if self._asking is not None else lambda _: None,
            own=self._asking.is_own if self._asking is not None else None,
            decided=None if shaping is None else shaping.decided,
            interfaces=self.interfaces,
        )
        if shaping is not None:
            shaping.open(self._store, parts.signatures)
            if self._asking is not None and shaping.preferred is not None:
                self._asking.prefer(*shaping.preferred)
            shaping.attach(self._tracker)

    def _wants_lanes(self, parts: Parts) -> bool:
        """Whether lines are wanted, and only the records act on what flows are."""
        source = self._source
        if not self._lines or self._shaping is not None or not lanes_wanted():
            return False
        return isinstance(source, PacketSource) and not source.shows_all and not parts.knows_products

    def _connect_lanes(self, parts: Parts) -> None:
        from flowsonar.app.livelanes import LiveLanes  # noqa: PLC0415 - most runs do without it
        from flowsonar.app.remembered import Remembered  # noqa: PLC0415

        assert isinstance(self._source, PacketSource)
        table, kept = self._source.with_lanes(parts.lane_tables), Remembered(parts.digest, kind="live")
        now_ns = self._clock.now_ns()
        self._lanes = LiveLanes(table, parts, self._store, self.interfaces, kept, now_ns, self._asking)
        self._tracker = self._lanes.tracker

    def _open_store(self) -> None:
        try:
            self._store = Store(self.settings.store)
        except StoreError as error:
            self._problem(f"{error}; going on without it, verdicts are not kept")

    async def _finish(self) -> None:
        """The last packets, the answers under way as `cancelled`, and every flow that is still open."""
        if self._source.settle_s:
            await asyncio.sleep(self._source.settle_s)
        self._turn()
        tracker = self._tracker
        assert tracker is not None
        if self._asking is not None:
            await self._asking.close()
            self._answers(self._clock.now_ns())
        tracker.stop_asking()
        if self._lanes is not None:
            self._ended += self._lanes.finish(self._clock.now_ns())
        else:
            tracker.feed(self._source.finish(), self._clock.now_ns())

    async def _close(self) -> None:
        loop = asyncio.get_running_loop()
        for descriptor in self._source.descriptors():
            loop.remove_reader(descriptor)
        for problem in self._source.close():
            self._problem(problem)
        if self._shaping is not None:
            try:
                self._shaping.close()
            except ShapingError as error:
                self._problem(str(error))
        if self._asking is not None:
            await self._asking.close()
        if self._store is not None:
            try:
                self._store.close()
            except StoreError as error:
                self._problem(str(error))

    # -- what goes wrong without ending the run -----------------------------------------------------------------

    def _problem(self, text: str) -> None:
        self.problems.append(text)
        _log.warning("%s", text)

    def _check_store(self) -> None:
        """A store that cannot be written (a full disk) is told once; labels go on."""
        if self._store is not None and self._store.problem is not None and not self._store_told:
            self._store_told = True
            self._problem(self._store.problem)

    def _audit(self, entry: AuditEntry) -> None:
        if self._store is not None:
            self._store.audit(entry)
