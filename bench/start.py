"""How long the program takes to be there."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from statistics import median

from bench.measure import in_turn

__all__ = ["start"]

FLOWSONAR = str(Path(sys.executable).parent / "flowsonar")


def start(runs: int) -> list[str]:
    """`--help` beside the bare interpreter; `watch` until its packet socket receives."""
    runs = max(runs, 5)
    commands = {"python -c pass": [sys.executable, "-c", "pass"], "flowsonar --help": [FLOWSONAR, "--help"]}
    lines = ["| command | wall s | peak MiB |", "|---|---|---|"]
    lines += [
        f"| {run.name} | {run.wall_s:.3f} | {run.peak_mib:.0f} |" for run in in_turn(commands, runs=runs).values()
    ]
    if os.geteuid() == 0:
        lines.append(f"| flowsonar watch, until it captures | {median(_watching() for _ in range(runs)):.3f} | |")
    return lines


def _watching() -> float:
    """Seconds from the start of `watch` on a namespace's loopback to its bound packet socket."""
    with tempfile.TemporaryDirectory() as folder:
        started = time.monotonic()
        watch = ["unshare", "--net", FLOWSONAR, "watch", "-i", "lo", "--json", "--store", f"{folder}/verdicts.db"]
        process = subprocess.Popen(watch, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        sockets = Path(f"/proc/{process.pid}/net/packet")  # a headline, then a line a packet socket
        try:
            while len(sockets.read_text().splitlines()) < 2:
                if process.poll() is not None or time.monotonic() - started > 30:
                    raise RuntimeError("flowsonar watch did not begin")
                time.sleep(0.005)
            return time.monotonic() - started
        finally:
            process.terminate()
            process.wait()
