"""A private cache on disk: compiled databases and parsed files, named by the hash of what they were made from.

Whatever is wrong with it (unwritable, corrupt, another's), the caller makes the thing anew: a cache never fails.
"""

from __future__ import annotations

import contextlib
import os
import stat
from collections.abc import Callable, Iterator
from pathlib import Path

from flowsonar._native.digest import sha256

__all__ = ["before_making", "cache_directory", "load", "making", "save", "tell_of_making"]

_DIGEST_BYTES = 32
_KEPT = 96
"""Files that stay: a set of signatures takes some twenty, and folders of one's own make further sets."""
_MAX_BYTES = 256 << 20
"""Larger files are not ours: the database of 134 services takes a few MiB."""


_told: list[Callable[[str], None]] = []
"""At most one: a process has one user."""
_before: list[Callable[[], object]] = []
"""What is to be done before anybody waits."""


def tell_of_making(tell: Callable[[str], None]) -> None:
    """Have `tell` called with a line for people when something is made anew that takes seconds; once a process."""
    _told[:] = [tell]


@contextlib.contextmanager
def before_making(act: Callable[[], object]) -> Iterator[None]:
    """Have `act` called once before something that takes seconds is made anew in here."""
    _before.append(act)
    try:
        yield
    finally:
        if act in _before:
            _before.remove(act)


def making(what: str) -> None:
    """Something that takes seconds is about to be made."""
    while _before:
        _before.pop()()
    if _told:
        _told.pop()(f"{what}: some seconds, once for all starts that can write to {cache_directory()}")


def cache_directory() -> Path:
    """`$XDG_CACHE_HOME/flowsonar`, or `~/.cache/flowsonar`."""
    base = os.environ.get("XDG_CACHE_HOME", "")
    if os.path.isabs(base):  # noqa: PTH117 - the specification ignores relative ones
        return Path(base) / "flowsonar"
    try:
        return Path.home() / ".cache" / "flowsonar"
    except RuntimeError:  # no home at all
        import tempfile

        return Path(tempfile.gettempdir()) / f"flowsonar-{os.getuid()}"


def load(directory: Path, name: str) -> bytes | None:
    """The bytes saved under `name`; None where there are none, they are not ours alone, or they are damaged."""
    try:
        handle = os.open(directory / name, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    except OSError:
        return None
    try:
        status = os.fstat(handle)
        if not _is_ours(status):
            return None
        digest = os.read(handle, _DIGEST_BYTES)
        data = _rest(handle, status.st_size - len(digest))
    except OSError:
        return None
    finally:
        os.close(handle)
    return data if len(digest) == _DIGEST_BYTES and sha256(data) == digest else None


def _rest(handle: int, size: int) -> bytes:
    """As many bytes as the file has, read at once: joining and cutting pieces takes as long again as reading them."""
    data = os.read(handle, size)
    while len(data) < size and (more := os.read(handle, size - len(data))):
        data += more
    return data


def _is_ours(status: os.stat_result) -> bool:
    """A plain file of a sane size that nobody else may write."""
    return (
        stat.S_ISREG(status.st_mode)
        and status.st_uid == os.geteuid()
        and not status.st_mode & 0o022
        and status.st_size <= _MAX_BYTES
    )


def save(directory: Path, name: str, data: bytes) -> bool:
    """Write it whole or not at all, readable by nobody else; False where it could not be written."""
    import tempfile  # here, as with those who save: it takes a while

    temporary: str | None = None
    try:
        directory.mkdir(mode=0o700, parents=True, exist_ok=True)
        if directory.stat().st_uid != os.geteuid():
            return False
        handle, temporary = tempfile.mkstemp(dir=directory, prefix=f".{name}.")  # mode 0600
        with os.fdopen(handle, "wb") as file:
            file.write(sha256(data))
            file.write(data)
        Path(temporary).replace(directory / name)
        _tidy(directory)
    except OSError:
        if temporary is not None:
            with contextlib.suppress(OSError):
                Path(temporary).unlink()
        return False
    return True


def _tidy(directory: Path) -> None:
    """Let go of what was not made lately: every edit of a signature makes new files."""
    files = []
    with os.scandir(directory) as entries:
        for entry in entries:
            with contextlib.suppress(OSError):  # another start may tidy at the same time
                if entry.is_file():
                    files.append((entry.stat().st_mtime_ns, entry.path))
    for _, path in sorted(files)[:-_KEPT]:
        with contextlib.suppress(OSError):
            Path(path).unlink()
