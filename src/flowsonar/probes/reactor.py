"""Many sockets and deadlines behind one descriptor and one timer of the event loop.

An event loop's own readers and timers cost a dozen calls for every wait; a conversation waits a few times and there
are thousands a second. Here a socket is registered once, edge-triggered, and a deadline is one entry of a heap that
is passed over when it has become stale. The reactor's own epoll descriptor is what the event loop watches.
"""

from __future__ import annotations

import asyncio
import heapq
import select
import time
from typing import Final, Protocol

__all__ = ["IDLE", "Reactor", "Watched"]

IDLE: Final = float("inf")
"""`due_s` of who waits for no time."""

_EDGES: Final = select.EPOLLIN | select.EPOLLOUT | select.EPOLLRDHUP | select.EPOLLET
_BATCH: Final = 64
"""Sockets served before the event loop has its turn again."""
_EARLY_S: Final = 0.0005
"""Event loops round their timers: what is due within this is due."""
_STALE: Final = 4096
"""Stale deadlines that may lie in the heap beside as many live ones."""


class Watched(Protocol):
    """Who is told."""

    due_s: float
    """The deadline that counts, in monotonic seconds; an entry of the heap with another time is stale."""

    def ready(self, mask: int) -> None:
        """The socket can be read or written, or has ended: an edge, told once."""

    def late(self) -> None:
        """`due_s` has come."""


class Reactor:
    """Belongs to the running event loop; `close` it at the end."""

    def __init__(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._epoll = select.epoll()
        self._watched: dict[int, Watched] = {}
        self._heap: list[tuple[float, int, Watched]] = []
        self._count = 0
        self._alarm: asyncio.TimerHandle | None = None
        self._alarm_s = IDLE
        self._loop.add_reader(self._epoll.fileno(), self._poll)

    def __len__(self) -> int:
        """How many sockets are watched."""
        return len(self._watched)

    def add(self, descriptor: int, watched: Watched) -> None:
        """Watch a socket. What is ready already is told as well."""
        self._watched[descriptor] = watched
        self._epoll.register(descriptor, _EDGES)

    def remove(self, descriptor: int) -> None:
        """Forget a socket, which is closed next: the kernel forgets it then."""
        self._watched.pop(descriptor, None)

    def at(self, when_s: float, watched: Watched) -> None:
        """Tell `watched` at that time, unless its `due_s` is another one by then."""
        watched.due_s = when_s
        self._count += 1
        heapq.heappush(self._heap, (when_s, self._count, watched))
        if len(self._heap) > 2 * len(self._watched) + _STALE:
            self._heap = [entry for entry in self._heap if entry[2].due_s == entry[0]]
            heapq.heapify(self._heap)
        if when_s < self._alarm_s:
            self._set_alarm(when_s)

    def close(self) -> None:
        """Tell nobody anything any more."""
        if not self._epoll.closed:
            self._loop.remove_reader(self._epoll.fileno())
            self._epoll.close()
        if self._alarm is not None:
            self._alarm.cancel()
            self._alarm = None
        self._heap.clear()
        self._watched.clear()

    def _poll(self) -> None:
        if self._epoll.closed:
            return
        # whom it concerns is looked up before anybody acts: a number may be given to a new socket meanwhile
        ready = [(self._watched.get(descriptor), mask) for descriptor, mask in self._epoll.poll(0, _BATCH)]
        for watched, mask in ready:
            if watched is not None:
                watched.ready(mask)

    def _set_alarm(self, when_s: float) -> None:
        if self._alarm is not None:
            self._alarm.cancel()
        self._alarm_s = when_s
        self._alarm = self._loop.call_later(max(0.0, when_s - time.monotonic()), self._ring)

    def _ring(self) -> None:
        self._alarm, self._alarm_s = None, IDLE
        heap = self._heap
        now_s = time.monotonic() + _EARLY_S
        while heap and heap[0][0] <= now_s:
            when_s, _, watched = heapq.heappop(heap)
            if watched.due_s == when_s:
                watched.late()
                heap = self._heap  # it may have been made anew
        while heap and heap[0][2].due_s != heap[0][0]:
            heapq.heappop(heap)
        if heap and heap[0][0] < self._alarm_s:
            self._set_alarm(heap[0][0])
