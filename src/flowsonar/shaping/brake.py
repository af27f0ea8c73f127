"""When downloads are to be slowed for a moment: their surplus waits on the far side of the line, where calls wait too.

A gateway's queue for downloads fills only by what the line brings over the rate that it is served with: a tenth of
the line. Connections that begin send faster than that for many round trips, and all of it waits beyond the line, while
here a packet is lost now and then. That queue cannot be seen, but it shows: as long as something waits there, packets
come at the line's full rate without a gap. So where they did for some time, the rate of the gateway's own queue is
lowered until they come slower. Senders keep time with what gets through; what waited over there then waits here,
behind the calls.

`flowsonar.shaping.braking` reads the counter and changes the rate; this module decides, on numbers alone.
"""

from __future__ import annotations

from collections import deque
from typing import Final

__all__ = ["FREE", "HELD", "REPAID", "Brake"]

FREE: Final = 1.0
HELD: Final = 0.5
"""Of the rate while the brake holds: enough that senders do not take it for a break."""
REPAID: Final = 1.04
"""Of the rate afterwards, until as much has passed as without the brake: an empty line carries it."""

_BUSY_S: Final = 0.08
"""Without a gap for so long: some packets in a row are usual."""
_FULL: Final = 0.985
"""Of the line's rate: one packet may be counted a little later."""
_SURPLUS: Final = 1.045
"""Over the queue's own rate; less has no queue at the line's other end."""
_GAP_S: Final = 0.016
_GAP: Final = 1.02
"""So short a time shows that packets come slower again, namely at no more than so much of the queue's rate."""
_LEARN_S: Final = 0.1
"""The line's rate is the most that it brought in so long a time ..."""
_FORGET: Final = 0.002
"""... and so much of it is forgotten in a second: lines become slower, too."""
_KEEP_S: Final = 0.25
_DEBT_S: Final = 0.1
"""The most that is repaid, as time at the full rate."""
_LONGEST_S: Final = 1.0
_IDLE_S: Final = 10.0
"""Where the brake held so long for nothing (a flood, a line that carries other things), it stays free for a while."""


class Brake:
    """For one line; times in seconds of any clock that only goes forward, rates in bytes a second."""

    __slots__ = ("_changed_s", "_debt_s", "_idle_until_s", "_line", "_rate", "_read", "factor")

    def __init__(self, kbit: int) -> None:
        """`kbit` is the rate of the queue for downloads, a little below the line's."""
        assert kbit > 0, kbit
        self._rate = kbit * 1000 / 8
        self._line = self._rate
        # (when, counter): the last _KEEP_S, oldest first
        self._read: deque[tuple[float, int]] = deque()
        self._changed_s = 0.0
        self._debt_s = 0.0
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
        return self.factor == FREE and self._over(_BUSY_S) < self._rate / 2

    def step(self, now_s: float, octets: int) -> bool:
        """`octets` is what has come over the line until now, a counter; whether `factor` has changed."""
        if self._read and (octets < self._read[-1][1] or now_s <= self._read[-1][0]):
            self._read.clear()  # the interface is another one now
        past_s = now_s - self._read[-1][0] if self._read else 0.0
        self._read.append((now_s, octets))
        while now_s - self._read[0][0] > _KEEP_S:
            self._read.popleft()
        self._line = max(self._line * (1 - _FORGET * min(past_s, 1.0)), self._over(_LEARN_S), self._rate)
        since_s = now_s - self._changed_s
        self._debt_s = min(_DEBT_S, max(0.0, self._debt_s + past_s * (1 - self.factor)))
        if self.factor != HELD:
            full = max(_FULL * self._line, _SURPLUS * self._rate)
            if now_s < self._idle_until_s or since_s < _BUSY_S or self._over(_BUSY_S) <= full:
                if self.factor == FREE or self._debt_s > 0:
                    return False
                self._set(FREE, now_s)
                return True
            self._set(HELD, now_s)
            return True
        if since_s < _GAP_S or (self._over(_GAP_S) >= _GAP * self._rate and since_s < _LONGEST_S):
            return False
        if since_s >= _LONGEST_S:
            self._idle_until_s = now_s + _IDLE_S
        self._set(REPAID, now_s)
        return True

    def _set(self, factor: float, now_s: float) -> None:
        if FREE not in (factor, self.factor) or factor == HELD:
            self._changed_s = now_s
        self.factor = factor

    def _over(self, seconds: float) -> float:
        """The rate over the last `seconds`, or a little more; 0 where so much has not been seen."""
        if not self._read:
            return 0.0
        now_s, octets = self._read[-1]
        for then_s, before in reversed(self._read):
            if now_s - then_s >= seconds:
                return (octets - before) / (now_s - then_s)
        return 0.0
