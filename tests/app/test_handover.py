import os
from array import array
from sys import byteorder
from typing import cast

import pytest

from flowsonar import _native
from flowsonar.app.handover import (
    CAPTURE_SHIFT,
    FOREVER,
    End,
    Form,
    Receiver,
    Room,
    Sender,
    merged_lines,
    merged_records,
)
from flowsonar.app.lanes import Lanes
from flowsonar.errors import CaptureError
from tests.needs import needs_native


class FakeLanes:
    """What a sender asks of lanes."""

    def __init__(self) -> None:
        self.ordinals: list[int] = []
        self.table = self
        self.closes = 0

    def lane_counts(self) -> dict[str, int]:
        return {"lane_closes": self.closes}


def _pair(form: Form = Form.LINES) -> tuple[Sender, Receiver]:
    reading, writing = os.pipe()
    room = Room()
    return Sender(writing, form, room), Receiver(reading, room)


def _send(sender: Sender, lines: dict[int, bytes], closes: int) -> None:
    lanes = FakeLanes()
    lanes.ordinals, lanes.closes = list(lines), closes
    sender.add(list(lines.values()), cast("Lanes", lanes), 7)
    sender.flush(cast("Lanes", lanes))


@needs_native()
def test_lines_wait_for_those_before_them() -> None:
    (one, from_one), (other, from_other) = _pair(), _pair()
    one.begin(1)
    other.begin(1)
    _send(one, {1: b"a\n", 4: b"d\n"}, 4)
    _send(other, {2: b"b\n", 3: b"c\n"}, 3)
    assert from_one.read()
    assert from_other.read()
    base = 1 << CAPTURE_SHIFT
    assert (from_one.done, from_other.done, from_one.position) == (base + 4, base + 3, 7)
    both = (from_one, from_other)
    assert merged_lines(both, base) == []
    assert b"".join(merged_lines(both, base + 3)) == b"a\nb\nc\n"
    assert from_one.held_bytes == 2
    assert merged_lines(both, FOREVER) == [b"d\n"]
    assert from_one.held_bytes == 0


def test_lines_that_stand_for_records_come_one_by_one() -> None:
    (one, from_one), (other, from_other) = _pair(Form.WHOLE), _pair(Form.WHOLE)
    lanes = FakeLanes()
    lanes.ordinals, lanes.closes = [1, 2, 4], 4
    one.add([b"a\nb\n", b"d\n"], cast("Lanes", lanes), 7)
    one.flush(cast("Lanes", lanes))
    _send(other, {3: b"c\n"}, 3)
    assert from_one.read()
    assert from_other.read()
    assert merged_records((from_one, from_other), 3) == [b"a\n", b"b\n", b"c\n"]
    assert merged_records((from_one, from_other), FOREVER) == [b"d\n"]


@needs_native()
def test_the_last_word_and_what_went_wrong() -> None:
    sender, receiver = _pair()
    end = End(["cut short"], {"frames": 1}, {"flows": 2}, 3, b"kept")
    sender.end(end)
    assert receiver.read()
    assert receiver.end == end
    assert receiver.done == FOREVER
    sender, receiver = _pair()
    sender.failed(CaptureError("day.pcap: no such file"))
    with pytest.raises(CaptureError, match="no such file"):
        receiver.read()


@needs_native()
def test_merging_needs_whole_lines() -> None:
    assert _native.core is not None
    keys = array("Q", [1, 2]).tobytes()
    assert _native.core.merge_lines(((b"a\nhalf", keys),), 9) == (b"a\n", [(1, 2)])
    assert _native.core.merge_lines((), 9) == (b"", [])
    with pytest.raises(TypeError):
        _native.core.merge_lines((b"a\n",), 9)
    with pytest.raises(ValueError, match="parts"):
        _native.core.merge_lines(((b"", b""),) * 257, 9)


@needs_native()
def test_places_are_given_back() -> None:
    """More lines than the room holds pass through it, and those that no place holds go another way."""
    sender, receiver = _pair()
    sender.begin(0)
    for key in range(1, 40):
        _send(sender, {key: b"%d\n" % key}, key)
        assert receiver.read()
        assert merged_lines((receiver,), key) == [b"%d\n" % key]
    large = b"x" * ((1 << 20) - 1) + b"\n"
    assert Room().fill([large, b"\n"], len(large) + 1) is None
    room = Room()
    told = room.fill([large], len(large))
    assert told is not None
    place, text = room.look(told)
    assert text == large
    for _ in range(15):
        assert room.fill([b"\n"], 1) is not None
    room.give_back(place)
    assert room.fill([b"y\n"], 2) == told[:4] + (2).to_bytes(4, byteorder)


def test_a_worker_hears_that_nobody_takes_its_lines() -> None:
    room = Room()
    for _ in range(16):
        assert room.fill([b"\n"], 1) is not None
    room.close()
    with pytest.raises(BrokenPipeError):
        room.fill([b"\n"], 1)
