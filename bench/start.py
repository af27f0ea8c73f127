"""How long the program takes to be there."""

from __future__ import annotations

import sys
from pathlib import Path

from bench.measure import in_turn

__all__ = ["start"]


def start(runs: int) -> list[str]:
    """`--help` and a `read` of nothing, beside the bare interpreter."""
    flowsonar = str(Path(sys.executable).parent / "flowsonar")
    results = in_turn(
        {"python -c pass": [sys.executable, "-c", "pass"], "flowsonar --help": [flowsonar, "--help"]}, runs=max(runs, 5)
    )
    return [
        "| command | wall s | peak MiB |",
        "|---|---|---|",
        *(f"| {run.name} | {run.wall_s:.3f} | {run.peak_mib:.0f} |" for run in results.values()),
    ]
