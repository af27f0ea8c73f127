"""What a worker hands over to its parent, as messages on a pipe: records with their places among those of all.

Lines, by far the most of it, are put into memory that both have (`Room`); the message says where they are.
"""

from __future__ import annotations

import mmap
import os
import pickle
import struct
from array import array
from bisect import bisect_right
from collections import deque
from collections.abc import Iterable, Sequence
from contextlib import suppress
from enum import Enum, auto
from sys import byteorder
from typing import TYPE_CHECKING, Any, Final, NamedTuple, cast

from flowsonar import _native
from flowsonar.errors import FlowsonarError
from flowsonar.model import FlowRecord

if TYPE_CHECKING:
    from flowsonar.app.lanes import Lanes

__all__ = [
    "CAPTURE_SHIFT",
    "FOREVER",
    "PIPE_BYTES",
    "End",
    "Form",
    "Receiver",
    "Room",
    "Sender",
    "merged_lines",
    "merged_records",
]

CAPTURE_SHIFT: Final = 40
"""A record's key is its capture's number and its ordinal there: more than 2^40 records are in no capture."""
FOREVER: Final = 1 << 63
PIPE_BYTES: Final = 1 << 20
_HEAD: Final = struct.Struct("=IIQQQ")
"""Kind, records, bytes after their keys, the key up to which all is there, bytes read of the capture."""
_LINES, _PLACED, _RECORDS, _END, _FAILED = range(5)
_SEND_BYTES: Final = 1 << 18
_SEND_BLOCKS: Final = 64
"""A message for each block would cost more than its records; without any the progress would stand still."""
_RECORD_BYTES: Final = 1024
"""About as much as a line."""
_PLACES: Final = 16
_PLACE_BYTES: Final = 1 << 20
_AT: Final = struct.Struct("=II")
"""The number of a place, and how much of it is used."""


class Form(Enum):
    """What is handed over."""

    LINES = auto()
    """JSON lines, many in a piece."""
    WHOLE = auto()
    """Lines of the fast lane that have all of a record, each alone, and the records of the others."""
    RECORDS = auto()


class End(NamedTuple):
    """A worker's last word."""

    problems: list[str]
    table: dict[str, int]
    """What the flow tables counted, the same for all workers."""
    counts: dict[str, int]
    """What was counted of the worker's own flows."""
    learned: int
    kept: bytes
    """What its fast lane learned, and how much of it is new."""


class Room:
    """Memory that a worker and its parent have both, in places: each holds the lines of one message.

    Made before the worker is forked. The worker fills places, the parent gives them back.
    """

    def __init__(self) -> None:
        self._memory = memoryview(mmap.mmap(-1, _PLACES * _PLACE_BYTES))
        self._free = list(range(_PLACES))
        self._given_back, self._gives_back = os.pipe()

    def fill(self, lines: Iterable[bytes], size: int) -> bytes | None:
        """Put lines of so many bytes into a place, waiting for one; what tells of it, or None where they are too large.

        Raises BrokenPipeError where the parent has gone.
        """
        if size > _PLACE_BYTES:
            return None
        if not self._free:
            self._free += os.read(self._given_back, _PLACES)
            if not self._free:
                raise BrokenPipeError
        place = self._free.pop()  # the last one that was given back: it is still in the processor's cache
        at = place * _PLACE_BYTES
        for line in lines:
            self._memory[at : at + len(line)] = line
            at += len(line)
        return _AT.pack(place, size)

    def look(self, told: bytes | memoryview) -> tuple[int, memoryview]:
        """The place that was told of, and what is there."""
        place, size = _AT.unpack(told)
        at = place * _PLACE_BYTES
        return place, self._memory[at : at + size]

    def give_back(self, place: int) -> None:
        """Nobody reads what is there any more."""
        with suppress(BrokenPipeError):  # the worker has ended
            os.write(self._gives_back, bytes((place,)))

    def close_for_worker(self) -> None:
        """In the worker: only the parent gives back, so that the worker hears of its end."""
        os.close(self._gives_back)

    def close_for_parent(self) -> None:
        """In the parent: it takes none."""
        os.close(self._given_back)

    def close(self) -> None:
        """In the parent: the worker needs no more places."""
        os.close(self._gives_back)


