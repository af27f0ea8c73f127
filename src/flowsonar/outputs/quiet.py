"""What all outputs for programs share: records go to the stream, everything for people to standard error."""

from __future__ import annotations

import sys
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from contextlib import suppress

from flowsonar.outputs.lost import lost_line
from flowsonar.verdicts.visible import visible

__all__ = ["QuietOutput"]


class QuietOutput(ABC):
    """The part of an output's interface that concerns people."""

    @abstractmethod
    def flush(self) -> None:
        """Write what waits."""

    def refresh(self, counters: Callable[[], Mapping[str, int]]) -> None:  # noqa: B027 - nothing is what most do
        """Do nothing: programs need no screen."""

    def problem(self, text: str) -> None:
        """Tell what went wrong without ending the run."""
        with suppress(OSError):  # nobody hears us
            print(f"flowsonar: {visible(text)}", file=sys.stderr)

    def summary(self, counters: Mapping[str, int]) -> None:
        """Write what waits; what was dropped is told, on standard error."""
        self.flush()
        lost = lost_line(counters)
        if lost:
            self.problem(lost)
