"""Runs the real program as a user does: a process of its own, its output, its exit code."""

import os
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]


def flowsonar(
    *arguments: str, stdin: bytes = b"", timeout_s: float = 60, home: Path | None = None
) -> subprocess.CompletedProcess[bytes]:
    environment = dict(os.environ, NO_COLOR="1", COLUMNS="160")
    if home is not None:
        environment["XDG_STATE_HOME"] = str(home / "state")  # compiled signatures are shared: making them takes seconds
    return subprocess.run(
        [sys.executable, "-m", "flowsonar", *arguments],
        input=stdin,
        capture_output=True,
        timeout=timeout_s,
        env=environment,
        check=False,
    )
