"""Captures made by hand, and blocks taken apart, for the tests of this folder."""

import struct
from collections.abc import Iterable, Sequence
from typing import NamedTuple

from flowsonar.capture.capturefile import CaptureFile
from flowsonar.model import FRAME_SIZE, Block


class Frame(NamedTuple):
    time_ns: int
    data: bytes
    wire: int
    linktype: int
    interface: int


def frames(blocks: Iterable[Block]) -> list[Frame]:
    """All frames of the blocks with their bytes."""
    found = []
    for block in blocks:
        assert len(block.frames) % FRAME_SIZE == 0
        for time_ns, start, captured, wire, linktype, interface in struct.iter_unpack("<QIIIHH", block.frames):
            assert start + captured <= len(block.data)
            found.append(Frame(time_ns, bytes(block.data[start : start + captured]), wire, linktype, interface))
    return found


def make_block(all_frames: Sequence[Frame]) -> Block:
    """A block that holds these frames."""
    data = b"".join(frame.data for frame in all_frames)
    entries, at = b"", 0
    for frame in all_frames:
        entries += struct.pack(
            "<QIIIHH", frame.time_ns, at, len(frame.data), frame.wire, frame.linktype, frame.interface
        )
        at += len(frame.data)
    return Block(data, entries)


def pcap_header(
    order: str = "<", magic: int = 0xA1B2C3D4, linktype: int = 1, version: tuple[int, int] = (2, 4)
) -> bytes:
    return struct.pack(order + "IHHiIII", magic, *version, 0, 0, 65535, linktype)


def pcap_record(
    order: str, seconds: int, fraction: int, data: bytes, wire: int | None = None, extra: bytes = b""
) -> bytes:
    return struct.pack(order + "IIII", seconds, fraction, len(data), wire or len(data)) + extra + data


def ng_block(order: str, kind: int, body: bytes) -> bytes:
    body += bytes(-len(body) % 4)
    return struct.pack(order + "II", kind, 12 + len(body)) + body + struct.pack(order + "I", 12 + len(body))


def ng_option(order: str, code: int, value: bytes) -> bytes:
    return struct.pack(order + "HH", code, len(value)) + value + bytes(-len(value) % 4)


def ng_section(order: str, major: int = 1) -> bytes:
    return ng_block(order, 0x0A0D0D0A, struct.pack(order + "IHHq", 0x1A2B3C4D, major, 0, -1))


def ng_interface(
    order: str, linktype: int = 1, snap_length: int = 0, options: Sequence[tuple[int, bytes]] = ()
) -> bytes:
    tail = b"".join(ng_option(order, code, value) for code, value in options)
    return ng_block(order, 1, struct.pack(order + "HHI", linktype, 0, snap_length) + tail + (bytes(4) if tail else b""))


def ng_enhanced(
    order: str, interface: int, ticks: int, data: bytes, wire: int | None = None, tail: bytes = b""
) -> bytes:
    head = struct.pack(order + "IIIII", interface, ticks >> 32, ticks & 0xFFFFFFFF, len(data), wire or len(data))
    return ng_block(order, 6, head + data + bytes(-len(data) % 4) + tail)


def ng_obsolete(order: str, interface: int, ticks: int, data: bytes) -> bytes:
    head = struct.pack(order + "HHIIII", interface, 3, ticks >> 32, ticks & 0xFFFFFFFF, len(data), len(data))
    return ng_block(order, 2, head + data)


def ng_simple(order: str, wire: int, data: bytes) -> bytes:
    return ng_block(order, 3, struct.pack(order + "I", wire) + data)


class Drip:
    """A stream that gives `step` bytes a call, as a slow pipe does."""

    name = "drip"

    def __init__(self, data: bytes, step: int = 1) -> None:
        self._data = data
        self._step = step
        self._at = 0

    def read(self, size: int = -1) -> bytes:
        assert size > 0, "never ask a pipe for everything"
        piece = self._data[self._at : self._at + min(self._step, size)]
        self._at += len(piece)
        return piece


def read_all(capture: CaptureFile) -> tuple[list[Frame], str | None]:
    """All frames, and what went wrong at the end."""
    with capture:
        return frames(capture), capture.problem
