"""What stands around a laboratory's work: the folder, the lock, and each way to end."""

from __future__ import annotations

import fcntl
import os
from pathlib import Path

import pytest
from lab.programs import LabError

from lab import frame


@pytest.fixture(autouse=True)
def around(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """Locks and folders below the test's own folder, and the rights of root."""
    monkeypatch.setattr(frame, "LOCKS", tmp_path)
    monkeypatch.setattr(frame.tempfile, "tempdir", str(tmp_path))
    monkeypatch.setattr(os, "geteuid", lambda: 0)
    monkeypatch.setattr(frame.signal, "signal", lambda *_: None)
    monkeypatch.setenv("PYTHONPATH", "before")
    return tmp_path


def test_works_in_a_folder_that_is_gone_afterwards() -> None:
    seen: list[Path] = []

    def work(folder: Path) -> int:
        seen.append(folder)
        assert folder.is_dir()
        assert folder.stat().st_mode & 0o777 == 0o755
        return 1

    assert frame.perform(work, name="try") == 1
    assert not seen[0].exists()
    first, second = os.environ["PYTHONPATH"].split(os.pathsep)
    assert (Path(first) / "lab" / "frame.py").is_file()
    assert second == "before"


def test_keeps_the_folder_when_asked(capsys: pytest.CaptureFixture[str]) -> None:
    seen: list[Path] = []
    assert frame.perform(lambda folder: seen.append(folder) or 0, name="try", keep=True) == 0
    assert seen[0].is_dir()
    assert f"kept: {seen[0]}" in capsys.readouterr().err


def test_runs_once_at_a_time(around: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with (around / "flowsonar-try").open("w") as other:
        fcntl.flock(other, fcntl.LOCK_EX)
        assert frame.perform(lambda _: 0, name="try", alone=True) == frame.NO_RESULT
        assert frame.perform(lambda _: 0, name="another", alone=True) == 0
        assert "running already" in capsys.readouterr().err
        assert frame.perform(lambda _: 0, name="try") == 0
    assert frame.perform(lambda _: 0, name="try", alone=True) == 0


@pytest.mark.parametrize(
    ("error", "code", "said"),
    [(LabError("no bridge"), 3, "does not work: no bridge"), (KeyboardInterrupt(), 130, "interrupted")],
)
def test_says_how_it_ended(
    error: BaseException, code: int, said: str, around: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    def work(_: Path) -> int:
        raise error

    assert frame.perform(work, name="try") == code
    assert said in capsys.readouterr().err
    assert not list(around.glob("flowsonar-try-*"))


def test_needs_root(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    assert frame.perform(lambda _: 0, name="try") == frame.NO_RESULT
    assert "run it as root" in capsys.readouterr().err


def test_seed() -> None:
    assert frame.seeded(7) == 7
    assert 0 <= frame.seeded(None) < 1_000_000
