"""The pcapng format: sections, interfaces and what to skip (draft-ietf-opsawg-pcapng, section numbers below).

Packet blocks are walked by the native index; this module reads the rare blocks between them.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from typing import Final

from flowsonar._native.framing import MAX_BLOCK, index_pcapng, pack_interface
from flowsonar.capture import linktypes
from flowsonar.model import FRAME_SIZE, Block

__all__ = ["MAGIC", "MINIMUM_BYTES", "PcapngReader"]

MAGIC: Final = b"\x0a\x0d\x0d\x0a"
"""Section Header Block (4.1); the same in both byte orders."""

MINIMUM_BYTES: Final = 28
"""The shortest Section Header Block."""

_SECTION_HEADER: Final = 0x0A0D0D0A
_INTERFACE_DESCRIPTION: Final = 1  # 4.2
_SIMPLE_PACKET: Final = 3  # 4.4
_PACKET_BLOCKS: Final = frozenset({2, _SIMPLE_PACKET, 6})  # 2: obsolete Packet Block (B), 6: Enhanced (4.3)
_END_OF_OPTIONS: Final = 0  # 3.5
_IF_NAME: Final = 2
_IF_TSRESOL: Final = 9
_IF_TSOFFSET: Final = 14

_INTERFACES: Final = 65536
"""Interfaces of one file: `Block.frames` has 16 bits for the index."""

_SECTION_INTERFACES: Final = 4096
"""Interfaces of one section: more than any machine captures from, and a bound on the table walked per call."""

_NO_TIME: Final = bytes(8)

_NAME_CHARACTERS: Final = 64
"""Of an interface name; Linux allows 15, others give sentences."""


class PcapngReader:
    """Finds the packets of one pcapng stream; sans-I/O."""

    interfaces: list[str]
    """Names in the order of their description over all sections; empty where the file gives none."""
    problem: str | None
    """Set when a block cannot be true; nothing after it can be found then."""
    consumed: int
    """Bytes of the last `blocks` argument that are done with."""

    def __init__(self) -> None:
        self.interfaces = []
        self.problem = None
        self.consumed = 0
        self._byteorder = "<"
        self._table = b""
        self._described = 0
        self._skip = 0
        self._last_time = _NO_TIME

    @property
    def skipping(self) -> bool:
        """Whether the stream is inside a long block that is passed over."""
        return self._skip > 0

    def blocks(self, data: bytes | memoryview) -> Iterator[Block]:
        """The packets of all whole blocks at the start of `data`; what is left from `consumed` on, next time again."""
        view = memoryview(data)
        at = min(self._skip, len(data))
        self._skip -= at
        while self.problem is None and self._skip == 0:
            if (taken := self._other(view[at:])) == 0 and self.problem is None:
                rest = view[at:]
                frames, taken, self.problem = index_pcapng(rest, self._byteorder, self._table)
                if frames:
                    yield Block(rest, self._timed(rest, frames))
            if taken == 0:
                break
            at += taken
        self.consumed = at

    def _timed(self, data: memoryview, frames: bytes) -> bytes:
        """The frames; simple packet blocks at their start get the time of the last packet of the call before."""
        if self._kind(data, 0) == _SIMPLE_PACKET and self._last_time != _NO_TIME:
            held, at = bytearray(frames), 0
            for entry in range(0, len(held), FRAME_SIZE):
                if self._kind(data, at) != _SIMPLE_PACKET:
                    break
                held[entry : entry + 8] = self._last_time
                at += self.needed(data[at : at + 12])
            frames = bytes(held)
        self._last_time = frames[-FRAME_SIZE : len(frames) - FRAME_SIZE + 8]
        return frames

    def _kind(self, data: memoryview, at: int) -> int:
        (kind,) = struct.unpack_from(self._byteorder + "I", data, at)
        return int(kind)

    def needed(self, rest: bytes | memoryview) -> int:
        """How many bytes the block at the start of `rest`, which is not whole, takes at least."""
        if len(rest) < 12:
            return 12
        return int(struct.unpack_from(self._order(rest) + "I", rest, 4)[0])

    def _order(self, block: bytes | memoryview) -> str:
        """The byte order of the block: the section's, or the new one of a section header."""
        if block[:4] != MAGIC:
            return self._byteorder
        return {b"\x4d\x3c\x2b\x1a": "<", b"\x1a\x2b\x3c\x4d": ">"}.get(bytes(block[8:12]), self._byteorder)

    def _other(self, block: memoryview) -> int:
        """Read a block that holds no packet; the bytes it takes, 0 when it does, is not whole yet, or is damaged."""
        if len(block) < 12:
            return 0
        order = self._order(block)
        kind, length = struct.unpack_from(order + "II", block)
        if kind in _PACKET_BLOCKS:
            return 0
        if length < 12 or length % 4:
            self.problem = f"a block says that it is {length} bytes long"
            return 0
        if kind in {_SECTION_HEADER, _INTERFACE_DESCRIPTION}:
            if length > MAX_BLOCK:
                self.problem = f"a block of type {kind} says that it is {length} bytes long"
                return 0
        elif length > MAX_BLOCK:  # passed over piece by piece instead of kept whole in memory
            self._skip = max(0, length - len(block))
            return int(min(length, len(block)))
        if length > len(block):
            return 0
        if struct.unpack_from(order + "I", block, length - 4)[0] != length:
            self.problem = "the two lengths of a block differ"
            return 0
        body = block[8 : length - 4]
        if kind == _SECTION_HEADER:
            self._section(body, order)
        elif kind == _INTERFACE_DESCRIPTION:
            self._interface(body)
        return 0 if self.problem else int(length)

    def _section(self, body: memoryview, order: str) -> None:
        if len(body) < 16:
            self.problem = "a section header is too short"
            return
        major = struct.unpack_from(order + "H", body, 4)[0]
        if bytes(body[:4]) not in {b"\x4d\x3c\x2b\x1a", b"\x1a\x2b\x3c\x4d"}:
            self.problem = "a section header has no byte order"
        elif major != 1:
            self.problem = f"a section is of pcapng version {major}, and only 1 is known"
        else:
            self._byteorder = order
            self._table = b""
            self._described = 0

    def _interface(self, body: memoryview) -> None:
        if len(body) < 8:
            self.problem = "an interface description is too short"
            return
        if len(self.interfaces) >= _INTERFACES or self._described >= _SECTION_INTERFACES:
            self.problem = f"there are more than {_SECTION_INTERFACES} interfaces in a section or {_INTERFACES} in all"
            return
        self._described += 1
        linktype, _, snap_length = struct.unpack_from(self._byteorder + "HHI", body)
        options = self._options(body[8:])
        resolution = options.get(_IF_TSRESOL, b"")[:1] or b"\x06"  # microseconds where nothing is said
        offset = options.get(_IF_TSOFFSET, b"")
        offset_s = struct.unpack(self._byteorder + "q", offset)[0] if len(offset) == 8 else 0
        self._table += pack_interface(
            linktypes.normal(linktype), len(self.interfaces), snap_length, _ticks_per_s(resolution[0]), offset_s
        )
        self.interfaces.append(_clean(options.get(_IF_NAME, b"")))

    def _options(self, data: memoryview) -> dict[int, bytes]:
        """The options (3.5) of a block, the first of each code; a length that lies ends the list."""
        options: dict[int, bytes] = {}
        at = 0
        while at + 4 <= len(data):
            code, length = struct.unpack_from(self._byteorder + "HH", data, at)
            if code == _END_OF_OPTIONS or at + 4 + length > len(data):
                break
            options.setdefault(code, bytes(data[at + 4 : at + 4 + length]))
            at += 4 + (length + 3 & ~3)
        return options


def _ticks_per_s(resolution: int) -> int:
    """`if_tsresol` (4.2): a negative power of ten, or of two where the highest bit is set; not finer than 2^-63 s."""
    ticks = 1 << (resolution & 0x7F) if resolution & 0x80 else 10**resolution
    return int(min(ticks, 1 << 63))


def _clean(name: bytes) -> str:
    """A name that a terminal can show."""
    text = name.split(b"\0", 1)[0].decode("utf-8", "replace")[:_NAME_CHARACTERS]
    return "".join(character if character.isprintable() else "?" for character in text)
