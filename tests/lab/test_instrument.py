"""What the log of standstills says, and that asking to run first never fails."""

import os
from pathlib import Path

from lab.instrument import first, standstills, stood_still


def test_standstills_close_together_are_one_and_a_torn_line_is_none(tmp_path: Path) -> None:
    log = tmp_path / "still"
    log.write_text("200000000 206000000\n100000000 120000000\n110000000 115000000\n130000000 140000000\n3000")
    assert standstills(log) == [(100_000_000, 140_000_000), (200_000_000, 206_000_000)]


def test_the_share_of_a_time_counts_what_two_processors_lost_at_once_only_once(tmp_path: Path) -> None:
    log = tmp_path / "still"
    log.write_text("100000000 120000000\n110000000 130000000\n140000000 150000000\n")
    assert stood_still(log, 115_000_000, 215_000_000) == 0.25


def test_nobody_stood_still(tmp_path: Path) -> None:
    (tmp_path / "still").write_text("")
    assert standstills(tmp_path / "still") == []


def test_who_may_not_run_first_runs_as_ever() -> None:
    pid = os.fork()
    if pid == 0:
        first()
        os._exit(0)
    assert os.waitpid(pid, 0)[1] == 0
