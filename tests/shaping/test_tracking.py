"""Settings of connection tracking, with files in the kernel's place."""

from pathlib import Path

import pytest

from flowsonar.shaping import tracking


@pytest.fixture
def settings(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    monkeypatch.setattr(tracking, "_SETTINGS", tmp_path)
    monkeypatch.setattr(tracking, "_state", lambda: tmp_path / "run" / "counting")
    return tmp_path


@pytest.mark.parametrize("before", ["0\n", "1\n"])
def test_the_counting_is_set_as_it_was_also_when_two_runs_were_killed(settings: Path, before: str) -> None:
    counting = settings / "nf_conntrack_acct"
    counting.write_text(before)
    for _ in range(2):
        tracking.remember()
        counting.write_text("1\n")  # as the kernel does
    tracking.restore()
    assert counting.read_text() == before
    assert not (settings / "run" / "counting").exists()
    counting.write_text("1\n")
    tracking.restore()  # nothing of ours any more
    assert counting.read_text() == "1\n"


def test_a_kernel_without_the_setting_is_left_alone(settings: Path) -> None:
    tracking.remember()
    tracking.restore()
    assert not (settings / "nf_conntrack_acct").exists()


def test_how_full_the_table_is(settings: Path) -> None:
    assert tracking.used() is None
    (settings / "nf_conntrack_count").write_text("30\n")
    (settings / "nf_conntrack_max").write_text("40\n")
    assert tracking.used() == 0.75
