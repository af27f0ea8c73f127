"""What the other tests lean on: a process's memory can be asked for after its end."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from tests.hostile.running import Running


def test_memory_is_known_after_the_end(tmp_path: Path) -> None:
    program = ["-c", "print('up', flush=True); import sys; sys.stdin.read()"]
    with Running(tmp_path, program=program, stdin=subprocess.PIPE) as running:
        running.await_line(b"up")
        assert running.process.stdin is not None
        running.process.stdin.close()
        running.process.wait()
        assert 1 < running.peak_mib() < 100


def test_a_process_of_which_nothing_was_seen_has_no_memory(tmp_path: Path) -> None:
    with Running(tmp_path, program=["-c", ""]) as running:
        running.process.wait()
        with pytest.raises(AssertionError, match="wrote no line"):
            running.peak_mib()
