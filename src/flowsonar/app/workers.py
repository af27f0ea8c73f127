"""Captures read by several processes, which share the flows out among them.

Each worker reads the whole capture and keeps the whole flow table, so that all of them number, time out and close the
same flows alike; it looks into the payloads of its own share only (`_native/lane.h`, `lane_share`), which is where the
time goes. What the flows of others may say about its own (announced media, hosts that run Skype) it follows as well.
So the records are those of one process, and their ordinals put them into its order again.
"""

from __future__ import annotations

import fcntl
import gc
import mmap
import os
import select
import signal
import stat
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Final, TypeVar, cast

from flowsonar import _native
from flowsonar.app.handover import (
    CAPTURE_SHIFT,
    FOREVER,
    PIPE_BYTES,
    End,
    Form,
    Receiver,
    Room,
    Sender,
    merged_lines,
    merged_records,
)
from flowsonar.app.lanes import lanes_wanted
from flowsonar.app.parts import Parts
from flowsonar.app.reading import Progress, Reading
from flowsonar.app.remembered import Remembered
from flowsonar.capture.capturefile import CaptureFile
from flowsonar.config import Settings
from flowsonar.errors import ConfigError, FlowsonarError
from flowsonar.model import Block, FlowRecord

__all__ = ["WORKERS_MAX", "WorkerReading", "workers_of"]

WORKERS_MAX: Final = 256
"""`MERGE_PARTS` in `_native/merge.h`."""
_HELD_BYTES: Final = 1 << 26
"""Of a worker that is ahead of the others: it waits then."""
_F_SETPIPE_SZ: Final = 1031  # linux/fcntl.h
_SIGNALS: Final = {signal.SIGINT, signal.SIGTERM, signal.SIGHUP}

T = TypeVar("T")


def workers_of(count: int) -> int:
    """How many are meant: 0 is one for each core that this process may use. Raises ConfigError."""
    if not 0 <= count <= WORKERS_MAX:
        raise ConfigError(f"workers: {count} were asked for: give 1 to {WORKERS_MAX}, or 0 for one on each core")
    return count or len(os.sched_getaffinity(0))


