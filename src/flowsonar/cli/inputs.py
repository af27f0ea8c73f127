"""Lines of files and of standard input, as they come, gzip'd or not, while the event loop goes on."""

from __future__ import annotations

import asyncio
import os
import sys
import threading
import zlib
from collections.abc import AsyncIterator, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Final

from flowsonar.errors import ConfigError, FlowsonarError

__all__ = ["LINE_BYTES", "Splitter", "lines_of", "opened"]

_PIECE_BYTES: Final = 1 << 16
_PIECES_AHEAD: Final = 4
LINE_BYTES: Final = 1 << 20
"""No flow record is as long; what is left of a longer line is skipped."""


def opened(name: str) -> int:
    """A file descriptor for a path, or for `-`. Raises ConfigError."""
    if name == "-":
        if sys.stdin is None:
            raise ConfigError("standard input is closed: pipe targets into it, or name them")
        return sys.stdin.fileno()
    try:
        descriptor = os.open(name, os.O_RDONLY | os.O_CLOEXEC)
    except OSError as error:
        raise ConfigError(f"{name} cannot be read: {error.strerror}") from None
    if Path(name).is_dir():
        os.close(descriptor)
        raise ConfigError(f"{name} is a folder: name a file with targets or flow records")
    return descriptor


class Splitter:
    """Bytes to lines; a line that is too long comes as None, once."""

    def __init__(self) -> None:
        self._rest = b""
        self._skipping = False
        self._gunzip: zlib._Decompress | None = None
        self._whole = True
        self._began = False

    def feed(self, data: bytes) -> Iterator[str | None]:
        """Give the lines that end in `data`. Raises FlowsonarError where compressed data are damaged."""
        if not self._began:
            self._began = True
            if data.startswith(b"\x1f\x8b"):
                self._gunzip = zlib.decompressobj(31)
        if self._gunzip is None:
            yield from self._split(data)
            return
        while data:
            try:
                plain = self._gunzip.decompress(data, _PIECE_BYTES)
            except zlib.error as error:
                raise FlowsonarError(f"the gzip'd input is damaged: {error}") from None
            yield from self._split(plain)
            data = self._gunzip.unconsumed_tail
            self._whole = self._gunzip.eof
            if self._gunzip.eof:
                data = self._gunzip.unused_data.lstrip(b"\0")
                self._gunzip = zlib.decompressobj(31)  # one member after another, as `cat a.gz b.gz` gives

    def end(self) -> Iterator[str | None]:
        """Give what is left. Raises FlowsonarError where compressed data end too early."""
        if self._gunzip is not None and not self._whole:
            raise FlowsonarError("the gzip'd input ends too early: its last lines are missing")
        if self._rest and not self._skipping:
            yield self._rest.decode(errors="replace")
        self._rest = b""

    def _split(self, data: bytes) -> Iterator[str | None]:
        *lines, rest = (self._rest + data).split(b"\n")
        for line in lines:
            if self._skipping:
                self._skipping = False
            else:
                yield line.decode(errors="replace")
        if len(rest) > LINE_BYTES and not self._skipping:
            self._skipping = True
            yield None
        self._rest = b"" if self._skipping else rest


async def lines_of(descriptor: int) -> AsyncIterator[str | None]:
    """Lines as they come; None for one that is too long. Raises FlowsonarError where the input is damaged."""
    loop = asyncio.get_running_loop()
    waiting: asyncio.Queue[bytes | OSError] = asyncio.Queue()
    room = threading.BoundedSemaphore(_PIECES_AHEAD)

    def read() -> None:  # not through `sys.stdin`: its lock, held at the end of the program, would break that
        data: bytes | OSError = b"?"
        while data and not isinstance(data, OSError):
            room.acquire()
            try:
                data = os.read(descriptor, _PIECE_BYTES)
            except OSError as error:
                data = error
            with suppress(RuntimeError):  # the loop is closed: nobody asks any more
                loop.call_soon_threadsafe(waiting.put_nowait, data)

    threading.Thread(target=read, daemon=True, name="input").start()
    splitter = Splitter()
    while data := await waiting.get():
        room.release()
        if isinstance(data, OSError):
            raise FlowsonarError(f"the input cannot be read: {data.strerror}")
        for line in splitter.feed(data):
            yield line
    for line in splitter.end():
        yield line
