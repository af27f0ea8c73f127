"""Captures from files and pipes: pcap and pcapng, gzip'd or not, as blocks of packets."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO, Final, Protocol, Self

from flowsonar.capture import pcap, sections
from flowsonar.capture.source import CHUNK_BYTES, ByteSource
from flowsonar.errors import CaptureError
from flowsonar.model import FRAME_SIZE, Block

__all__ = ["CaptureFile", "open_capture"]

_OTHER_FORMATS: Final = (
    (b"\x28\xb5\x2f\xfd", "is compressed with zstd: run `zstd -dc FILE | flowsonar read -`"),
    (b"\xfd7zXZ\0", "is compressed with xz: run `xz -dc FILE | flowsonar read -`"),
    (b"BZh", "is compressed with bzip2: run `bzip2 -dc FILE | flowsonar read -`"),
    (b"\x04\x22\x4d\x18", "is compressed with lz4: run `lz4 -dc FILE | flowsonar read -`"),
    (b"PK\x03\x04", "is a zip archive: unpack it first"),
    (b"7z\xbc\xaf\x27\x1c", "is a 7z archive: unpack it first"),
    (b"snoop\0\0\0", "is a snoop capture: convert it with `editcap -F pcapng FILE NEW.pcapng`"),
    (b"GMBU", "is a Network Monitor capture: convert it with `editcap -F pcapng FILE NEW.pcapng`"),
    (b"RTSS", "is a Network Monitor capture: convert it with `editcap -F pcapng FILE NEW.pcapng`"),
    (b"TRSNIFF data", "is a Sniffer capture: convert it with `editcap -F pcapng FILE NEW.pcapng`"),
    (b"XCP\0", "is a NetXRay capture: convert it with `editcap -F pcapng FILE NEW.pcapng`"),
)
"""First bytes of what people try to read, and what to do about it."""


class _Reader(Protocol):
    interfaces: list[str]
    problem: str | None
    consumed: int

    @property
    def skipping(self) -> bool: ...

    def blocks(self, data: bytes | memoryview) -> Iterator[Block]: ...

    def needed(self, rest: bytes) -> int: ...


class CaptureFile:
    """One capture, iterated once as `Block`s in the order of the file.

    Packets are given as soon as their bytes are there, so a pipe can be read while it is written. Damage does not
    raise: every whole packet before it comes out, then the iteration ends and `problem` says what is wrong.
    """

    problem: str | None
    """After the iteration: one line that names the file and says where and why it ended too early; None when whole."""
    packets: int
    """Packets given so far."""

    def __init__(self, place: str | Path | BinaryIO) -> None:
        self.problem = None
        self.packets = 0
        self._source = ByteSource(place)
        self._offset = 0
        try:
            self._rest = b""
            self._reader = self._recognise()
        except BaseException:
            self._source.close()
            raise

    @property
    def name(self) -> str:
        """The path, or `standard input`."""
        return self._source.name

    @property
    def interfaces(self) -> list[str]:
        """Names of the interfaces met so far, by the index in `Block.frames`; empty where the capture gives none."""
        return self._reader.interfaces

    @property
    def position(self) -> int:
        """Bytes read so far, as on disk."""
        return self._source.position

    @property
    def size(self) -> int | None:
        """Bytes on disk; None where there is no end to know."""
        return self._source.size

    def __iter__(self) -> Iterator[Block]:
        yield from self._mapped()
        if self.problem is not None:
            return
        data = self._rest
        while True:
            for block in self._reader.blocks(data):
                self.packets += len(block.frames) // FRAME_SIZE
                yield block
            consumed = self._reader.consumed
            self._offset += consumed
            self._rest = data[consumed:]
            if self._reader.problem is not None:
                self._damaged(self._reader.problem)
                return
            have = len(self._rest)
            if not self._fill(max(self._reader.needed(self._rest), have + 1) if have else 1):
                if have or self._reader.skipping:
                    self._damaged(self._source.problem or "the last packet or block is cut short")
                elif self._source.problem is not None:
                    self._damaged(self._source.problem)
                return
            data = self._rest

    def _mapped(self) -> Iterator[Block]:
        """The packets as far as the file can be read without copying it; `__iter__` goes on where that ends."""
        begun = self._offset
        while (window := self._source.window(self._offset)) is not None:
            whole = memoryview(window)
            at = 0
            while at < len(whole):
                data = whole[at : at + CHUNK_BYTES]
                end = self._source.position = self._offset + len(data)
                for block in self._reader.blocks(data):
                    if window.lost() or not self._source.holds(end):
                        break
                    self.packets += len(block.frames) // FRAME_SIZE
                    yield block
                if window.lost() or not self._source.holds(end):
                    self._damaged("reading failed: the file became shorter meanwhile")
                    return
                at += self._reader.consumed
                self._offset += self._reader.consumed
                if self._reader.problem is not None:
                    self._damaged(self._reader.problem)
                    return
                if not self._reader.consumed:
                    break
            if not at:
                break  # the end of the file, or a record that is longer than a window
        if self._offset != begun:
            self._rest = b""
            self._source.seek(self._offset)

    def close(self) -> None:
        """Close the file; standard input and a stream that was given stay open."""
        self._source.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exception: object) -> None:
        self.close()

    def _fill(self, needed: int) -> bool:
        """Read until `needed` bytes are at hand; False when the capture ends before that."""
        pieces = [self._rest]
        have = len(self._rest)
        while have < needed:
            piece = self._source.read()
            if not piece:
                break
            pieces.append(piece)
            have += len(piece)
        self._rest = b"".join(pieces)
        return have >= needed

    def _damaged(self, what: str) -> None:
        given = "1 packet" if self.packets == 1 else f"{self.packets} packets"
        self.problem = f"{self.name}: {what} at byte {self._offset}: read {given} before it, left out the rest"

    def _recognise(self) -> _Reader:
        self._fill(4)
        magic = self._rest[:4]
        if not self._rest:
            raise CaptureError(f"{self.name}: {self._source.problem or 'is empty'}: name a pcap or pcapng capture")
        if magic in pcap.MAGICS:
            self._header(pcap.HEADER_BYTES)
            header, self._rest = self._rest[: pcap.HEADER_BYTES], self._rest[pcap.HEADER_BYTES :]
            self._offset = pcap.HEADER_BYTES
            return pcap.PcapReader(header)
        if magic == sections.MAGIC:
            self._header(sections.MINIMUM_BYTES)
            return sections.PcapngReader()
        self._fill(16)
        for start, advice in _OTHER_FORMATS:
            if self._rest.startswith(start):
                raise CaptureError(f"{self.name}: {advice}")
        what = self._source.problem or "is not a pcap or pcapng capture"
        raise CaptureError(f"{self.name}: {what}: name a capture of tcpdump, Wireshark or `flowsonar watch --write`")

    def _header(self, needed: int) -> None:
        if not self._fill(needed):
            what = self._source.problem or "is cut short"
            raise CaptureError(f"{self.name}: {what} inside its first {needed} bytes: no packet can be read from it")


def open_capture(place: str | Path | BinaryIO) -> CaptureFile:
    """Open a capture: a path, `-` for standard input, or a binary stream that waits for its data.

    Raises `CaptureError` when it cannot be opened or is no capture; its text names it and says what to do.
    """
    return CaptureFile(place)
