"""The wall clock of a live run, beside the one that nobody sets."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Final

__all__ = ["JUMP_NS", "Clock"]

JUMP_NS: Final = 500_000_000
"""Between two looks the clocks may drift apart so far (NTP slews by 0.05 % at most) before the wall clock was set."""


class Clock:
    """Says how far the wall clock was set, forwards or backwards, since it was asked last.

    Packets and records carry wall time, which somebody may set; what is to be done at a time must be moved with it.
    """

    def __init__(self, wall: Callable[[], int] = time.time_ns, steady: Callable[[], int] = time.monotonic_ns) -> None:
        """Both give nanoseconds."""
        self._wall = wall
        self._steady = steady
        self._apart_ns = wall() - steady()

    def now_ns(self) -> int:
        """Wall time."""
        return self._wall()

    def steady_ns(self) -> int:
        """Time that never jumps, from no date."""
        return self._steady()

    def jumped_ns(self) -> int:
        """How far the wall clock was set since the last call; 0 where it was not."""
        apart_ns = self._wall() - self._steady()
        jump_ns, self._apart_ns = apart_ns - self._apart_ns, apart_ns
        return jump_ns if abs(jump_ns) >= JUMP_NS else 0
