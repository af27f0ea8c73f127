"""Carries the brake out: reads what comes over the line, and changes the rate of the queue for downloads.

A thread of its own, for a moment counts here. The rate is changed by a `tc` that waits for commands; a shell behind it
sets the full rate once more when the commands end, however this program has ended: nothing stays slow after `kill -9`.
"""

from __future__ import annotations

import os
import shlex
import subprocess
import threading
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Final

from flowsonar.shaping import tc
from flowsonar.shaping.applier import PATH
from flowsonar.shaping.brake import FREE, HELD, Brake

__all__ = ["Braking", "braked", "counter_of", "reader"]

_LOOK_S: Final = 0.005
_CALM_S: Final = 0.02
_ABSENT_S: Final = 1.0
_END_S: Final = 5.0
_INTERFACES: Final = Path("/sys/class/net")
_COUNTER: Final = 32


def braked(places: Sequence[tc.Place]) -> list[tc.Place]:
    """Those that get a brake. CAKE counts by itself what it drops of what comes in."""
    return [place for place in places if place.direction == "down" and place.common.discipline == "htb"]


class Braking:
    """One queue's brake: works from `start` to `stop`."""

    def __init__(self, place: tc.Place, *, counter: Path | None = None, program: str = "tc") -> None:
        """`counter` is a file with the number of bytes that have come."""
        self.holds = 0
        """How often it was applied."""
        self._place = place
        self._counter = counter or counter_of(place.common.outside)
        self._brake = Brake(place.kbit)
        self._program = program
        self._ended = threading.Event()
        self._thread: threading.Thread | None = None
        self._changes: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        """Begin. A tc that cannot be started leaves the queue with its full rate."""
        script = f"{self._program} -force -batch - ; exec {self._program} {shlex.join(self._words(FREE).split())}"
        with suppress(OSError):
            self._changes = subprocess.Popen(
                ["/bin/sh", "-c", script],
                stdin=subprocess.PIPE,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
                env={**os.environ, "PATH": PATH, "LC_ALL": "C"},
                start_new_session=True,  # Ctrl-C is for this program: the shell has its last command to carry out
            )
            self._thread = threading.Thread(target=self._run, name=f"brake {self._place.device}", daemon=True)
            self._thread.start()

    def stop(self) -> None:
        """End; the rate is the full one again when this returns."""
        self._ended.set()
        if self._thread is not None:
            self._thread.join(_END_S)
        if self._changes is not None:
            with suppress(OSError):
                self._changes.communicate(timeout=_END_S)
            if self._changes.poll() is None:
                self._changes.kill()

    def _words(self, factor: float) -> str:
        kbit = self._place.kbit
        return "class change " + tc.root_class(self._place.device, kbit, max(8, int(kbit * factor)))

    def _run(self) -> None:
        read = reader(self._counter)
        while True:
            octets = read()
            if octets is None:
                wait_s = _ABSENT_S
            else:
                if self._brake.step(time.monotonic(), octets) and not self._change():
                    return
                wait_s = _CALM_S if self._brake.calm else _LOOK_S
            if self._ended.wait(wait_s):
                return

    def _change(self) -> bool:
        assert self._changes is not None
        assert self._changes.stdin is not None
        self.holds += self._brake.factor == HELD
        try:
            self._changes.stdin.write(self._words(self._brake.factor).encode() + b"\n")
            self._changes.stdin.flush()
        except OSError:  # tc has ended, and the shell has set the full rate
            return False
        return True


def counter_of(interface: str) -> Path:
    """The file with the number of bytes that have come over an interface."""
    return _INTERFACES / interface / "statistics" / "rx_bytes"


def reader(counter: Path) -> Callable[[], int | None]:
    """What reads a counter again and again; None while there is none."""
    file: list[int] = []

    def read() -> int | None:
        try:
            if not file:
                file.append(os.open(counter, os.O_RDONLY | os.O_CLOEXEC))
            return int(os.pread(file[0], _COUNTER, 0))
        except (OSError, ValueError):
            while file:
                os.close(file.pop())
            return None

    return read
