"""Records for programs, a line each: what to write is the format's, where and how it is kept whole is here."""

from __future__ import annotations

import sys
from abc import abstractmethod
from collections.abc import Iterable
from typing import IO, Self

from flowsonar.errors import OutputError
from flowsonar.model import EndpointRecord, FlowRecord
from flowsonar.outputs.lines import LineWriter
from flowsonar.outputs.progress import cleared
from flowsonar.outputs.quiet import QuietOutput

__all__ = ["LinesOutput"]


class LinesOutput(QuietOutput):
    """A context manager with the methods of `TableOutput`. `live`: every batch is written at once.

    Writes to `stream`, called `name` in errors, by default standard output; everything for people goes to standard
    error. `close`: the stream is closed at the end.
    """

    def __init__(
        self, *, live: bool, stream: IO[bytes] | None = None, name: str = "standard output", close: bool = False
    ) -> None:
        self._live = live
        self._owned = stream if close else None
        self._lines = LineWriter(stream or sys.stdout.buffer, name, before=cleared)
        self._full: OutputError | None = None

    @abstractmethod
    def line(self, record: FlowRecord | EndpointRecord) -> bytes:
        """One record with its line end; empty for one that the format has no place for."""

    def heading(self) -> bytes:
        """What stands before the first record."""
        return b""

    def ending(self) -> bytes:
        """What stands after the last record."""
        return b""

    def __enter__(self) -> Self:
        self._take(self.heading())
        return self

    def __exit__(self, *failure: object) -> None:
        if failure[0] is None:
            self._take(self.ending())
            self.flush()
        if self._owned is not None:
            self._owned.close()
        if failure[0] is not None:
            return
        if self._full is not None:
            raise OutputError(f"{self._full} ({self._lines.lost} records are missing)")

    def write(self, records: Iterable[FlowRecord | EndpointRecord]) -> None:
        """Write records. Raises BrokenPipeError when the reader has gone, OutputError where they cannot be written.

        A live run goes on after that: it is told once, and raised again at the end.
        """
        for record in records:
            self._take(self.line(record))
        if self._live:
            self.flush()

    def flush(self) -> None:
        """Write what waits."""
        try:
            self._lines.flush()
        except OutputError as error:
            self._fail(error)

    def _take(self, line: bytes) -> None:
        if not line:
            return
        try:
            self._lines.write(line)
        except OutputError as error:
            self._fail(error)

    def _fail(self, error: OutputError) -> None:
        if not self._live:
            raise error
        if self._full is None:
            self._full = error
            self.problem(f"{error}; going on")
