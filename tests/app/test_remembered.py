from pathlib import Path

import pytest

from flowsonar.app import remembered
from flowsonar.app.remembered import Remembered


def test_kept_for_the_same_signatures_only(tmp_path: Path) -> None:
    one = Remembered("abc", cache=tmp_path)
    assert one.kept is None
    one.keep(b"lessons")
    assert one.kept == b"lessons"
    assert Remembered("abc", cache=tmp_path).kept is None  # not written yet
    one.save()
    assert Remembered("abc", cache=tmp_path).kept == b"lessons"
    assert Remembered("abd", cache=tmp_path).kept is None


def test_nothing_new_writes_nothing(tmp_path: Path) -> None:
    Remembered("abc", cache=tmp_path).save()
    assert not list(tmp_path.iterdir())


def test_signatures_of_unknown_origin_are_remembered_within_the_run(tmp_path: Path) -> None:
    one = Remembered("", cache=tmp_path)
    one.keep(b"lessons")
    one.save()
    assert one.kept == b"lessons"
    assert not list(tmp_path.iterdir())


def test_another_program_knows_nothing_of_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    package = tmp_path / "package"
    for folder in ("", "_native", "app", "flows", "outputs", "passive", "protocols", "signatures", "verdicts"):
        (package / folder).mkdir(exist_ok=True)
    monkeypatch.setattr(remembered, "_PACKAGE", package)
    one = Remembered("abc", cache=tmp_path / "cache")
    one.keep(b"lessons")
    one.save()
    assert Remembered("abc", cache=tmp_path / "cache").kept == b"lessons"
    (package / "passive" / "reader.py").write_text("")
    assert Remembered("abc", cache=tmp_path / "cache").kept is None
