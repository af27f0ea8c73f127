r"""The progress bar of long work: one line at the bottom of the terminal, on standard error.

Records may go to the same terminal meanwhile: who writes them there first writes what `cleared` gives.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Callable
from typing import TYPE_CHECKING, Final, TextIO

from flowsonar.outputs.row import amount
from flowsonar.verdicts.visible import visible

if TYPE_CHECKING:
    from rich.console import Console

__all__ = ["ProgressBar", "cleared"]

DRAW_S: Final = 0.1
BAR: Final = 30
_CLEAR: Final = "\r\x1b[K"  # to the line's beginning, erase to its end (ECMA-48: CR, EL)

_drawn: list[ProgressBar] = []  # the bar that stands on the terminal now, if any: a process has one terminal


def cleared() -> bytes:
    """Give what takes the bar from the line where it stands; nothing where there is none."""
    if not _drawn:
        return b""
    _drawn.clear()
    return _CLEAR.encode()


class ProgressBar:
    """Called with a capture's name, the bytes read of it and its size (None where not known); or with other units.

    Shows nothing where `stream` is no terminal that can go back to the beginning of a line.
    """

    def __init__(
        self, stream: TextIO | None = None, *, unit: str = "B", clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._unit = unit
        self._console = _terminal(stream or sys.stderr)
        self._clock = clock
        self._began_s = self._drawn_s = clock()
        self._name = ""

    def __enter__(self) -> ProgressBar:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def __call__(self, name: str, position: int, size: int | None) -> None:
        """Show where the reading is."""
        if self._console is None:
            return
        now_s = self._clock()
        if name != self._name:
            self._name = name
            self._began_s = now_s
        if now_s - self._drawn_s >= DRAW_S:
            self._drawn_s = now_s
            line = self._line(position, size, now_s - self._began_s)
            self._write(_CLEAR + line[: max(1, self._console.width - 1)])
            _drawn[:] = [self]

    def close(self) -> None:
        """Take the bar away; may be called again."""
        if self in _drawn:
            _drawn.clear()
            self._write(_CLEAR)

    def _line(self, position: int, size: int | None, took_s: float) -> str:
        rate = position / took_s if took_s > 0 else 0.0
        end = f"{amount(position)}{self._unit}  {amount(int(rate))}{self._unit}/s"
        name = visible(self._name, 30)
        if size:
            share = min(1.0, position / size)
            done = int(share * BAR)
            bar = "#" * done + "-" * (BAR - done)
            left = f"  {max(0, size - position) / rate:.0f} s left" if rate else ""
            end = f"[{bar}] {share:4.0%}  {end}{left}"
        return f"{name}  {end}"

    def _write(self, text: str) -> None:
        if self._console is None:
            return
        try:
            self._console.file.write(text)
            self._console.file.flush()
        except OSError:  # the terminal is gone: so is the bar
            self._console = None


def _terminal(stream: TextIO) -> Console | None:
    """The terminal behind a stream, where there is one that can go back to the beginning of a line."""
    if not stream.isatty():
        return None
    from rich.console import Console

    console = Console(file=stream)
    return console if console.is_terminal and not console.is_dumb_terminal else None
