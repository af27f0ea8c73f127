"""Captures: packets of a file or of standard input to flow records."""

from __future__ import annotations

import time
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, cast

from flowsonar.app.lanes import Lanes, LaneTable, lanes_wanted
from flowsonar.app.parts import Parts
from flowsonar.app.remembered import Remembered
from flowsonar.capture.capturefile import CaptureFile, open_capture
from flowsonar.config import Settings
from flowsonar.errors import CaptureError
from flowsonar.flows.events import FlowEvent
from flowsonar.flows.table import FlowTable, make_table
from flowsonar.model import Block, FlowRecord
from flowsonar.passive import FOLLOW

if TYPE_CHECKING:  # most runs ask nobody: sockets, TLS and their event loop are imported by those that do
    from flowsonar.app.asking import Asking
    from flowsonar.passive import PassiveReader
    from flowsonar.verdicts.tracker import Tracker

__all__ = ["Progress", "Reading"]

Progress = Callable[[str, int, int | None], None]
"""Called now and then with the capture's name, the bytes read of it and its size (None where not known)."""


_PART = 1024
"""Events at a time when a capture ends: their records are written while they are still in the processor's cache."""


class Reading:
    """One run over captures, each with a flow table of its own (their times need not agree).

    After the run `problems` has a line for every capture that is damaged, and `counters` what was read and dropped.
    """

    def __init__(
        self,
        captures: Sequence[str | Path],
        settings: Settings | None = None,
        *,
        parts: Parts | None = None,
        progress: Progress | None = None,
        cache: Path | None = None,
    ) -> None:
        """`cache` is the folder for what captures taught, by default `cache_directory()`."""
        self.settings = settings or Settings()
        self._captures = [str(capture) for capture in captures]
        self._parts = parts or Parts(self.settings)
        self._progress = progress
        self._cache = cache
        self._remembered: Remembered | None = None
        self._stopping = False
        self._waiting = False  # for a capture's bytes, which may be a pipe's that never come
        self._wake: Callable[[], None] | None = None
        self.problems: list[str] = []
        self.counters: dict[str, int] = {}

    def stop(self) -> None:
        """End the run as if the captures ended here: flows that are open are recorded. For signal handlers.

        Raises KeyboardInterrupt, once, out of a read that waits for bytes; the run takes it as its end.
        """
        if self._stopping:
            raise KeyboardInterrupt
        self._stopping = True
        self.problems.append("interrupted: the flows until here were recorded")
        if self._wake is not None:
            self._wake()
        if self._waiting:
            raise KeyboardInterrupt

    def batches(self) -> Iterator[list[FlowRecord]]:
        """Records as they come, some at a time; asks nobody. Raises CaptureError where its only capture is none."""
        for name, capture in self._opened():
            with capture:
                table, tracker = self._wire(capture)
                for block in self._blocks(capture):
                    tracker.feed(table.feed(block))
                    yield self._taken(name, capture, table, tracker)
                for events in _in_parts(table.finish()):
                    tracker.feed(events)
                    yield self._taken(name, capture, table, tracker)
                self._sum_up(capture, table, tracker.counts)

    def lines(self, *, whole: bool = False) -> Iterator[Sequence[bytes | FlowRecord]]:
        """Like `batches`, in the fast lane where there is one: most flows as JSON lines, some at a time.

        `whole` lines have all that a record is made of: `outputs.decode` makes it.
        """
        # Where recog's fingerprints are used, they may name a product of any banner.
        if not lanes_wanted() or self._parts.knows_products:
            yield from self.batches()
            return
        for name, capture in self._opened():
            with capture:
                table, lanes = self._wire_lanes(capture)
                if whole:
                    table.write_whole()
                for block in self._blocks(capture):
                    yield lanes.feed(block)
                    self._taken(name, capture, table, lanes.tracker)
                for ended in lanes.finish():
                    yield ended
                    self._taken(name, capture, table, lanes.tracker)
                self._sum_up(capture, table, lanes.counts())
                if self._remembered is not None:
                    lanes.remember(self._remembered)
                lanes.close()
        if self._remembered is not None:
            self._remembered.save()

    def __iter__(self) -> Iterator[FlowRecord]:
        for batch in self.batches():
            yield from batch

    async def __aiter__(self) -> AsyncIterator[FlowRecord]:
        """The same for asynchronous programs: gives way to other tasks after each block."""
        import asyncio

        for batch in self.batches():
            for record in batch:
                yield record
            await asyncio.sleep(0)

    async def asking(self) -> AsyncIterator[list[FlowRecord]]:
        """Like `batches`, but asks the endpoints that are still there. Flows are reported once their answers came."""
        import asyncio

        from flowsonar.app.asking import Asking, of_flows

        asking = Asking(of_flows(self.settings), self._parts)
        self._wake = asking.nudge
        try:
            for name, capture in self._opened():
                with capture:
                    table, tracker = self._wire(capture, asking)
                    for block in self._blocks(capture):
                        tracker.feed(table.feed(block))
                        self._release(table, tracker)
                        asking.ask(tracker.questions)
                        tracker.questions.clear()
                        await asyncio.sleep(0)
                        for answer in asking.take():
                            tracker.answer(answer, time.time_ns())
                    tracker.due(1 << 63)
                    while (tracker.questions or asking.busy) and not self._stopping:
                        asking.ask(tracker.questions)
                        tracker.questions.clear()
                        await asking.changed()
                        for answer in asking.take():
                            tracker.answer(answer, time.time_ns())
                    if self._stopping:
                        await self._leave(asking, tracker)
                    tracker.feed(table.finish())
                    yield self._taken(name, capture, table, tracker)
                    self._sum_up(capture, table, tracker.counts)
        finally:
            self._wake = None
            await asking.close()

    async def _leave(self, asking: Asking, tracker: Tracker) -> None:
        """Answers under way end as `cancelled`; flows are recorded with what is known."""
        asking.ask(tracker.questions)  # they too are to be cancelled: flows wait for their answers
        tracker.questions.clear()
        await asking.close()
        tracker.stop_asking()
        for answer in asking.take():
            tracker.answer(answer, time.time_ns())

    def _opened(self) -> Iterator[tuple[str, CaptureFile]]:
        """The captures, one after the other, until `stop`. Of several, one that cannot be opened is passed over."""
        for name in self._captures:
            if self._stopping:
                return
            self._waiting = True
            try:
                capture = open_capture(name)
            except KeyboardInterrupt:
                self._interrupted()
                return
            except CaptureError as error:
                if len(self._captures) == 1:
                    raise
                self.problems.append(str(error))
                continue
            finally:
                self._waiting = False
            yield name, capture

    def _blocks(self, capture: CaptureFile) -> Iterator[Block]:
        """A capture's blocks, until `stop`."""
        blocks = iter(capture)
        while not self._stopping:
            self._waiting = True
            try:
                block = next(blocks, None)
            except KeyboardInterrupt:
                self._interrupted()
                return
            finally:
                self._waiting = False
            if block is None:
                return
            yield block

    def _interrupted(self) -> None:
        if not self._stopping:  # no handler called `stop`: a Python program was interrupted, and shall know it
            raise KeyboardInterrupt

    def _wire(self, capture: CaptureFile, asking: Asking | None = None) -> tuple[FlowTable, Tracker]:
        from flowsonar.verdicts.tracker import Tracker

        table = make_table(self.settings.flows, follow=FOLLOW)
        tracker = Tracker(
            self._parts.new_reader(),
            self._parts.signatures,
            ask=asking is not None,
            permits=asking.why_not if asking is not None else lambda _: None,
            interfaces=capture.interfaces,
        )
        return table, tracker

    def _wire_lanes(
        self, capture: CaptureFile, *, seed: bytes | None = None, remembers: bool = True
    ) -> tuple[LaneTable, Lanes]:
        made = make_table(self.settings.flows, follow=FOLLOW, lanes=self._parts.lane_tables, seed=seed)
        table = cast("LaneTable", made)
        if self._remembered is None and remembers:
            self._remembered = Remembered(self._parts.digest, cache=self._cache)
        kept = self._remembered.kept if self._remembered is not None else None
        if kept is not None:
            table.recall(kept)

        def python() -> tuple[Tracker, PassiveReader]:
            from flowsonar.verdicts.tracker import Tracker

            reader = self._parts.new_reader(table.holding)
            return Tracker(reader, self._parts.signatures, interfaces=capture.interfaces), reader

        return table, Lanes(table, python, capture.interfaces)

    def _taken(self, name: str, capture: CaptureFile, table: FlowTable, tracker: Tracker | None) -> list[FlowRecord]:
        if self._progress is not None:
            self._progress(name, capture.position, capture.size)
        if tracker is None:
            return []
        self._release(table, tracker)
        records, tracker.records = tracker.records, []
        return records

    def _release(self, table: FlowTable, tracker: Tracker) -> None:
        for flow in tracker.follows:
            table.follow(flow)
        tracker.follows.clear()
        for flow in tracker.releases:
            table.release(flow)
        tracker.releases.clear()

    def _sum_up(self, capture: CaptureFile, table: FlowTable, counts: dict[str, int]) -> None:
        if capture.problem is not None:
            self.problems.append(capture.problem)
        for key, count in (table.counters() | counts).items():
            self.counters[key] = self.counters.get(key, 0) + count


def _in_parts(events: list[FlowEvent]) -> Iterator[list[FlowEvent]]:
    """The events some at a time, letting go of them: the last ones of a long capture are many."""
    while events:
        yield events[:_PART]
        del events[:_PART]
