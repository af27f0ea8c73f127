"""What the process was given, made fit for use: standard streams, signals, file descriptors, memory."""

from __future__ import annotations

import atexit
import errno
import gc
import io
import os
import resource
import signal
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from typing import Final

from flowsonar.errors import FlowsonarError

__all__ = [
    "DESCRIPTORS",
    "ENDINGS",
    "collect_rarely",
    "ending",
    "finish_output",
    "interruptible",
    "leave_to_signals",
    "mend_streams",
    "need_descriptors",
    "said_by",
    "stopped_by_signals",
]

DESCRIPTORS: Final = 32
"""Standard streams, event loop, ring, store with its log, capture, and a handful of conversations."""
_WANTED_DESCRIPTORS: Final = 4096
"""Asked for where the limit may be raised: a conversation takes one, and `BudgetSettings.parallel` is 512."""

ENDINGS: Final = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


def collect_rarely() -> None:
    """Let Python look for reference cycles a hundred times less often: for commands that handle many flows.

    What a flow makes has no cycles and goes when its last reference goes, yet Python would walk all open flows again
    and again in search of them: a fifth of the time of `flowsonar read`. What is loaded already stays to the end.
    """
    gc.freeze()
    gc.set_threshold(100_000, 20, 20)
    atexit.register(gc.freeze)  # nor at the end: what is left goes with the process


def mend_streams() -> None:
    """Put something in the place of closed standard streams.

    Otherwise the next file or socket that is opened would get the number 0, 1 or 2: the event loop's library ends the
    process then, and messages would go into a capture. Reading from and writing to a mended stream fail with EBADF,
    so that records are not lost in silence; only messages for people may vanish.
    """
    for number, flags in ((0, os.O_WRONLY), (1, os.O_RDONLY), (2, os.O_WRONLY)):
        try:
            os.fstat(number)
        except OSError:
            os.open(os.devnull, flags)  # the lowest free number: this one, for those below it are in use by now
    if sys.stdout is None:
        sys.stdout = io.TextIOWrapper(io.FileIO(1, "w", closefd=False), encoding="utf-8", write_through=True)
    if sys.stderr is None:
        sys.stderr = io.TextIOWrapper(io.FileIO(2, "w", closefd=False), encoding="utf-8", errors="backslashreplace")


def leave_to_signals() -> None:
    """Signals end the process at once, without a word: as long as there is nothing to save, or when told twice.

    KeyboardInterrupt, Python's way, may strike inside an import, and come out as another error or as a crash.
    """
    for number in ENDINGS:
        if signal.getsignal(number) is not signal.SIG_IGN:
            signal.signal(number, signal.SIG_DFL)


def interruptible() -> None:
    """Signals raise KeyboardInterrupt; who started us may have turned SIGHUP off (nohup)."""
    for number in ENDINGS:
        if number != signal.SIGHUP or signal.getsignal(number) is not signal.SIG_IGN:
            signal.signal(number, signal.default_int_handler)


@contextmanager
def stopped_by_signals(stop: Callable[[], None]) -> Iterator[None]:
    """Inside, the signals that end a command call `stop`, which may raise KeyboardInterrupt."""
    numbers = [number for number in ENDINGS if signal.getsignal(number) is not signal.SIG_IGN]
    for number in numbers:
        signal.signal(number, lambda *_: stop())
    try:
        yield
    finally:
        leave_to_signals()


def ending() -> None:
    """The command is over: what is left is to leave with its exit code, and no signal is to change that."""
    for number in ENDINGS:
        signal.signal(number, signal.SIG_IGN)


def need_descriptors() -> None:
    """Raise the limit of open files as far as it may be. Raises FlowsonarError where it is too low to begin."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft == resource.RLIM_INFINITY or soft >= _WANTED_DESCRIPTORS:
        return
    most = _WANTED_DESCRIPTORS if hard == resource.RLIM_INFINITY else min(hard, _WANTED_DESCRIPTORS)
    with suppress(OSError, ValueError):
        resource.setrlimit(resource.RLIMIT_NOFILE, (most, hard))
        soft = most
    if soft < DESCRIPTORS:
        raise FlowsonarError(f"only {soft} files may be open at a time: raise it, as with `ulimit -n 1024`")


def finish_output() -> OSError | None:
    """Write what standard output still holds; the error where that fails, and then what is left is let go."""
    try:
        sys.stdout.flush()
    except OSError as error:
        # Python would write it at exit anew, fail again, and end with a message and an exit code of its own.
        with suppress(OSError):
            os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
        return error
    return None


def said_by(error: OSError) -> str:
    """One line about an error of the system that no part expected."""
    where = "standard output" if error.filename is None else str(error.filename)
    if error.errno in (errno.EMFILE, errno.ENFILE):
        return "too many files are open: raise the limit, as with `ulimit -n 1024`"
    if error.errno == errno.ENOMEM:
        return "the memory is used up: give it more, or name fewer interfaces and captures"
    return f"{where}: {error.strerror or error}"
