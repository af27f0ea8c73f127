"""Records for people: a live table on a terminal, appended lines elsewhere, a summary at the end."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterable, Mapping
from typing import IO

from rich.console import Console
from rich.text import Text

from flowsonar.errors import OutputError
from flowsonar.model import EndpointRecord, FlowRecord
from flowsonar.outputs.lines import LineWriter
from flowsonar.outputs.lost import lost_line
from flowsonar.outputs.progress import cleared
from flowsonar.outputs.row import plain_heading, plain_line
from flowsonar.outputs.screen import Screen
from flowsonar.outputs.tally import Tally, counters_line
from flowsonar.verdicts.visible import visible

__all__ = ["TableOutput"]


class TableOutput:
    """A context manager. `live`: records of flows that go on, drawn in place where there is a terminal."""

    def __init__(self, *, live: bool, console: Console | None = None, stream: IO[bytes] | None = None) -> None:
        self._console = console or Console(highlight=False)
        self._errors = Console(stderr=True, highlight=False)
        self._tally = Tally()
        self._screen: Screen | None = None
        self._lines = LineWriter(stream or sys.stdout.buffer, before=cleared)
        self._live = live
        self._headed = False
        self._full = False
        self._colour = (
            self._console.is_terminal and self._console.color_system is not None and not self._console.no_color
        )
        if live and self._console.is_terminal and not self._console.is_dumb_terminal:
            self._screen = Screen(self._console, self._tally)

    def __enter__(self) -> TableOutput:
        if self._screen is not None:
            self._screen.__enter__()
        return self

    def __exit__(self, *failure: object) -> None:
        if self._screen is not None:
            self._screen.__exit__()
            self._screen = None
        if failure[0] is None:
            self.flush()

    def write(self, records: Iterable[FlowRecord | EndpointRecord]) -> None:
        """Show records. Raises BrokenPipeError when the reader has gone, OutputError where they cannot be written."""
        screen = self._screen
        if screen is not None:
            for record in records:
                self._tally.add(record)
                screen.add(record)
            return
        for record in records:
            self._tally.add(record)
            if not self._headed:
                self._headed = True
                self._line(plain_heading())
            self._line(plain_line(record, colour=self._colour))
        if self._live:
            self.flush()

    def refresh(self, counters: Callable[[], Mapping[str, int]]) -> None:
        """Draw the table if it is time."""
        if self._screen is not None:
            self._screen.refresh(counters)

    def problem(self, text: str) -> None:
        """Tell what went wrong without ending the run."""
        line = Text(f"flowsonar: {visible(text)}", style="yellow")
        if self._screen is not None:
            self._screen.say(line)
        else:
            self._errors.print(line, soft_wrap=True)

    def summary(self, counters: Mapping[str, int]) -> None:
        """Close the table and say what there was."""
        if self._screen is not None:
            self._screen.refresh(lambda: counters)
            self._screen.__exit__()
            self._screen = None
        parts = [self._tally.summary(), counters_line(counters, self._tally.confidences()), Text(lost_line(counters))]
        self._line("")
        for part in parts:
            if part.plain:
                self._line(self._rendered(part))
        self.flush()

    def flush(self) -> None:
        """Write what waits. A full disk ends a run over captures, and is told once while a live one goes on."""
        try:
            self._lines.flush()
        except OutputError as error:
            if not self._live:
                raise
            if not self._full:
                self._full = True
                self.problem(f"{error}; going on")

    def _line(self, text: str) -> None:
        try:
            self._lines.write(text.encode(self._console.encoding, "replace") + b"\n")
        except OutputError as error:
            if not self._live:
                raise
            if not self._full:
                self._full = True
                self.problem(f"{error}; going on")

    def _rendered(self, text: Text) -> str:
        if not self._colour:
            return text.plain
        with self._console.capture() as capture:
            self._console.print(text, soft_wrap=True, end="")
        return capture.get()
