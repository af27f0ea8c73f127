"""The classes' counters, read in a thread of their own: what marks must not wait for what people look at."""

from __future__ import annotations

import time
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TYPE_CHECKING, Final

from flowsonar.errors import ShapingError
from flowsonar.outputs.marks import ClassRow
from flowsonar.shaping.classes import DEFAULT_CLASSES
from flowsonar.shaping.counters import QueueCounters
from flowsonar.shaping.firewall import Firewall

if TYPE_CHECKING:
    from flowsonar.app.shapeplan import ShapePlan

__all__ = ["ClassRows"]

_EVERY_S: Final = 1.0

_WAYS: Final = ("", "up", "down")
_ORDER: Final = {one.name.value: one.number for one in DEFAULT_CLASSES}

_Raw = dict[tuple[str, str], tuple[int, int, int | None, int | None, float | None]]
"""(class, way) to packets, bytes, drops, backlog in bytes, delay in ms."""


class ClassRows:
    """Reads firewall and queues at most once a second, and keeps the last result. Close it."""

    def __init__(self, planned: ShapePlan, *, clock: Callable[[], float] = time.monotonic) -> None:
        self._firewall = Firewall()
        queues = planned.queues
        self._queues = None if queues is None else QueueCounters(queues.places, planned.policy.classes)
        self._clock = clock
        self._worker = ThreadPoolExecutor(max_workers=1)
        self._reading: Future[_Raw] | None = None
        self._read_s = clock() - _EVERY_S
        self._before: tuple[float, _Raw] | None = None
        self._rows: list[ClassRow] = []

    def rows(self, flows: dict[str, int]) -> list[ClassRow]:
        """As last read; begins to read anew when it is time. `flows`: marked flows that live, by class."""
        if self._reading is not None and self._reading.done():
            self._take(self._reading.result(), flows)
            self._reading = None
        if self._reading is None and self._clock() - self._read_s >= _EVERY_S:
            self._read_s = self._clock()
            self._reading = self._worker.submit(self._read)
        return self._rows

    def last(self, flows: dict[str, int]) -> list[ClassRow]:
        """Read now, and wait for it."""
        if self._reading is not None:
            self._reading.result()
            self._reading = None
        self._take(self._worker.submit(self._read).result(), flows)
        return self._rows

    def close(self) -> None:
        """End the thread."""
        self._worker.shutdown()

    def _take(self, raw: _Raw, flows: dict[str, int]) -> None:
        now_s = self._clock()
        before_s, before = self._before or (now_s, raw)
        took_s = now_s - before_s
        self._rows = []
        for (name, way), (packets, size, drops, backlog, delay_ms) in raw.items():
            grown = size - before[(name, way)][1] if (name, way) in before else 0
            rate_kbit = max(0, grown) * 8 / 1000 / took_s if took_s > 0 else 0.0
            counted = flows.get(name, 0) if not way else None
            self._rows.append(ClassRow(name, way, counted, packets, size, rate_kbit, drops, backlog, delay_ms))
        self._rows.sort(key=lambda row: (_WAYS.index(row.direction), _ORDER.get(row.name, len(_ORDER))))
        self._before = (now_s, raw)

    def _read(self) -> _Raw:
        found: _Raw = {}
        try:
            for name, (packets, size) in self._firewall.counters().items():
                found[(name, "")] = (packets, size, None, None, None)
        except ShapingError:
            pass  # the table is gone: whoever looks after it tells
        if self._queues is not None:
            try:
                for count in self._queues.read():
                    way = (count.name, count.direction)
                    found[way] = (count.packets, count.bytes, count.drops, count.backlog_bytes, count.delay_ms)
            except ShapingError:
                pass
        return found
