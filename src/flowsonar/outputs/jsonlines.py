"""Records for programs: JSON lines on standard output, everything for people on standard error."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterable, Mapping
from contextlib import suppress
from typing import IO

from flowsonar.errors import OutputError
from flowsonar.model import EndpointRecord, FlowRecord
from flowsonar.outputs.eve import encode
from flowsonar.outputs.lines import LineWriter
from flowsonar.outputs.lost import lost_line
from flowsonar.outputs.progress import cleared
from flowsonar.verdicts.visible import visible

__all__ = ["JsonOutput"]


class JsonOutput:
    """A context manager with the methods of `TableOutput`. `live`: every batch is written at once."""

    def __init__(self, *, live: bool, stream: IO[bytes] | None = None, data: bool = False) -> None:
        self._live = live
        self._data = data
        self._lines = LineWriter(stream or sys.stdout.buffer, before=cleared)
        self._full: OutputError | None = None

    def __enter__(self) -> JsonOutput:
        return self

    def __exit__(self, *failure: object) -> None:
        if failure[0] is not None:
            return
        self.flush()
        if self._full is not None:
            raise OutputError(f"{self._full} ({self._lines.lost} records are missing)")

    def write(self, records: Iterable[FlowRecord | EndpointRecord]) -> None:
        """Write records. Raises BrokenPipeError when the reader has gone, OutputError where they cannot be written.

        A live run goes on after that: it is told once, and raised again at the end.
        """
        for record in records:
            try:
                self._lines.write(encode(record, data=self._data))
            except OutputError as error:
                self._fail(error)
        if self._live:
            self.flush()

    def refresh(self, counters: Callable[[], Mapping[str, int]]) -> None:
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

    def flush(self) -> None:
        """Write what waits."""
        try:
            self._lines.flush()
        except OutputError as error:
            self._fail(error)

    def _fail(self, error: OutputError) -> None:
        if not self._live:
            raise error
        if self._full is None:
            self._full = error
            self.problem(f"{error}; going on")
