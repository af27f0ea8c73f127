"""The beginning of a TCP direction that comes after what follows it: packets overtake each other, or are sent again."""

from __future__ import annotations

from typing import Final

from flowsonar.flows.events import Payload

__all__ = ["Late"]

_HELD: Final = 2
"""Segments held of a direction: the flow table reports three, and the third one decides."""


class Late:
    """Holds the first segments of each direction while what comes before them is missing."""

    __slots__ = ("_held",)

    def __init__(self) -> None:
        self._held: tuple[list[Payload], list[Payload]] = ([], [])

    def waits(self, direction: int) -> bool:
        """Whether something of this direction is held."""
        return bool(self._held[direction])

    @property
    def size(self) -> int:
        """How many bytes are held."""
        return sum(len(event.data) for held in self._held for event in held)

    def hold(self, event: Payload) -> list[Payload]:
        """Take a segment that does not begin its direction, or comes while some are held; give what is in turn now.

        The stream's first bytes bring the others with them, without what they repeat. Where they do not come, the
        segments are given in the order of the stream once there are too many.
        """
        held = self._held[event.direction]
        held.append(event)
        if event.offset and len(held) <= _HELD:
            return []
        return self.rest(event.direction)

    def rest(self, direction: int) -> list[Payload]:
        """Give what is held of a direction, in the order of the stream, each byte once."""
        found: list[Payload] = []
        end = 0
        for event in sorted(self._held[direction], key=lambda event: event.offset):
            data = event.data[max(end - event.offset, 0) :]
            if data:
                found.append(event._replace(data=data, offset=max(event.offset, end), index=len(found)))
                end = event.offset + len(event.data)
        self._held[direction].clear()
        return found
