"""Probes whose steps stand in the signature, but some of whose bytes take arithmetic: who computes them, by name."""

from __future__ import annotations

import random
from collections.abc import Callable, Mapping, Sequence
from typing import Final, Protocol

from flowsonar.probes.special.mse import Mse

__all__ = ["Computed", "arithmetic", "computed"]


class Computed(Protocol):
    """The arithmetic of one try of a probe."""

    def values(self, replies: Sequence[bytes]) -> Mapping[str, bytes]:
        """Fields of the next step's message, by name, after these replies."""
        ...

    def patience_s(
        self, *, closes: bool, slowest_s: float, rtt_s: float, seconds: float, since_s: float = 0.0
    ) -> float:
        """How long to wait for a reply of which only the connection's end matters."""
        ...


_ARITHMETIC: Final[Mapping[str, Callable[[random.Random], Computed]]] = {"mse": Mse, "proof": Mse}


def arithmetic(special: str | None) -> Callable[[random.Random], Computed] | None:
    """What makes the one that a probe's `special` names; None where nothing is to be computed."""
    return _ARITHMETIC.get(special or "")


def computed(special: str | None, pick: random.Random) -> Computed | None:
    """The same, made."""
    make = arithmetic(special)
    return None if make is None else make(pick)
