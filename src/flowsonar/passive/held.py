"""Bytes of first messages that are kept until the rest of them comes: how many there are, of all flows together."""

from __future__ import annotations

from collections.abc import MutableMapping

from flowsonar import limits

__all__ = ["FULL", "Held", "Hold"]

FULL = "first_bytes_full"
"""The counter of flows that were read with what was there, because too much was kept already."""


class Held:
    """The room for them. A flow that finds none is read with what it has shown by then, and counted."""

    def __init__(self, most: int = limits.HELD_BYTES) -> None:
        self.bytes = 0
        self._most = most
        self.counts: MutableMapping[str, int] = {FULL: 0}

    def keep(self, hold: Hold | None, size: int) -> Hold | None:
        """Let a flow keep so many bytes from now on, with what it was given before; None where there is no room."""
        if hold is None:
            hold = Hold(self)
        if self.bytes + size - hold.size > self._most:
            self.counts[FULL] = self.counts.get(FULL, 0) + 1
            return None
        self.bytes += size - hold.size
        hold.size = size
        return hold


class Hold:
    """What one flow keeps: given back when the flow is let go, whoever does so."""

    __slots__ = ("_held", "size")

    def __init__(self, held: Held) -> None:
        self._held = held
        self.size = 0

    def __del__(self) -> None:
        self._held.bytes -= self.size