class WorkerReading(Reading):
    """A `Reading` by several processes. Asks nobody. Captures are files: each worker reads them by itself.

    Raises ConfigError for what is no file, or where the C core is missing.
    """

    def __init__(
        self,
        captures: Sequence[str | Path],
        settings: Settings | None = None,
        *,
        workers: int,
        parts: Parts | None = None,
        progress: Progress | None = None,
        cache: Path | None = None,
    ) -> None:
        super().__init__(captures, settings, parts=parts, progress=progress, cache=cache)
        assert 1 <= workers <= WORKERS_MAX
        if _native.core is None:
            raise ConfigError(f"several workers need the C core ({_native.reason}): leave --workers out")
        for name in self._captures:
            if name == "-" or not _may_be_file(name):
                what = "standard input" if name == "-" else name
                raise ConfigError(f"{what}: several workers read files only: save it as one, or leave --workers out")
        self._count = workers
        self._seed = os.urandom(16)
        self._pids: list[int] = []
        self._receivers: list[Receiver] = []
        self._rooms: list[Room] = []
        # Shared by all: the block at which they stop, then the block that each has come to.
        self._words = memoryview(mmap.mmap(-1, 8 * (1 + WORKERS_MAX))).cast("Q")
        self._words[0] = FOREVER
        self._number = 0
        self._block = 0

    def stop(self) -> None:
        """End the run as if the captures ended where the workers are now. For signal handlers.

        Raises KeyboardInterrupt when called again.
        """
        if self._stopping:
            raise KeyboardInterrupt
        self._stopping = True
        self.problems.append("interrupted: the flows until here were recorded")
        self._words[0] = max(self._words[1:]) + 1

    def batches(self) -> Iterator[list[FlowRecord]]:
        """Records as `Reading` gives them, in its order."""
        for found in self._merged(merged_records, Form.RECORDS):
            yield cast("list[FlowRecord]", found)

    def lines(self, *, whole: bool = False) -> Iterator[Sequence[bytes | FlowRecord]]:
        """Lines as `Reading` gives them, in its order."""
        if whole:
            yield from self._merged(merged_records, Form.WHOLE)
            return
        yield from self._merged(merged_lines, Form.LINES)

    # -- the parent ---------------------------------------------------------------------------------------------

    def _merged(self, merged: Callable[[Sequence[Receiver], int], T], form: Form) -> Iterator[T]:
        slow = form is Form.RECORDS or not lanes_wanted() or self._parts.knows_products
        _ = (
            self._parts.lane_tables,
            self._parts.matcher,
        )  # once, for all of them: what is not in the cache takes seconds
        if not slow:
            self._remembered = Remembered(self._parts.digest, cache=self._cache)
        descriptors: list[int] = []
        try:
            for number in range(self._count):
                room = Room()
                self._rooms.append(room)
                descriptors.append(self._fork(number, descriptors, form, room, slow=slow))
                room.close_for_parent()
                self._receivers.append(Receiver(descriptors[-1], room))
            given = 0
            while given < FOREVER:
                self._receive(descriptors)
                done = min(one.done for one in self._receivers)
                if done > given:
                    given = done
                    found = merged(self._receivers, done)
                    if found:
                        yield found
            self._conclude([one.end for one in self._receivers if one.end is not None])
        finally:
            for descriptor in descriptors:
                os.close(descriptor)
            for room in self._rooms:
                room.close()
            self._reap()

    def _fork(self, number: int, others: list[int], form: Form, room: Room, *, slow: bool) -> int:
        """Start a worker; gives the descriptor to hear from it."""
        reading, writing = os.pipe()
        with suppress(OSError):  # users have a limit for all pipes together
            fcntl.fcntl(writing, _F_SETPIPE_SZ, PIPE_BYTES)
        blocked = signal.pthread_sigmask(signal.SIG_BLOCK, _SIGNALS)
        try:
            pid = os.fork()
            if not pid:
                for one in _SIGNALS:  # the parent decides about the end
                    signal.signal(one, signal.SIG_IGN)
                for descriptor in (reading, *others):
                    os.close(descriptor)
                for other in self._rooms:  # its own and those of the workers before it
                    other.close_for_worker()
                gc.freeze()  # what the parent made is its own: to look through it would copy it
                self._progress, self._stopping, self.problems = None, False, []
                self._number = number
                self._serve(Sender(writing, form, room), slow=slow)
        finally:
            signal.pthread_sigmask(signal.SIG_SETMASK, blocked)
        os.close(writing)
        self._pids.append(pid)
        return reading

    def _receive(self, descriptors: list[int]) -> None:
        """Wait for messages; a worker that is far ahead of the slowest is not read."""
        slowest = min(one.done for one in self._receivers)
        waiting = select.poll()
        for descriptor, one in zip(descriptors, self._receivers, strict=True):
            if one.end is None and (one.held_bytes < _HELD_BYTES or one.done == slowest):
                waiting.register(descriptor, select.POLLIN)
        ready = {descriptor for descriptor, _ in waiting.poll()}
        for number, (descriptor, one) in enumerate(zip(descriptors, self._receivers, strict=True)):
            if descriptor in ready and not one.read():
                raise FlowsonarError(f"a worker ended before its time ({self._status(number)}): try fewer of them")
        first = self._receivers[0]
        if self._progress is not None and first.end is None:
            name = self._captures[min(first.done >> CAPTURE_SHIFT, len(self._captures) - 1)]
            with suppress(OSError):
                self._progress(name, first.position, Path(name).stat().st_size)

    def _conclude(self, ends: list[End]) -> None:
        """Add up what the workers counted. What tables count they have all counted alike."""
        self.problems += ends[0].problems
        counts: dict[str, int] = {}
        for end in ends:
            _add(counts, end.counts)
        self.counters |= ends[0].table | counts
        best = max(ends, key=lambda end: end.learned)
        if self._remembered is not None and best.learned:  # each learned of its share: the next run goes on from there
            self._remembered.keep(best.kept)
            self._remembered.save()

    def _status(self, number: int) -> str:
        _, status = os.waitpid(self._pids[number], 0)
        del self._pids[number]
        return f"signal {os.WTERMSIG(status)}" if os.WIFSIGNALED(status) else f"exit code {os.WEXITSTATUS(status)}"

    def _reap(self) -> None:
        whole = self._receivers and all(one.end is not None for one in self._receivers)
        for pid in self._pids:
            if not whole:
                os.kill(pid, signal.SIGKILL)
            os.waitpid(pid, 0)
        self._pids.clear()
        self._receivers.clear()
        self._rooms.clear()

    # -- a worker -----------------------------------------------------------------------------------------------

    def _serve(self, sender: Sender, *, slow: bool) -> None:
        """The life of a worker's process."""
        code = 1
        try:
            try:
                self._work(sender, slow=slow)
                code = 0
            except FlowsonarError as error:
                sender.failed(error)
            except (OSError, MemoryError) as error:
                if not isinstance(error, BrokenPipeError):  # else the parent wants no more
                    sender.failed(FlowsonarError(str(error) or "the memory is used up: try fewer workers"))
        finally:
            os._exit(code)

    def _work(self, sender: Sender, *, slow: bool) -> None:
        table_counts: dict[str, int] = {}
        counts: dict[str, int] = {}
        learned, kept = 0, b""
        for number, (name, capture) in enumerate(self._opened()):
            with capture:
                table, lanes = self._wire_lanes(capture, seed=self._seed, remembers=not slow)
                lanes.table.share(self._number, self._count, slow)
                if sender.form is Form.WHOLE:
                    table.write_whole()
                sender.begin(number)
                for block in self._blocks(capture):
                    sender.add(lanes.feed(block), lanes, capture.position)
                    self._taken(name, capture, table, lanes.tracker)
                for ended in lanes.finish():
                    sender.add(ended, lanes, capture.position)
                    self._taken(name, capture, table, lanes.tracker)
                sender.flush(lanes)
                if capture.problem is not None:
                    self.problems.append(capture.problem)
                _add(table_counts, table.counters())
                _add(counts, lanes.counts())
                now = lanes.counts()["lane_learned"]
                if now > learned and not slow:
                    learned, kept = now, lanes.table.keep()
                lanes.close()
        sender.end(End(self.problems, table_counts, counts, learned, kept))

    def _blocks(self, capture: CaptureFile) -> Iterator[Block]:
        for block in super()._blocks(capture):
            self._block += 1
            self._words[1 + self._number] = self._block
            if self._block > self._words[0]:
                self._stopping = True
                return
            yield block


def _add(sums: dict[str, int], counts: dict[str, int]) -> None:
    for key, count in counts.items():
        sums[key] = sums.get(key, 0) + count


def _may_be_file(name: str) -> bool:
    """Whether it is a file or a folder, or nothing at all: that is told when it is opened."""
    try:
        mode = Path(name).stat().st_mode
    except (OSError, ValueError):
        return True
    return stat.S_ISREG(mode) or stat.S_ISDIR(mode)
