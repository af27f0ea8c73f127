"""Carries the windows out: reads what waits for downloads, class by class, and brings their windows to the firewall.

A thread of its own, as the brake's. Elements end by themselves after two seconds: however this program ends or hangs,
windows are soon as they were.
"""

from __future__ import annotations

import os
import socket
import struct
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Final

from flowsonar.errors import MalformedError, ShapingError
from flowsonar.shaping import tc
from flowsonar.shaping.braking import counter_of, reader
from flowsonar.shaping.classdump import ClassDump
from flowsonar.shaping.classes import Classes, by_name
from flowsonar.shaping.nftmessages import Drop, Operation, Place, Put
from flowsonar.shaping.nftsocket import ElementSocket
from flowsonar.shaping.windowrules import OLDER, SHIFTS, YOUNG, key_of, target_of, units
from flowsonar.shaping.windows import NARROWED, Windows

__all__ = ["Elements", "Windowing"]

_LOOK_S: Final = 0.01
_LIVES_MS: Final = 2000
_AGAIN_S: Final = 0.8
"""Elements are put anew before they end."""
_PRIORITY: Final = -10
_ABSENT_S: Final = 1.0
_END_S: Final = 5.0


class Elements:
    """What stands in the maps, and what is to be changed there."""

    def __init__(self, classes: Classes) -> None:
        self._numbers = {name: by_name(classes, name).number for name in NARROWED}
        # place: (chain, when it is to be put anew)
        self._there: dict[Place, tuple[str, float]] = {}

    def changes(self, windows: Windows, now_s: float) -> list[Operation]:
        """Operations that bring the maps to these windows."""
        found: list[Operation] = []
        for place, chain in self._wanted(windows):
            before = self._there.get(place)
            if (before is None and chain is None) or (before is not None and before[0] == chain and now_s < before[1]):
                continue
            if before is not None:
                found.append(Drop(place))
                del self._there[place]
            if chain is not None:
                found.append(Put(place, chain, _LIVES_MS))
                self._there[place] = (chain, now_s + _AGAIN_S)
        return found

    def forget(self) -> None:
        """The maps may be others now."""
        self._there.clear()

    def _wanted(self, windows: Windows) -> Iterator[tuple[Place, str | None]]:
        kinds = [(YOUNG, 0, windows.young(None)), (OLDER, 0, windows.unknown)]
        for which, number in self._numbers.items():
            kinds += [(YOUNG, number, windows.young(which)), (OLDER, number, windows.of(which))]
        for name, number, octets in kinds:
            for shift in SHIFTS:
                place = Place(name, struct.pack("=I", key_of(number, shift)))
                yield place, None if octets is None else target_of(units(octets, shift))


class Windowing:
    """The windows of one line: works from `start` to `stop`."""

    def __init__(self, place: tc.Place, classes: Classes, *, counter: Path | None = None) -> None:
        """`counter` is a file with the number of bytes that have come."""
        self.windows = Windows(place.kbit)
        self._place = place
        self._counter = counter or counter_of(place.common.outside)
        self._minors = {name: by_name(classes, name).minor for name in NARROWED}
        self._elements = Elements(classes)
        self._ended = threading.Event()
        self._thread: threading.Thread | None = None

    def start(self) -> None:
        """Begin. Where the kernel cannot be asked, windows stay as they are."""
        self._thread = threading.Thread(target=self._run, name=f"windows {self._place.device}", daemon=True)
        self._thread.start()

    def stop(self) -> None:
        """End; what stands in the maps goes with the table, or by itself."""
        self._ended.set()
        if self._thread is not None:
            self._thread.join(_END_S)

    def _run(self) -> None:
        with suppress(OSError):  # a moment counts here, and it takes little
            os.setpriority(os.PRIO_PROCESS, threading.get_native_id(), _PRIORITY)
        read = reader(self._counter)
        while not self._ended.is_set():
            with suppress(OSError, MalformedError, ShapingError):  # table or interface are gone, perhaps for a moment
                self._work(read)
            self._elements.forget()
            self._ended.wait(_ABSENT_S)

    def _work(self, read: Callable[[], int | None]) -> None:
        dump = ClassDump(socket.if_nametoindex(self._place.device))
        try:
            sending = ElementSocket()
            try:
                while not self._ended.wait(_LOOK_S):
                    self._step(read, dump, sending.apply)
            finally:
                sending.close()
        finally:
            dump.close()

    def _step(
        self, read: Callable[[], int | None], dump: ClassDump, send: Callable[[Sequence[Operation]], int]
    ) -> None:
        octets = read()
        if octets is None:
            return
        now_s = time.monotonic()
        found = dump.read()
        served = {name: found[minor] for name, minor in self._minors.items() if minor in found}
        self.windows.step(now_s, octets, served)
        changes = self._elements.changes(self.windows, now_s)
        if changes:
            send(changes)
