"""Where records go: a table for people, JSON lines for programs."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:  # imported when used: JSON lines need no tables
    from flowsonar.outputs.jsonlines import JsonOutput
    from flowsonar.outputs.progress import ProgressBar
    from flowsonar.outputs.table import TableOutput

__all__ = ["open_output", "open_progress"]


def open_output(*, json: bool, live: bool) -> TableOutput | JsonOutput:
    """Make the output for standard output. Use it with `with`."""
    if json:
        from flowsonar.outputs.jsonlines import JsonOutput

        return JsonOutput(live=live)
    from flowsonar.outputs.table import TableOutput

    return TableOutput(live=live)


def open_progress() -> ProgressBar:
    """Make the progress bar; it shows nothing where standard error is no terminal. Use it with `with`."""
    from flowsonar.outputs.progress import ProgressBar

    return ProgressBar()
