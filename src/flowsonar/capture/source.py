"""Bytes of a capture from a file, standard input or an open stream; gzip is unpacked on the way."""

from __future__ import annotations

import io
import os
import stat
import sys
import zlib
from pathlib import Path
from typing import BinaryIO, Final, Protocol, Self

from flowsonar import _native
from flowsonar.errors import CaptureError

__all__ = ["CHUNK_BYTES", "ByteSource", "Window"]

CHUNK_BYTES: Final = 1 << 18
"""Bytes asked for at a time: so many packets that a call costs nothing beside them, and so few bytes that they are
still in the processor's cache when the flow table decodes them (1 MiB was measured a quarter slower)."""

_WINDOW_BYTES: Final = 1 << 20
"""Mapped at a time: pages that are read are this process's memory until they are let go."""
_GZIP_MAGIC: Final = b"\x1f\x8b"
_GZIP_WINDOW: Final = 16 + zlib.MAX_WBITS
"""zlib's way of saying: gzip header and trailer (RFC 1952), not a zlib stream."""
_SMALL_PIECE: Final = 1 << 14
"""Bytes given to zlib at a time while gzip members are shorter than this."""


class _ReadSome(Protocol):
    def __call__(self, size: int, /) -> bytes | None: ...


class Window(Protocol):
    """A part of a file as memory: `_native/window.h`."""

    def __buffer__(self, flags: int, /) -> memoryview: ...

    def lost(self) -> bool:
        """Whether some of it reads as zeros: the file became shorter meanwhile."""
        ...


class ByteSource:
    """Gives the bytes of one capture as they arrive, at most `CHUNK_BYTES` a call; never seeks, so pipes do as well."""

    name: str
    """For messages: the path, or `standard input`."""
    size: int | None
    """Bytes on disk; None for pipes and other streams without a known end."""
    position: int
    """Bytes taken so far, as on disk (packed, where the file is gzip'd)."""
    problem: str | None
    """Why the bytes ended before their time: damaged or cut gzip data, a read error. Without the name."""

    def __init__(self, place: str | Path | BinaryIO) -> None:
        self.position = 0
        self.problem = None
        self._own = isinstance(place, str | Path)
        if not isinstance(place, str | Path):
            self.name = str(getattr(place, "name", "the stream"))
            self._stream = place
        elif str(place) == "-":
            self.name = "standard input"
            self._stream = _standard_input()
        else:
            self.name = str(place)
            self._stream = _file(Path(place))
        self.size = _size(self._stream)
        # `read1` gives what is there; `read` of a buffered stream would wait for all that was asked for.
        self._read: _ReadSome = getattr(self._stream, "read1", None) or self._stream.read
        self._first: bytes | None = None
        self._gzip: _Gzip | None = None
        self._begin()

    def _begin(self) -> None:
        """Look at the first two bytes: gzip or not."""
        first = self._raw()
        while first and len(first) < 2 and (more := self._raw()):
            first += more
        if first.startswith(_GZIP_MAGIC):
            self._gzip = _Gzip(first)
        else:
            self._first = first

    def _raw(self) -> bytes:
        if self.problem is not None:
            return b""
        try:
            data = self._read(CHUNK_BYTES)
        except OSError as error:
            self.problem = f"reading failed: {error.strerror or error}"
            return b""
        except ValueError:  # closed by someone else meanwhile
            self.problem = "reading failed: the stream is closed"
            return b""
        if data is None:
            self.problem = "reading failed: the stream does not wait for data; give one that blocks"
            return b""
        self.position += len(data)
        return data

    def read(self) -> bytes:
        """The next bytes, as soon as there are any; empty at the end (then see `problem`)."""
        if self._gzip is None:
            if self._first is not None:
                first, self._first = self._first, None
                return first
            return self._raw()
        while True:
            data = self._gzip.unpack()
            if data or self._gzip.problem is not None:
                self.problem = self.problem or self._gzip.problem
                return data
            packed = self._raw()
            if not packed:
                self.problem = self.problem or self._gzip.end()
                return b""
            self._gzip.add(packed)

    def window(self, offset: int) -> Window | None:
        """The file from a place on, without copying it; None where that cannot be: pipes, gzip, behind the end.

        Nor where others may write to the file: what was checked must not change before it is used. Whoever has had
        enough goes on with `read` after `seek`.
        """
        core = _native.core
        if core is None or not self._own or self._gzip is not None or self.size is None or offset >= self.size:
            return None
        if not _is_ours(self._stream):
            return None
        try:
            window: Window = core.Window(self._stream.fileno(), offset, min(_WINDOW_BYTES, self.size - offset))
        except (OSError, ValueError):
            return None
        return window

    def holds(self, end: int) -> bool:
        """Whether the file is still as long: behind its end a window shows zeros."""
        return os.fstat(self._stream.fileno()).st_size >= end

    def seek(self, offset: int) -> None:
        """Have `read` go on there; only after `window`."""
        self._first = None
        self._stream.seek(offset)
        self.position = offset

    def close(self) -> None:
        """Close what was opened here; a stream of the caller's stays open."""
        if self._own:
            self._stream.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exception: object) -> None:
        self.close()


