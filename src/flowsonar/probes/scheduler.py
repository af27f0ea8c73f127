"""Who is asked next: a queue of waiting conversations, heaviest first, few per host and bounded in all.

A conversation that goes on for long mostly waits: for a long path, or for a server that says nothing. `ease` lets
another one begin beside it; how many may be held for one host stays bounded.
"""

from __future__ import annotations

import heapq
from dataclasses import dataclass
from typing import Final, Generic, TypeVar

__all__ = ["EASED", "WAITING", "Scheduler"]

WAITING: Final = 1 << 16
"""Conversations that may wait; one more is turned away."""

EASED: Final = 3
"""Conversations with one host that do not count any more, for each one that may begin."""

_T = TypeVar("_T")


@dataclass(slots=True)
class _Entry(Generic[_T]):
    lightness: int  # negative weight: a heap gives its smallest first
    place: int  # first come, first served among equals
    item: _T
    live: bool = True


class Scheduler(Generic[_T]):
    """Pure bookkeeping: `add`, `start` as often as it gives something, `finish`. Knows neither tasks nor clocks.

    `parallel` may be changed at any time.
    """

    def __init__(self, *, parallel: int, per_host: int, most: int | None = None, waiting: int = WAITING) -> None:
        self.parallel = parallel
        self._most = parallel if most is None else most  # with those that do not count any more
        self._per_host = per_host
        self._most_waiting = waiting
        self._place = 0
        self._entries: dict[int, _Entry[_T]] = {}  # waiting, by id of the item
        self._hosts: dict[str, list[tuple[int, int, _Entry[_T]]]] = {}  # waiting, one heap per host
        self._heads: list[tuple[int, int, str]] = []  # (lightness, place, host) of hosts that may start one
        self._offered: dict[str, tuple[int, int]] = {}  # what stands in `_heads` for a host; other entries are stale
        self._running: dict[str, int] = {}
        self._eased: dict[str, int] = {}
        self.active = 0  # that count
        self.eased = 0  # that do not count any more
        self.turned_away = 0

    def __len__(self) -> int:
        """How many wait."""
        return len(self._entries)

    @property
    def ready(self) -> bool:
        """Whether `start` may give something: one may be held, and a host has one waiting."""
        return bool(self._heads) and self.active < self.parallel and self.active + self.eased < self._most

    def add(self, item: _T, host: str, weight: int) -> bool:
        """Let `item` wait; False when too many wait already."""
        if len(self._entries) >= self._most_waiting:
            self.turned_away += 1
            return False
        self._place += 1
        entry = _Entry(-weight, self._place, item)
        self._entries[id(item)] = entry
        heapq.heappush(self._hosts.setdefault(host, []), (-weight, self._place, entry))
        self._offer(host)
        return True

    def remove(self, item: _T) -> None:
        """`item` does not wait any more."""
        entry = self._entries.pop(id(item), None)
        if entry is not None:
            entry.live = False

    def start(self) -> tuple[_T, str] | None:
        """The next item to run and its host, or None when nothing may start now."""
        while self.ready:
            lightness, place, host = heapq.heappop(self._heads)
            if self._offered.get(host) != (lightness, place):
                continue
            del self._offered[host]
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

    def ease(self, host: str) -> bool:
        """A conversation with `host` takes long: it does not count any more. False where too many of them are held."""
        if self._eased.get(host, 0) >= EASED * self._per_host:
            return False
        self._eased[host] = self._eased.get(host, 0) + 1
        self.eased += 1
        self.active -= 1
        _less(self._running, host)
        self._offer(host)
        return True

    def finish(self, host: str, *, eased: bool = False) -> None:
        """A conversation with `host` that `start` gave has ended; `eased`: `ease` was told of it, and agreed."""
        if eased:
            self.eased -= 1
            _less(self._eased, host)
            return
        self.active -= 1
        _less(self._running, host)
        self._offer(host)

    def _head(self, host: str) -> _Entry[_T] | None:
        heap = self._hosts.get(host)
        while heap and not heap[0][2].live:
            heapq.heappop(heap)
        if not heap:
            self._hosts.pop(host, None)
            return None
        return heap[0][2]

    def _offer(self, host: str) -> None:
        """Name a host whose best waiting item may start; stale names are passed over by `start`."""
        head = self._head(host)
        if head is None or self._running.get(host, 0) >= self._per_host:
            return
        best = (head.lightness, head.place)
        if self._offered.get(host) != best:
            self._offered[host] = best
            heapq.heappush(self._heads, (*best, host))


def _less(counts: dict[str, int], host: str) -> None:
    left = counts[host] - 1
    if left:
        counts[host] = left
    else:
        del counts[host]
