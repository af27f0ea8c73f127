"""How many conversations this machine can hold at a time without being late itself.

A loop that is busy reads replies late; waits then end too early, more is asked, and the loop is busier still. So the
number grows slowly from a modest start while timers fire on time, and shrinks at once when they do not. Where others
have the processor, holding fewer conversations makes nothing earlier: lateness counts as far as we worked meanwhile.
"""

from __future__ import annotations

from typing import Final

__all__ = ["BEAT_S", "Pace"]

BEAT_S: Final = 0.02
"""How often lateness is measured while there are conversations."""
LATE_S: Final = 0.01
"""A timer this late eats into the shortest waits."""
START: Final = 64
GROWTH: Final = 0.25
"""Of what is held, after each beat on time: a machine that was busy for a moment is used again soon."""
LEAST: Final = 8


class Pace:
    """The number of conversations to hold, between `LEAST` and `most`."""

    __slots__ = ("_most", "_number", "slowed")

    def __init__(self, most: int) -> None:
        self._most = max(1, most)
        self._number = float(min(START, self._most))
        self.slowed = 0  # times it had to shrink

    @property
    def number(self) -> int:
        """How many conversations may be held now."""
        return int(self._number)

    def measured(self, late_s: float, worked_s: float, active: int) -> None:
        """A timer of `BEAT_S` fired `late_s` after its time while `active` conversations were held.

        `worked_s` is the processor's time that the loop's thread took since the timer was set.
        """
        if late_s * min(1.0, worked_s / (BEAT_S + max(0.0, late_s))) > LATE_S:
            self._number = max(min(LEAST, self._most), min(self._number, active) * 0.7)
            self.slowed += 1
        elif active >= self.number:
            self._number = min(self._most, self._number + max(1.0, self._number * GROWTH))
