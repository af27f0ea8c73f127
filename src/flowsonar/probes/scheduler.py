"""Who is asked next: a queue of waiting conversations, heaviest first, few per host and bounded in all."""

from __future__ import annotations

import heapq
from dataclasses import dataclass, field
from typing import Final, Generic, TypeVar

__all__ = ["WAITING", "Scheduler"]

WAITING: Final = 1 << 16
"""Conversations that may wait; one more is turned away."""

_T = TypeVar("_T")


@dataclass(slots=True, order=True)
class _Entry(Generic[_T]):
    lightness: int  # negative weight: a heap gives its smallest first
    place: int  # first come, first served among equals
    item: _T = field(compare=False)
    host: str = field(compare=False)
    live: bool = field(compare=False, default=True)


class Scheduler(Generic[_T]):
    """Pure bookkeeping: `add`, `start` as often as it gives something, `finish`. Knows neither tasks nor clocks.

    `parallel` may be changed at any time.
    """

    def __init__(self, *, parallel: int, per_host: int, waiting: int = WAITING) -> None:
        self.parallel = parallel
        self._per_host = per_host
        self._most_waiting = waiting
        self._place = 0
        self._entries: dict[int, _Entry[_T]] = {}  # waiting, by id of the item
        self._hosts: dict[str, list[_Entry[_T]]] = {}  # waiting, one heap per host
        self._heads: list[tuple[int, int, str]] = []  # (lightness, place, host) of hosts that may start one
        self._running: dict[str, int] = {}
        self.active = 0
        self.turned_away = 0

    def __len__(self) -> int:
        """How many wait."""
        return len(self._entries)

    def add(self, item: _T, host: str, weight: int) -> bool:
        """Let `item` wait; False when too many wait already."""
        if len(self._entries) >= self._most_waiting:
            self.turned_away += 1
            return False
        self._place += 1
        entry = _Entry(-weight, self._place, item, host)
        self._entries[id(item)] = entry
        heapq.heappush(self._hosts.setdefault(host, []), entry)
        self._offer(host)
        return True

    def remove(self, item: _T) -> None:
        """`item` does not wait any more."""
        entry = self._entries.pop(id(item), None)
        if entry is not None:
            entry.live = False

    def start(self) -> tuple[_T, str] | None:
        """The next item to run and its host, or None when nothing may start now."""
        while self.active < self.parallel and self._heads:
            lightness, place, host = heapq.heappop(self._heads)
            head = self._head(host)
            if head is None or (head.lightness, head.place) != (lightness, place):
                self._offer(host)
                continue
            if self._running.get(host, 0) >= self._per_host:
                continue  # offered again when one of its conversations ends
            heapq.heappop(self._hosts[host])
            self._entries.pop(id(head.item), None)
            self._running[host] = self._running.get(host, 0) + 1
            self.active += 1
            self._offer(host)
            return head.item, host
        return None

    def finish(self, host: str) -> None:
        """A conversation with `host` that `start` gave has ended."""
        self.active -= 1
        left = self._running[host] - 1
        if left:
            self._running[host] = left
        else:
            del self._running[host]
        self._offer(host)

    def _head(self, host: str) -> _Entry[_T] | None:
        heap = self._hosts.get(host)
        while heap and not heap[0].live:
            heapq.heappop(heap)
        if not heap:
            self._hosts.pop(host, None)
            return None
        return heap[0]

    def _offer(self, host: str) -> None:
        """Name a host whose best waiting item may start; stale names are passed over by `start`."""
        head = self._head(host)
        if head is not None and self._running.get(host, 0) < self._per_host:
            heapq.heappush(self._heads, (head.lightness, head.place, host))
