"""Writes captures as pcapng (draft-ietf-opsawg-pcapng): little-endian, times in nanoseconds."""

from __future__ import annotations

import contextlib
import os
import struct
from collections.abc import Sequence
from pathlib import Path
from typing import Final, Self

from flowsonar._native.framing import render_pcapng
from flowsonar.capture.bpf import SNAP_BYTES
from flowsonar.errors import CaptureError
from flowsonar.model import FRAME_SIZE, Block

__all__ = ["PcapngWriter"]

_SECTION_HEADER: Final = 0x0A0D0D0A
_BYTE_ORDER: Final = 0x1A2B3C4D
_UNKNOWN_LENGTH: Final = 0xFFFFFFFFFFFFFFFF
_INTERFACE_DESCRIPTION: Final = 1
_SHB_USERAPPL: Final = 4
_IF_NAME: Final = 2
_IF_TSRESOL: Final = 9
_NANOSECONDS: Final = b"\x09"
_INTERFACE_AT: Final = 22
"""Where the interface index stands in an entry of `Block.frames`; the link type is the two bytes before."""


class PcapngWriter:
    """Keeps blocks of packets in a file, which is whole after every `write`: nothing is lost when we are killed.

    An existing file is replaced. Raises `CaptureError` when it cannot be created, and once when it cannot be written
    any more (a full disk): the file is then cut back to its last whole packet and later blocks are only counted.
    """

    packets: int
    """Packets in the file."""
    lost: int
    """Packets that came after the file could not be written any more."""

    def __init__(self, path: str | Path, interfaces: Sequence[str] = ()) -> None:
        """`interfaces`: names by the interface index of the frames; what has no name here is written without."""
        self.path = Path(path)
        self.packets = 0
        self.lost = 0
        self._names = interfaces
        self._numbers: dict[int, int] = {}
        self._as_numbered: set[int] = set()
        self._whole = 0
        try:
            self._descriptor: int | None = os.open(
                self.path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o640
            )
        except (OSError, ValueError) as error:
            reason = (error.strerror if isinstance(error, OSError) else None) or str(error)
            raise CaptureError(f"{self.path}: cannot be created for the packets: {reason}") from None
        try:
            self._append(_section_header())
        except BaseException:
            self.close()
            raise

    def write(self, block: Block) -> None:
        """Append the block's packets. Raises `CaptureError` the first time that this fails."""
        count = len(block.frames) // FRAME_SIZE
        if self._descriptor is None:
            self.lost += count
            return
        if count == 0:
            return
        head, numbered = self._number(block)
        try:
            self._append(head + render_pcapng(numbered))
        except CaptureError:
            self.lost += count
            raise
        self.packets += count

    def close(self) -> None:
        """End the file; writing afterwards only counts."""
        if self._descriptor is not None:
            descriptor, self._descriptor = self._descriptor, None
            os.close(descriptor)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exception: object) -> None:
        self.close()

    def _number(self, block: Block) -> tuple[bytes, Block]:
        """Interface descriptions that are still missing, and the block with interfaces numbered as the file does.

        An interface of the file has one link type, so what counts is the pair of both, read as one number here.
        """
        # Bytes 20 to 23 of each 24: every sixth 32-bit word, from the fifth on.
        pairs = memoryview(block.frames).cast("I")[5::6].tolist()
        different = set(pairs)
        head = b"".join(
            self._describe(pair) for pair in sorted(different - self._numbers.keys(), key=_link_and_interface)
        )
        if different <= self._as_numbered:
            return head, block
        if len(different) == 1:
            numbers = struct.pack("<H", self._numbers[pairs[0]]) * len(pairs)
        else:
            numbers = struct.pack(f"<{len(pairs)}H", *[self._numbers[pair] for pair in pairs])
        frames = bytearray(block.frames)
        frames[_INTERFACE_AT::FRAME_SIZE] = numbers[0::2]
        frames[_INTERFACE_AT + 1 :: FRAME_SIZE] = numbers[1::2]
        return head, Block(block.data, bytes(frames))

    def _describe(self, pair: int) -> bytes:
        linktype, interface = _link_and_interface(pair)
        number = self._numbers[pair] = len(self._numbers)
        if number == interface:
            self._as_numbered.add(pair)
        return _interface_description(linktype, self._names[interface] if interface < len(self._names) else "")

    def _append(self, data: bytes) -> None:
        assert self._descriptor is not None
        rest = memoryview(data)
        try:
            while rest:
                rest = rest[os.write(self._descriptor, rest) :]
        except OSError as error:
            self._give_up()
            raise CaptureError(
                f"{self.path}: writing packets failed: {error.strerror}: "
                f"{self.packets} packets are kept in it, later ones are not; make room and start again"
            ) from None
        self._whole += len(data)

    def _give_up(self) -> None:
        """Take half-written blocks off the end, so that readers find a whole file."""
        assert self._descriptor is not None
        with contextlib.suppress(OSError):  # a pipe, or a disk in a worse state: readers can stand a cut block
            os.ftruncate(self._descriptor, self._whole)
        self.close()


def _link_and_interface(pair: int) -> tuple[int, int]:
    """The two little-endian halves of a word that was read in the machine's own order."""
    linktype, interface = struct.unpack("<HH", struct.pack("=I", pair))
    return linktype, interface


def _block(kind: int, body: bytes) -> bytes:
    total = 12 + len(body)
    return struct.pack("<II", kind, total) + body + struct.pack("<I", total)


def _option(code: int, value: bytes) -> bytes:
    return struct.pack("<HH", code, len(value)) + value + bytes(-len(value) % 4)


def _section_header() -> bytes:
    body = struct.pack("<IHHQ", _BYTE_ORDER, 1, 0, _UNKNOWN_LENGTH) + _option(_SHB_USERAPPL, b"flowsonar") + bytes(4)
    return _block(_SECTION_HEADER, body)


def _interface_description(linktype: int, name: str) -> bytes:
    options = _option(_IF_NAME, name.encode()) if name else b""
    body = struct.pack("<HHI", linktype, 0, SNAP_BYTES) + options + _option(_IF_TSRESOL, _NANOSECONDS) + bytes(4)
    return _block(_INTERFACE_DESCRIPTION, body)
