"""How much a download may have under way: lowered windows keep its surplus from waiting beyond the line.

A TCP sender has no more under way than the window that its receiver announces. Where the windows of all downloads
together are what the line holds and a little more, that little waits in the gateway's own queue, behind the calls, and
nothing waits on the far side; senders keep time with what leaves the gateway, and no packet need be lost to slow them
(Karandikar, Kalyanaraman, Bagal, Packer: TCP rate control, 2000). How much the line holds is not known, since each
connection has a round trip of its own. But the gateway's queue shows it: a class with a short queue gets wider
windows, one with a long queue narrower ones. The queue of bulk may be longer: who waits there minds little, and where
windows are as small as they can be, acknowledgements come late and in heaps, and so does what they ask for.

Connections that begin together are the hardest: each doubles what it sends with every round trip. So those of which
nobody knows yet what they are get little while the line is busy, until they have a label or have brought enough.

`flowsonar.shaping.windowing` reads the queues and brings the windows to the firewall; this module decides, on numbers
alone.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final, NamedTuple

from flowsonar.model import TrafficClass

__all__ = ["LEAST", "NARROWED", "Served", "Windows"]

NARROWED: Final = (TrafficClass.DEFAULT, TrafficClass.BULK)
"""Classes that are served last; the windows of all others are left alone."""
LEAST: Final = 2 * 1460
"""Two segments: with one under way a receiver would wait before it acknowledges."""

_BEGIN: Final = 10 * 1460
"""What senders begin with anyway (RFC 6928)."""
_FORMER: Final = 4 * 1460
"""What they began with before (RFC 3390)."""
_BEGIN_S: Final = 0.025
"""The first window of the default class, as time at the line's rate: wide enough for a server that is near."""
_MOST_S: Final = 1.0
"""Wider than that, no window is a limit."""
_EACH_S: Final = 0.02
"""Windows change in steps as long as this ..."""
_WIDER, _SOONER = 1.02, 1.04
"""... by so much, those of the class that is served before the other by more. A queue tells late what the last step
did: after a round trip."""
_STEPS: Final = 2.0
"""At most, where the last look was long ago."""
_NARROWER: Final = 0.75
_HOLD_S: Final = 0.06
"""So long after one, the next narrowing waits."""
_WAITS: Final = {TrafficClass.DEFAULT: (0.006, 0.03), TrafficClass.BULK: (0.02, 0.045)}
"""What waits of a class, as time at the line's rate, between which its windows stay."""
_MOVES: Final = 0.03
"""Of the line's rate: a class that moves less shows nothing."""
_IDLE_S: Final = 0.5
"""What has moved nothing for so long begins anew."""
_BUSY: Final = 0.4
"""Of the line's rate, above which those that begin get little."""
_RATE_S: Final = 0.03
"""That the line's rate is measured over."""
_SMOOTH: Final = 0.3


class Served(NamedTuple):
    """One class of the queue for downloads."""

    octets: int
    """Sent, a counter."""
    waiting: int
    """Bytes in its queue."""


@dataclass(slots=True)
class _Class:
    idle: float
    """Its window while nothing of it moves and the line is not busy ..."""
    busy: float
    """... and while others make it busy."""
    window: float
    wider: float
    short_s: float
    long_s: float
    octets: int = 0
    waiting: float = 0.0
    held_until_s: float = 0.0
    moved_s: float = 0.0


class Windows:
    """For one line; times in seconds of any clock that only goes forward."""

    def __init__(self, kbit: int) -> None:
        """`kbit` is the rate of the queue for downloads, a little below the line's."""
        assert kbit > 0, kbit
        self._rate = kbit * 1000 / 8
        first = max(_BEGIN, _BEGIN_S * self._rate)
        self._classes = {
            TrafficClass.DEFAULT: _Class(first, _BEGIN, first, _SOONER, *_WAITS[TrafficClass.DEFAULT]),
            TrafficClass.BULK: _Class(_BEGIN, LEAST, _BEGIN, _WIDER, *_WAITS[TrafficClass.BULK]),
        }
        # (when, counter of the line): oldest first, _RATE_S and one more
        self._read: deque[tuple[float, int]] = deque()
        self._busy = False

    def young(self, name: TrafficClass | None) -> int | None:
        """The same for a connection of a class, or of none yet, that has carried little until now."""
        if name is TrafficClass.DEFAULT:
            own = self.of(name)
            return min(_FORMER, own or _FORMER) if self._busy else own
        least = LEAST if self._busy else _BEGIN
        return least if name is None else min(least, self.of(name) or least)

    @property
    def unknown(self) -> int | None:
        """The same for one that has carried more and still has no label."""
        own = self.of(TrafficClass.DEFAULT)
        return min(_BEGIN, own or _BEGIN) if self._busy else own

    def of(self, name: TrafficClass) -> int | None:
        """Bytes that each connection of a class may have under way; None for any number."""
        window = self._classes[name].window
        return None if window >= _MOST_S * self._rate else int(window)

    def step(self, now_s: float, octets: int, served: Mapping[TrafficClass, Served]) -> None:
        """`octets` is what has come over the line until now, a counter. Call it every hundredth of a second or so."""
        if self._read and (octets < self._read[-1][1] or now_s <= self._read[-1][0]):
            self._read.clear()  # the interface is another one now
        past_s = now_s - self._read[-1][0] if self._read else 0.0
        self._read.append((now_s, octets))
        while len(self._read) > 2 and now_s - self._read[1][0] >= _RATE_S:
            self._read.popleft()
        over_s = now_s - self._read[0][0]
        self._busy = over_s > 0 and octets - self._read[0][1] >= _BUSY * self._rate * over_s
        for name, one in self._classes.items():
            found = served.get(name)
            if found is not None:
                self._one(one, found, now_s, past_s)

    def _one(self, one: _Class, found: Served, now_s: float, past_s: float) -> None:
        moved = max(0, found.octets - one.octets) if one.octets else 0
        one.octets = found.octets
        one.waiting += (found.waiting - one.waiting) * _SMOOTH
        moves = moved >= _MOVES * self._rate * past_s
        if moves or found.waiting:
            one.moved_s = now_s
        steps = min(past_s / _EACH_S, _STEPS)
        if found.waiting > one.long_s * self._rate:
            if now_s >= one.held_until_s:
                one.held_until_s = now_s + _HOLD_S
                one.window = max(LEAST, min(one.window, _MOST_S * self._rate) * _NARROWER)
        elif now_s - one.moved_s > _IDLE_S:
            # Nothing is known of the connections that will come.
            if self._busy:
                one.window = min(one.window, one.busy)
            elif one.window > one.idle:
                one.window = max(one.idle, one.window / _WIDER**steps)
            else:
                one.window = min(one.idle, one.window * _WIDER**steps)
        elif moves and max(one.waiting, found.waiting) < one.short_s * self._rate and now_s >= one.held_until_s:
            one.window = min(_MOST_S * self._rate, one.window * one.wider**steps)
