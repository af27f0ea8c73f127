"""What programs that measure need of the machine: to run at once, and to know when it stood still.

    python -m lab.instrument FILE        writes down when a processor stood still, until SIGTERM

A virtual machine's processors are taken away now and then, by whoever shares the host. For a line in software that is
a standstill that no real line has: everything waits, and then comes at once. On each processor a program that is before
all others sleeps a thousandth of a second again and again; where it oversleeps, the processor was not there.
"""

from __future__ import annotations

import contextlib
import os
import signal
import sys
import time
from collections.abc import Iterable, Sequence
from pathlib import Path

__all__ = ["STILL_NS", "first", "standstills", "stood_still"]

STILL_NS = 4_000_000
"""Oversleeping by less happens on any machine."""
_NAP_S = 0.001
_APART_NS = 50_000_000
_PRIORITY = 2


def first(priority: int = 1) -> None:
    """Run before all programs that do not measure; where that is not allowed, as ever."""
    with contextlib.suppress(OSError):
        os.sched_setscheduler(0, os.SCHED_RR, os.sched_param(priority))


def standstills(log: Path, apart_ns: int = _APART_NS) -> list[tuple[int, int]]:
    """(begin, end) of each standstill in nanoseconds of the clock; those less than `apart_ns` apart are one."""
    found: list[tuple[int, int]] = []
    for begin_ns, end_ns in sorted(_pairs(log.read_text().splitlines())):
        if found and begin_ns - found[-1][1] < apart_ns:
            found[-1] = (found[-1][0], max(end_ns, found[-1][1]))
        else:
            found.append((begin_ns, end_ns))
    return found


def stood_still(log: Path, begin_ns: int, end_ns: int) -> float:
    """The share of this time in which a processor or more stood still."""
    lost_ns = sum(max(0, min(end, end_ns) - max(begin, begin_ns)) for begin, end in standstills(log, 0))
    return lost_ns / max(1, end_ns - begin_ns)


def _pairs(lines: Iterable[str]) -> Iterable[tuple[int, int]]:
    for line in lines:
        words = line.split()
        if len(words) == 2:  # the last one may not be whole
            yield int(words[0]), int(words[1])


def _watch(processor: int, file: int) -> None:
    os.sched_setaffinity(0, {processor})
    first(_PRIORITY)
    last_ns = time.time_ns()
    while True:
        time.sleep(_NAP_S)
        now_ns = time.time_ns()
        if now_ns - last_ns > STILL_NS:
            os.write(file, f"{last_ns} {now_ns}\n".encode())
        last_ns = now_ns


def main(arguments: Sequence[str]) -> int:
    """A process for each processor; the group's SIGTERM ends all."""
    file = os.open(arguments[0], os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o644)
    signal.signal(signal.SIGTERM, lambda *_: os._exit(0))
    processors = sorted(os.sched_getaffinity(0))
    for processor in processors[1:]:
        if os.fork() == 0:
            _watch(processor, file)
    _watch(processors[0], file)
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