class _Gzip:
    """Unpacks gzip members one after the other, never more than `CHUNK_BYTES` at a time."""

    def __init__(self, packed: bytes) -> None:
        self.problem: str | None = None
        self._packed = packed
        self._at = 0
        self._piece = CHUNK_BYTES
        self._member = zlib.decompressobj(_GZIP_WINDOW)
        self._member_bytes = 0
        self._began = False
        self._more = False
        """The last call filled its output: zlib may hold more although it has taken all its input."""

    def add(self, packed: bytes) -> None:
        self._packed = self._packed[self._at :] + packed
        self._at = 0

    def unpack(self) -> bytes:
        """Some unpacked bytes; empty when more packed ones are needed, or at the end of what can be unpacked."""
        while (self._at < len(self._packed) or self._more) and self.problem is None:
            if not self._began and not self._begin():
                return b""
            piece = self._packed[self._at : self._at + self._piece]
            before = self._member.copy()
            try:
                data = self._member.decompress(piece, CHUNK_BYTES)
            except zlib.error:
                self.problem = "the gzip data is damaged"
                return _salvage(before, piece)
            self._more = len(data) == CHUNK_BYTES
            taken = len(piece) - len(self._member.unconsumed_tail) - len(self._member.unused_data)
            self._at += taken
            self._member_bytes += taken
            if self._member.eof:
                self._next()
            if data:
                return data
        return b""

    def _next(self) -> None:
        # zlib copies what is left behind the member's end: with many tiny members in large pieces that would be
        # the square of the file's length.
        self._piece = CHUNK_BYTES if self._member_bytes >= _SMALL_PIECE else _SMALL_PIECE
        self._member = zlib.decompressobj(_GZIP_WINDOW)
        self._member_bytes = 0
        self._began = self._more = False

    def _begin(self) -> bool:
        """Whether a member starts here; zeros between and after members are padding (as gzip itself sees it)."""
        while self._packed[self._at : self._at + 1] == b"\0":
            rest = self._packed[self._at : self._at + _SMALL_PIECE]
            self._at += len(rest) - len(rest.lstrip(b"\0"))
        start = self._packed[self._at : self._at + 2]
        if len(start) < 2 and _GZIP_MAGIC.startswith(start):
            return False
        if start != _GZIP_MAGIC:
            self.problem = "bytes after the end of the gzip data are not gzip: left out"
            return False
        self._began = True
        return True

    def end(self) -> str | None:
        """What is wrong with an end here, if anything."""
        if self.problem is None and (self._began or self._at < len(self._packed)):
            self.problem = "the gzip data is cut short"
        return self.problem


def _salvage(member: zlib._Decompress, piece: bytes) -> bytes:
    """What can be unpacked of `piece` before its damage, which makes zlib keep everything of the call to itself.

    The longest part without damage is found by halving; all it gives is less than `CHUNK_BYTES`, where the failed
    call would have stopped.
    """
    good = []
    while len(piece) > 1:
        half = len(piece) // 2
        trial = member.copy()
        try:
            good.append(trial.decompress(piece[:half], CHUNK_BYTES))
        except zlib.error:
            piece = piece[:half]
        else:
            member = trial
            piece = piece[half:]
    return b"".join(good)


def _size(stream: BinaryIO) -> int | None:
    try:
        status = os.fstat(stream.fileno())
    except (OSError, AttributeError, ValueError):
        return None  # an object in memory
    return status.st_size if stat.S_ISREG(status.st_mode) else None


def _is_ours(stream: BinaryIO) -> bool:
    status = os.fstat(stream.fileno())
    return status.st_uid in (0, os.geteuid()) and not status.st_mode & 0o022


def _standard_input() -> BinaryIO:
    try:
        descriptor = sys.stdin.fileno()
    except (AttributeError, OSError, ValueError):
        raise CaptureError("standard input is closed: pipe a capture into it, or name a file") from None
    if os.isatty(descriptor):
        raise CaptureError(
            "standard input is a terminal: name a file, or pipe a capture as in `tcpdump -U -w - | flowsonar read -`"
        )
    return io.FileIO(descriptor, "rb", closefd=False)


def _file(path: Path) -> BinaryIO:
    try:
        return path.open("rb", buffering=0)
    except FileNotFoundError:
        raise CaptureError(f"{path}: no such file: check the name") from None
    except IsADirectoryError:
        raise CaptureError(f"{path}: is a directory: name the captures in it, as in {path}/*.pcap") from None
    except PermissionError:
        raise CaptureError(f"{path}: no permission to read it: change its mode, or run as its owner") from None
    except (OSError, ValueError) as error:
        text = error.strerror if isinstance(error, OSError) and error.strerror else str(error)
        raise CaptureError(f"{str(path)!r}: cannot be opened: {text}") from None
