"""Where records go: a table for people; JSON lines, CSV, Zeek's log, Arrow and Parquet for programs."""

from __future__ import annotations

import sys
from enum import StrEnum
from pathlib import Path
from typing import IO, TYPE_CHECKING

from flowsonar.errors import ConfigError, OutputError

if TYPE_CHECKING:  # imported when used: JSON lines need no tables
    from flowsonar.outputs.columns import ColumnsOutput
    from flowsonar.outputs.linesoutput import LinesOutput
    from flowsonar.outputs.progress import ProgressBar
    from flowsonar.outputs.table import TableOutput

__all__ = ["Format", "open_output", "open_progress"]


class Format(StrEnum):
    """How records are written."""

    TABLE = "table"
    JSON = "json"
    """JSON lines with Suricata's EVE field names."""
    CSV = "csv"
    """Ends of flows with nfdump's column names."""
    CONN = "conn"
    """Ends of flows as Zeek's conn.log."""
    ARROW = "arrow"
    """An Apache Arrow IPC stream."""
    PARQUET = "parquet"


def open_output(form: Format, *, live: bool, file: Path | None = None) -> TableOutput | LinesOutput | ColumnsOutput:
    """Make the output for a file, or for standard output. Use it with `with`.

    Raises OutputError where the file cannot be written, ConfigError where what the format needs is not installed.
    """
    stream: IO[bytes] | None = None
    if file is not None:
        try:
            stream = file.open("wb")
        except OSError as error:
            raise OutputError(f"{file}: cannot be written ({error.strerror}): check where it goes") from error
    name = "standard output" if file is None else str(file)
    if form in (Format.ARROW, Format.PARQUET) and (sys.stdout if stream is None else stream).isatty():
        if stream is not None:
            stream.close()
        raise ConfigError(f"{form} is not for a terminal: name a file with --output, or pipe it into a program")
    if form is Format.TABLE:
        from flowsonar.outputs.table import TableOutput

        return TableOutput(live=live, stream=stream)
    if form in (Format.ARROW, Format.PARQUET):
        from flowsonar.outputs.columns import ArrowOutput, ParquetOutput

        columns = ArrowOutput if form is Format.ARROW else ParquetOutput
        return columns(stream, name, close=file is not None)
    if form is Format.JSON:
        from flowsonar.outputs.jsonlines import JsonOutput as Lines
    elif form is Format.CSV:
        from flowsonar.outputs.delimited import CsvOutput as Lines  # type: ignore[assignment]
    else:
        from flowsonar.outputs.delimited import ConnLogOutput as Lines  # type: ignore[assignment]
    return Lines(live=live, stream=stream, name=name, close=file is not None)


def open_progress() -> ProgressBar:
    """Make the progress bar; it shows nothing where standard error is no terminal. Use it with `with`."""
    from flowsonar.outputs.progress import ProgressBar

    return ProgressBar()