class Sender:
    """The worker's end: many records in a message. Methods raise BrokenPipeError when the parent wants no more."""

    def __init__(self, descriptor: int, form: Form, room: Room) -> None:
        self.form = form
        self._room = room
        self._descriptor = descriptor
        self._items: list[bytes | FlowRecord] = []
        self._keys = array("Q")
        self._bytes = 0
        self._blocks = 0
        self._base = 0
        self._done = 0
        self._position = 0

    def begin(self, capture: int) -> None:
        """Records are of this capture from now on."""
        self._base = self._done = capture << CAPTURE_SHIFT

    def add(self, ended: list[bytes | FlowRecord], lanes: Lanes, position: int) -> None:
        """Take what the lanes gave for a block."""
        for one in ended:
            if self.form is Form.LINES:
                line = one if isinstance(one, bytes) else _encoded(one)
                self._items.append(line)
                self._bytes += len(line)
            elif isinstance(one, bytes):
                self._items += one.splitlines(keepends=True)
                self._bytes += len(one)
            else:
                self._items.append(one)
                self._bytes += _RECORD_BYTES
        base = self._base
        self._keys.extend([base + ordinal for ordinal in lanes.ordinals])
        lanes.ordinals.clear()
        self._position = position
        self._blocks += 1
        if self._bytes >= _SEND_BYTES or self._blocks >= _SEND_BLOCKS:
            self.flush(lanes)

    def flush(self, lanes: Lanes) -> None:
        """Send what waits."""
        self._done = self._base + lanes.table.lane_counts()["lane_closes"]
        if self.form is Form.LINES:
            lines = cast("list[bytes]", self._items)
            told = self._room.fill(lines, self._bytes) if lines else b""
            kind, body = (_PLACED, told) if told else (_LINES, b"".join(lines))
        else:
            kind, body = _RECORDS, pickle.dumps(self._items, pickle.HIGHEST_PROTOCOL)
        self._write(kind, self._keys.tobytes(), body)
        self._items.clear()
        self._keys = array("Q")
        self._bytes = self._blocks = 0

    def end(self, told: End) -> None:
        """Say the last word."""
        self._done = FOREVER
        self._write(_END, b"", pickle.dumps(tuple(told)))

    def failed(self, error: FlowsonarError) -> None:
        """Say why it cannot go on."""
        self._write(_FAILED, b"", pickle.dumps(error))

    def _write(self, kind: int, keys: bytes, body: bytes) -> None:
        head = _HEAD.pack(kind, len(keys) // 8, len(body), self._done, self._position)
        for piece in (head + keys, body):
            left = memoryview(piece)
            while left:
                left = left[os.write(self._descriptor, left) :]


def _encoded(record: FlowRecord) -> bytes:
    from flowsonar.outputs.eve import encode  # noqa: PLC0415 - most are lines already

    return encode(record)


class _Piece(NamedTuple):
    """Lines of one message that are still to be merged."""

    place: int | None
    """In the room, where they are there."""
    text: memoryview
    keys: memoryview
    last: int
    """The greatest key."""


class Receiver:
    """The parent's end for one worker: holds records until those before them have come from the other workers."""

    def __init__(self, descriptor: int, room: Room) -> None:
        self._descriptor = descriptor
        self._room = room
        self._buffer = bytearray()
        self._pieces: deque[_Piece] = deque()
        self._text_bytes = 0
        self.keys = bytearray()
        self.records: list[bytes | FlowRecord] = []
        self.done = 0
        """All records up to this key are there."""
        self.position = 0
        """Bytes of the capture that were read."""
        self.end: End | None = None

    @property
    def held_bytes(self) -> int:
        """What waits for other workers."""
        return self._text_bytes + _RECORD_BYTES * len(self.records)

    @property
    def first(self) -> _Piece | None:
        """The lines that come next."""
        return self._pieces[0] if self._pieces else None

    def drop(self, lines: int, size: int) -> None:
        """So many of the first lines were taken."""
        self._text_bytes -= size
        place, text, keys, last = self._pieces[0]
        if size < len(text):
            self._pieces[0] = _Piece(place, text[size:], keys[8 * lines :], last)
            return
        self._pieces.popleft()
        if place is not None:
            self._room.give_back(place)

    def read(self) -> bool:
        """Take what is there, waiting for it; False when the worker has gone. Raises what it could not go on for."""
        data = os.read(self._descriptor, PIPE_BYTES)
        self._buffer += data
        at = 0
        view = memoryview(self._buffer)
        while len(view) - at >= _HEAD.size:
            kind, count, size, done, position = _HEAD.unpack_from(view, at)
            begin = at + _HEAD.size + 8 * count
            if len(view) < begin + size:
                break
            self._take(kind, view[at + _HEAD.size : begin], view[begin : begin + size])
            self.done, self.position = done, position
            at = begin + size
        view.release()
        del self._buffer[:at]
        return bool(data)

    def _take(self, kind: int, keys: memoryview, body: memoryview) -> None:
        with keys, body:
            if kind in (_LINES, _PLACED):
                place, text = self._room.look(body) if kind == _PLACED else (None, memoryview(bytes(body)))
                if text:
                    last = int.from_bytes(keys[-8:], byteorder)
                    self._pieces.append(_Piece(place, text, memoryview(bytes(keys)), last))
                    self._text_bytes += len(text)
                return
            self.keys += keys
            told: Any = pickle.loads(body)  # noqa: S301 - our own process wrote it
        if kind == _RECORDS:
            self.records += told
        elif kind == _END:
            self.end = End(*told)
        else:
            raise told


def merged_lines(receivers: Sequence[Receiver], bound: int) -> list[bytes]:
    """Take the lines of all up to a key, in one order, many in a piece."""
    assert _native.core is not None
    found: list[bytes] = []
    while True:
        waiting = [(one, piece) for one in receivers if (piece := one.first) is not None]
        limit = min([bound, *(piece.last for _, piece in waiting)])  # what its worker said after that is not looked at
        text, taken = _native.core.merge_lines(tuple((piece.text, piece.keys) for _, piece in waiting), limit)
        if not text:
            return found
        found.append(text)
        for (one, _), (lines, size) in zip(waiting, taken, strict=True):
            if lines:
                one.drop(lines, size)


def merged_records(receivers: Sequence[Receiver], bound: int) -> list[bytes | FlowRecord]:
    """Take the records, and the lines that stand for one, of all up to a key, in one order."""
    found: list[tuple[int, bytes | FlowRecord]] = []
    for one in receivers:
        keys = array("Q", bytes(one.keys))
        count = bisect_right(keys, bound)
        found += zip(keys[:count], one.records[:count], strict=True)
        del one.keys[: 8 * count], one.records[:count]
    found.sort(key=lambda pair: pair[0])
    return [record for _, record in found]
