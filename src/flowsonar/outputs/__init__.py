"""Where records go: a table for people, JSON lines for programs."""

from __future__ import annotations

from flowsonar.outputs.eve import encode
from flowsonar.outputs.jsonlines import JsonOutput
from flowsonar.outputs.progress import ProgressBar
from flowsonar.outputs.table import TableOutput

__all__ = ["JsonOutput", "ProgressBar", "TableOutput", "encode", "open_output", "open_progress"]


def open_output(*, json: bool, live: bool) -> TableOutput | JsonOutput:
    """Make the output for standard output. Use it with `with`."""
    return JsonOutput(live=live) if json else TableOutput(live=live)


def open_progress() -> ProgressBar:
    """Make the progress bar; it shows nothing where standard error is no terminal. Use it with `with`."""
    return ProgressBar()
