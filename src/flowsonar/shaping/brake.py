"""When downloads are to be slowed for a moment: their surplus waits on the far side of the line, where calls wait too.

A gateway's queue for downloads fills only by what the line brings over the rate that it is served with: a tenth of
the line. Connections that begin send faster than that for some round trips, and all of it waits beyond the line. What
came at once because something stood still for a moment stays there long, for the line is only a tenth faster than the
gateway. That queue cannot be seen, but it shows: as long as something waits there, packets come at the line's full
rate without a gap. So where they did for some time, the rate of the gateway's own queue is lowered for a moment.
Senders keep time with what gets through; what waited over there then waits here, behind the calls. What a moment has
brought shows a round trip later: when packets still come without a gap, the next moment is twice as long.

`flowsonar.shaping.braking` reads the counter and changes the rate; this module decides, on numbers alone.
"""

from __future__ import annotations

from collections import deque
from typing import Final

__all__ = ["FREE", "HELD", "Brake"]

FREE: Final = 1.0
HELD: Final = 0.5
"""Of the rate while the brake holds: enough that senders do not take it for a break."""

_FULL_S: Final = 0.06
_PACKETS: Final = 60 * 1514
"""Without a gap for so long, or as many bytes on a slow line: some packets in a row are usual."""
_FULL: Final = 0.98
"""Of the line's rate: a packet or two may be counted later."""
_SURPLUS: Final = 1.045
"""Over the queue's own rate; less has no queue at the line's other end."""
_FIRST_S: Final = 0.01
"""How long it holds first; twice as long each time after that."""
_REST_S: Final = 0.05
_LONGEST_S: Final = 0.5
_IDLE_S: Final = 10.0
"""Where the brake held so long for nothing (a flood, a line that carries other things), it stays free for a while."""
_LEARN_S: Final = 0.1
"""The line's rate is the most that it brought in so long a time ..."""
_FORGET: Final = 0.002
"""... and so much of it is forgotten in a second: lines become slower, too."""


class Brake:
    """For one line; times in seconds of any clock that only goes forward, rates in bytes a second."""

    __slots__ = ("_changed_s", "_full_s", "_idle_until_s", "_line", "_next_s", "_rate", "_read", "factor")

    def __init__(self, kbit: int) -> None:
        """`kbit` is the rate of the queue for downloads, a little below the line's."""
        assert kbit > 0, kbit
        self._rate = kbit * 1000 / 8
        self._line = self._rate
        self._full_s = max(_FULL_S, _PACKETS / self._rate)
        # (when, counter): as long as anything here looks back, oldest first
        self._read: deque[tuple[float, int]] = deque()
        self._changed_s = 0.0
        self._next_s = _FIRST_S
        self._idle_until_s = 0.0
        self.factor = FREE
        """Of the rate, as it is to be now."""

    @property
    def line_kbit(self) -> float:
        """What the line was seen to carry."""
        return self._line * 8 / 1000

    @property
    def calm(self) -> bool:
        """Less than half of the rate comes: it need not be looked at so often."""
        return self.factor == FREE and self._over(self._full_s) < self._rate / 2

    def step(self, now_s: float, octets: int) -> bool:
        """`octets` is what has come over the line until now, a counter; whether `factor` has changed."""
        if self._read and (octets < self._read[-1][1] or now_s <= self._read[-1][0]):
            self._read.clear()  # the interface is another one now
        past_s = now_s - self._read[-1][0] if self._read else 0.0
        self._read.append((now_s, octets))
        while now_s - self._read[0][0] > 2 * max(_LEARN_S, self._full_s):
            self._read.popleft()
        self._line = max(self._line * (1 - _FORGET * min(past_s, 1.0)), self._over(_LEARN_S), self._rate)
        since_s = now_s - self._changed_s
        if self.factor == HELD:
            if since_s < self._next_s:
                return False
            self._next_s *= 2
            if self._next_s > _LONGEST_S:
                self._idle_until_s, self._next_s = now_s + _IDLE_S, _FIRST_S
        else:
            if since_s < _REST_S or now_s < self._idle_until_s:
                return False
            if self._over(self._full_s) < max(_FULL * self._line, _SURPLUS * self._rate):
                self._next_s = _FIRST_S
                return False
        self._changed_s = now_s
        self.factor = HELD if self.factor == FREE else FREE
        return True

    def _over(self, seconds: float) -> float:
        """The rate over the last `seconds`, or a little more; 0 where so much has not been seen."""
        if not self._read:
            return 0.0
        now_s, octets = self._read[-1]
        for then_s, before in reversed(self._read):
            if now_s - then_s >= seconds:
                return (octets - before) / (now_s - then_s)
        return 0.0
