"""`flowsonar demo`: real services in a private network namespace."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

from flowsonar.cli import process
from flowsonar.cli.arguments import Option
from flowsonar.cli.common import JsonOption, exits

__all__ = ["demo"]


@exits
def demo(
    json: JsonOption = False,
    keep_capture: Annotated[
        Path | None, Option("--keep-capture", metavar="FILE.pcapng", help="Keep the demo's packets.")
    ] = None,
    seconds: Annotated[float, Option("--seconds", min=5.0, help="How long the clients work.")] = 20.0,
) -> int:
    """Start real services in a private network namespace, talk to them, and label the flows live.

    Needs no root: an ordinary user gets a namespace of his own. Nothing leaves it. Ends by itself with a table that
    compares truth and label.
    """
    from flowsonar import demo as demonstration

    process.interruptible()
    return demonstration.run(json=json, keep_capture=keep_capture, seconds=seconds)
