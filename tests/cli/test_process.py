import errno
import gc
import io
import os
import resource
import signal
import sys
from collections.abc import Iterator

import pytest

from flowsonar.cli import process
from flowsonar.errors import FlowsonarError


@pytest.fixture(autouse=True)
def same_handlers() -> Iterator[None]:
    before = {number: signal.getsignal(number) for number in process.ENDINGS}
    yield
    for number, handler in before.items():
        signal.signal(number, handler)


def test_inside_signals_stop_and_afterwards_they_end_the_process() -> None:
    stopped: list[bool] = []
    with process.stopped_by_signals(lambda: stopped.append(True)):
        for number in process.ENDINGS:
            signal.raise_signal(number)
    assert stopped == [True] * len(process.ENDINGS)
    assert {signal.getsignal(number) for number in process.ENDINGS} == {signal.SIG_DFL}
    process.interruptible()
    with pytest.raises(KeyboardInterrupt):
        signal.raise_signal(signal.SIGTERM)


def test_who_starts_us_with_nohup_is_obeyed() -> None:
    signal.signal(signal.SIGHUP, signal.SIG_IGN)
    process.interruptible()
    signal.raise_signal(signal.SIGHUP)


def test_at_the_end_no_signal_changes_the_exit_code() -> None:
    process.ending()
    for number in process.ENDINGS:
        signal.raise_signal(number)


def test_descriptors_are_raised_and_too_few_are_told(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[tuple[int, int]] = []
    monkeypatch.setattr(resource, "setrlimit", lambda _, limits: asked.append(limits))
    monkeypatch.setattr(resource, "getrlimit", lambda _: (64, 1024))
    process.need_descriptors()
    assert asked == [(1024, 1024)]
    monkeypatch.setattr(resource, "getrlimit", lambda _: (process.DESCRIPTORS - 1, process.DESCRIPTORS - 1))
    with pytest.raises(FlowsonarError, match="ulimit -n"):
        process.need_descriptors()


@pytest.mark.parametrize(
    ("error", "said"),
    [
        (OSError(errno.ENOSPC, "No space left on device"), "standard output: No space left on device"),
        (OSError(errno.EACCES, "Permission denied", "/a/b"), "/a/b: Permission denied"),
        (OSError(errno.EMFILE, "Too many open files"), "too many files are open: raise the limit, as with"),
        (OSError(errno.ENOMEM, "Cannot allocate memory"), "the memory is used up"),
    ],
)
def test_errors_of_the_system_are_one_line(error: OSError, said: str) -> None:
    assert process.said_by(error).startswith(said)
    assert "\n" not in process.said_by(error)


def test_output_that_was_written_is_no_error(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "stdout", io.StringIO("records"))
    assert process.finish_output() is None


def test_mending_leaves_streams_that_are_open() -> None:
    before = [os.fstat(number) for number in (0, 1, 2)]
    process.mend_streams()
    assert [os.fstat(number).st_ino for number in (0, 1, 2)] == [status.st_ino for status in before]


def test_cycles_are_looked_for_rarely_and_not_among_what_is_loaded() -> None:
    before = gc.get_threshold()
    try:
        process.collect_rarely()
        assert gc.get_threshold()[0] >= 100 * before[0]
        assert gc.isenabled()
        assert gc.get_freeze_count() > 0
    finally:
        gc.set_threshold(*before)
        gc.unfreeze()
