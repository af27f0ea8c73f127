"""Interfaces as a capture without an end: blocks of all their rings, for whoever reads captures."""

from __future__ import annotations

import select
import time
from collections.abc import Iterator, Sequence
from typing import Final, Self

from flowsonar.capture.ring import SETTLE_S, Ring, drops_by_interface, open_rings
from flowsonar.model import Block

__all__ = ["LiveCapture"]

_WAIT_S: Final = 0.25
"""The longest time without a block: then an empty one is given, so that what waits to be written is written."""
_CHECK_S: Final = 1.0
"""An interface that goes away does not make its socket readable."""
_NOTHING: Final = Block(b"", b"")


class LiveCapture:
    """Iterate it inside `with`; a block's bytes are valid until the next one is asked for. Raises CaptureError."""

    def __init__(
        self,
        interfaces: Sequence[str],
        *,
        blocks: int,
        rings: int = 1,
        filter: str | None = None,  # noqa: A002 - as `Ring` calls it
        duration_s: float | None = None,
    ) -> None:
        self.interfaces = list(interfaces)
        self.problem: str | None = None
        self.told: list[str] = []
        """Interfaces that went away, and why."""
        self.position = 0
        self.size: int | None = None
        self._duration_s = duration_s
        self._gone: dict[int, str | None] = {}
        self._seen = {"kernel_packets": 0, "kernel_drops": 0}
        self._stopping = False
        self._rings: list[Ring] = open_rings(self.interfaces, rings=rings, blocks=blocks, filter=filter)

    def __iter__(self) -> Iterator[Block]:
        waiting = select.poll()
        for ring in self._rings:
            waiting.register(ring.fileno(), select.POLLIN | select.POLLERR)
        now_s = time.monotonic()
        end_s = None if self._duration_s is None else now_s + self._duration_s
        check_s = now_s
        while not self._stopping and (end_s is None or now_s < end_s):
            found = False
            for block in self._ready():
                found = True
                yield block
            now_s = time.monotonic()
            if now_s >= check_s:
                check_s = now_s + _CHECK_S
                self._check()
            if not found:
                wait_s = _WAIT_S if end_s is None else max(0.0, min(_WAIT_S, end_s - now_s))
                if not waiting.poll(wait_s * 1000):
                    yield _NOTHING
                now_s = time.monotonic()
        time.sleep(SETTLE_S)
        yield from self._ready()

    def stop(self) -> None:
        """Give what has come until now, then end. For signal handlers; takes a quarter of a second at most."""
        self._stopping = True

    def _ready(self) -> Iterator[Block]:
        for ring in self._rings:
            for block in ring.read():
                self.position += len(block.data)
                yield block

    def _check(self) -> None:
        for number, ring in enumerate(self._rings):
            gone = ring.check()
            if gone is not None and gone != self._gone.get(number) and gone not in self._gone.values():
                self.told.append(gone)
            self._gone[number] = gone

    def counters(self) -> dict[str, int]:
        """What the kernel gave and dropped."""
        if self._rings:
            self._seen = drops_by_interface(self._rings)
        return self._seen

    def close(self) -> None:
        """End the capture; what was counted stays."""
        self.counters()
        for ring in self._rings:
            ring.close()
        self._rings.clear()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()
