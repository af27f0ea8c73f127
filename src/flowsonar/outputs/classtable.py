"""The classes for people: a live table on a terminal with the latest marks below, appended lines elsewhere."""

from __future__ import annotations

import sys
import time
from collections import deque
from collections.abc import Callable, Sequence
from typing import Final

from rich.console import Console, Group
from rich.live import Live
from rich.table import Table
from rich.text import Text

from flowsonar.outputs.marks import ClassRow
from flowsonar.verdicts.visible import visible

__all__ = ["ClassTable"]

DRAW_S: Final = 0.5
"""The table is drawn at most this often."""
_LINES: Final = 64
"""Marks remembered for the screen."""
_NONE: Final = ""


class ClassTable:
    """A context manager; `say` a mark, `refresh` with the rows as often as you like."""

    def __init__(self, console: Console | None = None, *, clock: Callable[[], float] = time.monotonic) -> None:
        self._console = console or Console(highlight=False)
        self._errors = Console(stderr=True, highlight=False)
        self._clock = clock
        self._drawn_s = clock() - DRAW_S
        self._lines: deque[str] = deque(maxlen=_LINES)
        self._live: Live | None = None
        if self._console.is_terminal and not self._console.is_dumb_terminal:
            self._live = Live(console=self._console, auto_refresh=False, vertical_overflow="crop")

    def __enter__(self) -> ClassTable:
        if self._live is not None:
            self._live.start()
        return self

    def __exit__(self, *_: object) -> None:
        if self._live is not None:
            self._live.stop()
            self._live = None

    def say(self, line: str) -> None:
        """A mark, as one line."""
        if self._live is not None:
            self._lines.appendleft(line)
        else:
            print(line, flush=True)

    def problem(self, text: str) -> None:
        """Tell what went wrong without ending the run."""
        line = Text(f"flowsonar: {visible(text)}", style="yellow")
        (self._live.console if self._live is not None else self._errors).print(line, soft_wrap=True)

    def refresh(self, rows: Callable[[], Sequence[ClassRow]]) -> None:
        """Draw, if it is time."""
        now_s = self._clock()
        if self._live is not None and now_s - self._drawn_s >= DRAW_S:
            self._drawn_s = now_s
            table = render_classes(rows())
            room = max(0, self._console.height - table.row_count - 3)
            lines = [Text(line, no_wrap=True, overflow="ellipsis") for line in list(self._lines)[:room]]
            self._live.update(Group(table, *lines), refresh=True)

    def summary(self, rows: Sequence[ClassRow], by_rule: dict[str, int]) -> None:
        """Say what there was."""
        if self._live is not None:
            self._live.update(Text(""), refresh=True)
            self._live.stop()
            self._live = None
        self._console.print(render_classes(rows))
        for rule, count in sorted(by_rule.items(), key=lambda item: -item[1]):
            self._console.print(Text(f"{count:>8}  {visible(rule)}"), soft_wrap=True)
        sys.stdout.flush()


def render_classes(rows: Sequence[ClassRow]) -> Table:
    """Make the table."""
    table = Table(box=None, pad_edge=False, header_style="bold")
    for heading in ("class", "way", "flows", "kbit/s", "packets", "bytes", "drops", "waiting", "delay ms"):
        table.add_column(heading, justify="left" if heading in ("class", "way") else "right", no_wrap=True)
    for row in rows:
        table.add_row(
            visible(row.name),
            row.direction or "marked",
            _number(row.flows),
            f"{row.rate_kbit:.0f}",
            str(row.packets),
            str(row.bytes),
            _number(row.drops),
            _number(row.backlog_bytes),
            _NONE if row.delay_ms is None else f"{row.delay_ms:.1f}",
        )
    return table


def _number(value: int | None) -> str:
    return _NONE if value is None else str(value)
