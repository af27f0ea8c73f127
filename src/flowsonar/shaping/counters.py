"""What the queues have done, class by class, as the kernel counts it."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Final

from flowsonar.shaping import tc
from flowsonar.shaping.applier import listed
from flowsonar.shaping.classes import Classes

__all__ = ["ClassCount", "QueueCounters", "read_cake", "read_htb"]

_TINS: Final = ("bulk", "best effort", "video", "voice")
"""CAKE's diffserv4 tins in its own order."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ClassCount:
    """One class of one queue since it was set up."""

    interface: str
    direction: str
    """`up` or `down`."""
    name: str
    """The class; with CAKE its tin: `bulk`, `best effort`, `video`, `voice`."""
    bytes: int
    packets: int
    drops: int
    backlog_bytes: int
    delay_ms: float | None
    """What a packet waits now: measured by CAKE, elsewhere what waits over the rate since the last reading. None
    where nothing has moved."""


def read_htb(listing: Sequence[dict[str, Any]], classes: Classes) -> Iterator[tuple[str, int, int, int, int]]:
    """(class, bytes, packets, drops, backlog) of `tc -s -j qdisc show dev X` below an HTB of ours."""
    names = {one.classid: str(one.name) for one in classes}
    for item in listing:
        name = names.get(str(item.get("parent")))
        if name is not None:
            yield name, _of(item, "bytes"), _of(item, "packets"), _of(item, "drops"), _of(item, "backlog")


def read_cake(listing: Sequence[dict[str, Any]]) -> Iterator[tuple[str, int, int, int, int, float]]:
    """(tin, bytes, packets, drops, backlog, delay in ms) of the same below a CAKE of ours."""
    for item in listing:
        if item.get("kind") != "cake" or not item.get("root"):
            continue
        for name, tin in zip(_TINS, item.get("tins", ()), strict=False):
            sent, packets, waiting = _of(tin, "sent_bytes"), _of(tin, "sent_packets"), _of(tin, "backlog_bytes")
            yield name, sent, packets, _of(tin, "drops"), waiting, _of(tin, "avg_delay_us") / 1000


def _of(item: dict[str, Any], key: str) -> int:
    return int(item.get(key, 0))


class QueueCounters:
    """Reads the queues of a plan again and again."""

    def __init__(
        self, places: Sequence[tc.Place], classes: Classes, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._places = tuple(places)
        self._classes = classes
        self._clock = clock
        self._before: dict[tuple[str, str], tuple[float, int]] = {}

    def read(self) -> tuple[ClassCount, ...]:
        """All classes of all queues; those of an interface that is gone are left out."""
        return tuple(count for place in self._places for count in self._of(place))

    def _of(self, place: tc.Place) -> Iterator[ClassCount]:
        listing = listed("tc", "-s", "qdisc", "show", "dev", place.device)
        now_s = self._clock()
        found: list[tuple[str, int, int, int, int, float | None]]
        if place.common.discipline == "cake":
            found = list(read_cake(listing))
        else:
            found = [
                (*numbers, self._delay_ms(place.device, numbers, now_s)) for numbers in read_htb(listing, self._classes)
            ]
        for name, octets, packets, drops, backlog, delay_ms in found:
            yield ClassCount(
                interface=place.device,
                direction=place.direction,
                name=name,
                bytes=octets,
                packets=packets,
                drops=drops,
                backlog_bytes=backlog,
                delay_ms=delay_ms,
            )

    def _delay_ms(self, device: str, numbers: tuple[str, int, int, int, int], now_s: float) -> float | None:
        name, octets, _, _, backlog = numbers
        before_s, before = self._before.get((device, name), (now_s, octets))
        self._before[device, name] = (now_s, octets)
        moved, past_s = octets - before, now_s - before_s
        if moved <= 0 or past_s <= 0:
            return None
        return backlog * past_s * 1000 / moved
