"""Random ports for the programs of a run: none that means something, none that may not be asked."""

from __future__ import annotations

import random

__all__ = ["Ports"]

_LOW, _HIGH = 20_001, 28_999
_DATA_LOW, _DATA_WIDTH, _DATA_COUNT = 29_000, 100, 37
_MEANING_SOMETHING = frozenset({20547, 22222, 23023, 25565, 26000, 27015, 27017, 27018, 27019, 27960, 28015, 28017})
"""Ports in the range that some list of ports names: a label guessed from one would be luck."""


class Ports:
    """Hands out each port once; the same seed gives the same ports."""

    def __init__(self, seed: int) -> None:
        self._random = random.Random(seed)
        self._free = [port for port in range(_LOW, _HIGH) if port not in _MEANING_SOMETHING]
        self._random.shuffle(self._free)
        self._ranges = list(range(_DATA_COUNT))
        self._random.shuffle(self._ranges)

    def one(self) -> int:
        """A port for a server."""
        return self._free.pop()

    def range(self) -> tuple[int, int]:
        """First and last port of a range for FTP data connections, below the system's ephemeral ports (32768)."""
        low = _DATA_LOW + self._ranges.pop() * _DATA_WIDTH
        return low, low + _DATA_WIDTH - 1
