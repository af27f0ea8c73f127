"""The first start of a machine: ended while it compiles the signatures, or two at once."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

TARGET = "127.0.0.1:9"


def start(home: Path) -> subprocess.Popen[str]:
    command = [sys.executable, "-m", "flowsonar", "probe", TARGET, "--json"]
    environment = dict(os.environ, XDG_CACHE_HOME=str(home / "cache"), XDG_STATE_HOME=str(home / "state"))
    return subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, stdin=subprocess.DEVNULL, text=True, env=environment
    )


def first(home: Path) -> subprocess.Popen[str]:
    """A start with an empty cache that has just said that it compiles."""
    started = start(home)
    assert started.stderr is not None
    assert "compiling" in started.stderr.readline()
    return started


@pytest.mark.parametrize("how", [signal.SIGINT, signal.SIGTERM, signal.SIGKILL])
def test_a_first_start_that_was_ended_leaves_nothing_broken(tmp_path: Path, how: signal.Signals) -> None:
    with first(tmp_path) as ended:
        ended.send_signal(how)
        _, said = ended.communicate(timeout=60)
    assert "Traceback" not in said
    assert ended.returncode != 0
    if how is not signal.SIGKILL:
        assert "stopped before anything was asked" in said
    with start(tmp_path) as second:
        out, _ = second.communicate(timeout=60)
    assert second.returncode == 0
    assert '"refused"' in out


def test_two_first_starts_at_once(tmp_path: Path) -> None:
    with start(tmp_path) as one, start(tmp_path) as other:
        for started in (one, other):
            out, said = started.communicate(timeout=60)
            assert started.returncode == 0, said
            assert '"refused"' in out
    assert not list(tmp_path.glob("cache/flowsonar/.*"))
