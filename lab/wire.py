"""A wire with delay and loss between two interfaces, for kernels without netem; it measures its own jitter.

Run inside a namespace that holds both ends: `python -m lab.wire --report FILE a,b,delay_ms,loss ...`, where
`delay_ms` is one way. Every frame is due `delay` after the kernel received it (not after we got to read it), so the
time this program needs is hidden in the delay as long as the delay is longer.
"""

from __future__ import annotations

import argparse
import contextlib
import gc
import heapq
import json
import random
import select
import signal
import socket
import struct
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from lab.instrument import first

__all__ = ["Lateness", "Line", "parse_pair"]

_ETH_P_ALL = 3
_SOL_PACKET = 263
_PACKET_IGNORE_OUTGOING = 23  # linux/if_packet.h: our own frames would come back to us
_SO_TIMESTAMPNS = 35  # asm-generic/socket.h
_SPIN_NS = 60_000  # select() sleeps to within the timer slack; the rest is waited for busily
_QUEUE = 20_000  # frames under way at once; more are dropped as a full queue does


class Line:
    """One direction: frames come out `delay_ns` after they went in, and some are lost."""

    __slots__ = ("_delay_ns", "_heap", "_loss", "_random", "_sequence", "carried", "lost", "overflowed")

    def __init__(self, delay_ns: int, loss: float, rng: random.Random) -> None:
        self._delay_ns = delay_ns
        self._loss = loss
        self._random = rng
        # (due, order, frame): `order` keeps frames of one instant in the order in which they came
        self._heap: list[tuple[int, int, bytes]] = []
        self._sequence = 0
        self.carried = 0
        self.lost = 0
        self.overflowed = 0

    def push(self, received_ns: int, frame: bytes) -> None:
        """A frame entered the wire at `received_ns`."""
        if self._loss and self._random.random() < self._loss:
            self.lost += 1
        elif len(self._heap) >= _QUEUE:
            self.overflowed += 1
        else:
            self._sequence += 1
            heapq.heappush(self._heap, (received_ns + self._delay_ns, self._sequence, frame))

    @property
    def next_due_ns(self) -> int | None:
        """When the next frame leaves; None when the wire is empty."""
        return self._heap[0][0] if self._heap else None

    def pop(self, now_ns: int) -> tuple[int, bytes] | None:
        """The next frame that is due, with the time at which it was due."""
        if not self._heap or self._heap[0][0] > now_ns:
            return None
        due_ns, _, frame = heapq.heappop(self._heap)
        self.carried += 1
        return due_ns, frame


class Lateness:
    """How late frames left: the wire's own jitter, in microseconds, as a histogram of fixed size."""

    _LIMIT_US = 20_000

    def __init__(self) -> None:
        self._counts = [0] * (self._LIMIT_US + 1)
        self.total = 0
        self.worst_us = 0

    def add(self, late_ns: int) -> None:
        """One frame left this late."""
        late_us = max(late_ns, 0) // 1000
        self._counts[min(late_us, self._LIMIT_US)] += 1
        self.worst_us = max(self.worst_us, late_us)
        self.total += 1

    def percentile_us(self, percent: float) -> int:
        """The lateness that `percent` of the frames did not exceed; 0 when there were none."""
        need = self.total * percent / 100
        seen = 0
        for late_us, count in enumerate(self._counts):
            seen += count
            if count and seen >= need:
                return late_us
        return 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Pair:
    """Two interfaces to be joined."""

    left: str
    right: str
    delay_ns: int
    """One way."""
    loss: float
    """Share of the frames lost in each direction, 0 to 1."""


def parse_pair(text: str) -> Pair:
    """`left,right,delay_ms,loss` as a Pair."""
    left, right, delay_ms, loss = text.split(",")
    pair = Pair(left=left, right=right, delay_ns=round(float(delay_ms) * 1e6), loss=float(loss))
    if pair.delay_ns < 0 or not 0 <= pair.loss < 1:
        raise ValueError(f"impossible delay or loss: {text}")
    return pair


def _open(interface: str) -> socket.socket:
    end = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, 0)
    end.setsockopt(_SOL_PACKET, _PACKET_IGNORE_OUTGOING, 1)
    end.setsockopt(socket.SOL_SOCKET, _SO_TIMESTAMPNS, 1)
    end.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 8 << 20)
    end.bind((interface, _ETH_P_ALL))
    end.setblocking(False)
    return end


def _read(end: socket.socket, line: Line) -> None:
    for _ in range(64):
        try:
            frame, ancillary, _, _ = end.recvmsg(65536, 64)
        except (BlockingIOError, OSError):
            return
        received_ns = time.time_ns()
        for level, kind, data in ancillary:
            if level == socket.SOL_SOCKET and kind == _SO_TIMESTAMPNS:
                seconds, nanoseconds = struct.unpack_from("qq", data)
                received_ns = seconds * 1_000_000_000 + nanoseconds
        line.push(received_ns, frame)


def _carry(ways: list[tuple[socket.socket, Line, socket.socket]], late: Lateness) -> None:
    reading = {source: line for source, line, _ in ways}
    while True:
        now_ns = time.time_ns()
        dues = [line.next_due_ns for _, line, _ in ways]
        next_ns = min((due for due in dues if due is not None), default=None)
        wait_s = 1.0 if next_ns is None else max(0, next_ns - now_ns - _SPIN_NS) / 1e9
        ready, _, _ = select.select(list(reading), [], [], wait_s)  # its timeout has microseconds, epoll's does not
        for source in ready:
            _read(source, reading[source])
        now_ns = time.time_ns()
        for _, line, target in ways:
            while (leaving := line.pop(now_ns)) is not None:
                try:
                    target.send(leaving[1])
                except OSError:
                    line.overflowed += 1
                now_ns = time.time_ns()
                late.add(now_ns - leaving[0])


class _StopError(Exception):
    pass


def _stop(_signal: int, _frame: object) -> None:
    raise _StopError


def main(arguments: Sequence[str]) -> int:
    """Join the pairs until SIGTERM, then write what was carried and how late, and end."""
    parser = argparse.ArgumentParser(prog="python -m lab.wire", description=__doc__)
    parser.add_argument("--report", type=Path, required=True, help="JSON file written at the end")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("pairs", nargs="+", type=parse_pair, metavar="LEFT,RIGHT,DELAY_MS,LOSS")
    chosen = parser.parse_args(arguments)
    signal.signal(signal.SIGTERM, _stop)
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    first()  # without it the wire still works, and its report says how late it was
    gc.disable()  # nothing here refers to itself in a circle
    rng = random.Random(chosen.seed)
    late = Lateness()
    ways = []
    for pair in chosen.pairs:
        left, right = _open(pair.left), _open(pair.right)
        ways.append((left, Line(pair.delay_ns, pair.loss, rng), right))
        ways.append((right, Line(pair.delay_ns, pair.loss, rng), left))
    with contextlib.suppress(_StopError):
        _carry(ways, late)
    report = {
        "frames": sum(line.carried for _, line, _ in ways),
        "lost": sum(line.lost for _, line, _ in ways),
        "overflowed": sum(line.overflowed for _, line, _ in ways),
        "late_us": {
            "p50": late.percentile_us(50),
            "p90": late.percentile_us(90),
            "p99": late.percentile_us(99),
            "max": late.worst_us,
        },
    }
    chosen.report.write_text(json.dumps(report))
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
