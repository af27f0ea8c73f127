"""Whole lines to a file, a pipe or a terminal: what was written is never half a record."""

from __future__ import annotations

import errno
import io
import os
import select
import stat
from collections.abc import Callable
from typing import IO, Final

from flowsonar.errors import OutputError

__all__ = ["LineWriter"]

BUFFER_BYTES: Final = 1 << 16
"""Written at once when this much waits: one system call for some two hundred records."""

_SPACE: Final = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)


class LineWriter:
    """Gathers lines and writes them together.

    `flush` raises BrokenPipeError when the reader has gone (then nothing more is written), and OutputError when the
    lines could not be written; they are counted in `lost`, and the next flush tries anew. Where a full disk took a
    part of a line, a file is cut back to the end of the last whole one.
    """

    def __init__(
        self, stream: IO[bytes], name: str = "standard output", *, before: Callable[[], bytes] = bytes
    ) -> None:
        """Write to `stream`; on a terminal, first what `before` gives (a progress bar's removal)."""
        self._name = name
        self._before = before
        self._stream = stream
        self._waiting: list[bytes] = []
        self._size = 0
        self._closed = False
        self.lost = 0
        """Lines that could not be written."""
        try:
            self._file: int | None = stream.fileno()
        except (io.UnsupportedOperation, AttributeError):  # not a file of the system: a test's, a notebook's
            self._file = None
        self._terminal = self._file is not None and os.isatty(self._file)

    def write(self, line: bytes) -> None:
        """Take a line with its end; raises as `flush` does."""
        if self._closed:
            return
        self._waiting.append(line)
        self._size += len(line)
        if self._size >= BUFFER_BYTES:
            self.flush()

    def flush(self) -> None:
        """Write what waits."""
        if not self._waiting:
            return
        lines, self._waiting, self._size = self._waiting, [], 0
        if self._closed:
            return
        text = b"".join(lines)
        if self._terminal:
            text = self._before() + text
        done = 0
        try:
            if self._file is None:
                self._stream.write(text)
                self._stream.flush()
                return
            while done < len(text):
                done += self._some(memoryview(text)[done:])
        except BrokenPipeError:
            self._closed = True
            raise
        except OSError as error:
            whole = text.rfind(b"\n", 0, done) + 1
            self.lost += text.count(b"\n", whole)
            self._cut(done - whole)
            what = "free some space" if error.errno in _SPACE else "check where it goes"
            raise OutputError(f"{self._name}: records cannot be written ({error.strerror}): {what}") from error

    def _some(self, text: memoryview) -> int:
        assert self._file is not None
        try:
            return os.write(self._file, text)
        except BlockingIOError:  # someone made our standard output non-blocking
            select.select([], [self._file], [])
            return 0

    def _cut(self, size: int) -> None:
        """Take `size` bytes of a broken line back from a file's end."""
        if size <= 0 or self._file is None:
            return
        try:
            status = os.fstat(self._file)
            if stat.S_ISREG(status.st_mode) and os.lseek(self._file, 0, os.SEEK_CUR) == status.st_size:
                os.ftruncate(self._file, status.st_size - size)
                os.lseek(self._file, status.st_size - size, os.SEEK_SET)
        except OSError:
            return  # the file is as it is; the error that is told is the first one
