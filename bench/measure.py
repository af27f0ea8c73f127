"""Times whole processes with the operating system's own accounting, peers in turn, and prints medians and ratios."""

from __future__ import annotations

import os
import subprocess
import time
from collections.abc import Sequence
from dataclasses import dataclass
from statistics import median

__all__ = ["Run", "Spent", "in_turn", "once"]


@dataclass(frozen=True, slots=True)
class Spent:
    """What one process took."""

    wall_s: float
    cpu_s: float
    """User and system time, of the process and its children."""
    peak_mib: float
    """The largest resident set of the process (of its largest child where that is larger)."""
    code: int


@dataclass(frozen=True, slots=True)
class Run:
    """Medians of several runs of one command."""

    name: str
    wall_s: float
    cpu_s: float
    peak_mib: float
    spread: float
    """Slowest wall time over fastest: 1.0 is a quiet machine."""


def once(command: Sequence[str], *, timeout_s: float = 600, env: dict[str, str] | None = None) -> Spent:
    """Run a command to its end with its output thrown away. Raises TimeoutError when it takes too long."""
    if env is None:  # as it is for most: programs in Python keep their bytecode
        env = {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}
    started = time.monotonic()
    process = subprocess.Popen(
        command, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, env=env
    )
    while True:
        pid, status, usage = os.wait4(process.pid, os.WNOHANG)
        if pid:
            break
        if time.monotonic() - started > timeout_s:
            process.kill()
            os.wait4(process.pid, 0)
            raise TimeoutError(f"{command[0]} took more than {timeout_s} s")
        time.sleep(0.002)
    process.returncode = os.waitstatus_to_exitcode(status)
    return Spent(
        time.monotonic() - started, usage.ru_utime + usage.ru_stime, usage.ru_maxrss / 1024, process.returncode
    )


def in_turn(commands: dict[str, Sequence[str]], *, runs: int = 3, pin: bool = True) -> dict[str, Run]:
    """Run the commands A B C A B C ..., after one warm-up each, so that a drifting machine drifts for all.

    `pin` keeps each process on one core (`taskset`), where the figure is "on one core".
    """
    prefix = ["taskset", "-c", "0"] if pin else []
    spent: dict[str, list[Spent]] = {name: [] for name in commands}
    for turn in range(runs + 1):
        for name, command in commands.items():
            result = once([*prefix, *command])
            if result.code != 0:
                raise RuntimeError(f"{name} ended with {result.code}: {' '.join(command)}")
            if turn:
                spent[name].append(result)
    return {
        name: Run(
            name,
            median(one.wall_s for one in results),
            median(one.cpu_s for one in results),
            median(one.peak_mib for one in results),
            max(one.wall_s for one in results) / min(one.wall_s for one in results),
        )
        for name, results in spent.items()
    }
