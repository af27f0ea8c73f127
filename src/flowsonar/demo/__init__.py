"""The self-contained demonstration: real services and a Skype stand-in, labelled live in a network of their own."""

from __future__ import annotations

import importlib.util
import os
import signal
import subprocess
import sys
from pathlib import Path

__all__ = ["run"]

_NEEDED = {
    "pyftpdlib": "pyftpdlib",
    "aiosmtpd": "aiosmtpd",
    "asyncssh": "asyncssh",
    "dnslib": "dnslib",
    "OpenSSL": "pyOpenSSL",
}
"""Modules of the servers, and the packages that they come in."""


def run(*, json: bool = False, keep_capture: Path | None = None, seconds: float = 20.0) -> int:
    """Run the demonstration for at most about `seconds` and a few for start and end.

    Gives 0 when every label was right, 1 when not or when the machine does not allow it (told on standard error), 130
    when interrupted. `keep_capture` keeps the packets as pcapng.
    """
    missing = [package for module, package in _NEEDED.items() if importlib.util.find_spec(module) is None]
    if missing:
        print(f"flowsonar: the demo needs {', '.join(missing)}: pip install 'flowsonar[demo]'", file=sys.stderr)
        return 1
    command = [sys.executable, "-m", "flowsonar.demo.stage", "--seconds", str(seconds)]
    if json:
        command.append("--json")
    if keep_capture is not None:
        command += ["--keep-capture", os.path.abspath(keep_capture)]  # noqa: PTH100 - resolve() would follow links
    with subprocess.Popen(command) as stage:
        while True:
            try:
                code = stage.wait()
            except KeyboardInterrupt:  # Ctrl-C reached the stage too; it cleans up and ends
                stage.send_signal(signal.SIGINT)
            else:
                return code if code >= 0 else 1
