import contextlib
import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from flowsonar.signatures import cachefile


def test_saved_bytes_come_back_and_are_private(tmp_path: Path) -> None:
    folder = tmp_path / "a" / "b"
    assert cachefile.save(folder, "x", b"data")
    assert cachefile.load(folder, "x") == b"data"
    assert (folder / "x").stat().st_mode & 0o777 == 0o600
    assert folder.stat().st_mode & 0o777 == 0o700
    assert [path.name for path in folder.iterdir()] == ["x"]


def test_nothing_there(tmp_path: Path) -> None:
    assert cachefile.load(tmp_path, "x") is None
    assert cachefile.load(tmp_path / "no", "x") is None


@pytest.mark.parametrize("cut", [0, 1, 31, 32, 33, 35])
def test_a_truncated_file_is_refused(tmp_path: Path, cut: int) -> None:
    cachefile.save(tmp_path, "x", b"data")
    (tmp_path / "x").write_bytes((tmp_path / "x").read_bytes()[:cut])
    assert cachefile.load(tmp_path, "x") is None


def test_a_changed_file_is_refused(tmp_path: Path) -> None:
    cachefile.save(tmp_path, "x", b"data")
    content = bytearray((tmp_path / "x").read_bytes())
    content[-1] ^= 1
    (tmp_path / "x").write_bytes(content)
    assert cachefile.load(tmp_path, "x") is None


def test_a_file_that_others_may_write_is_refused(tmp_path: Path) -> None:
    cachefile.save(tmp_path, "x", b"data")
    (tmp_path / "x").chmod(0o622)
    assert cachefile.load(tmp_path, "x") is None


def test_a_file_of_someone_else_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    cachefile.save(tmp_path, "x", b"data")
    monkeypatch.setattr(os, "geteuid", lambda: (tmp_path / "x").stat().st_uid + 1)
    assert cachefile.load(tmp_path, "x") is None
    assert not cachefile.save(tmp_path, "y", b"data")


def test_links_pipes_and_folders_are_refused(tmp_path: Path) -> None:
    cachefile.save(tmp_path, "x", b"data")
    (tmp_path / "link").symlink_to(tmp_path / "x")
    (tmp_path / "folder").mkdir()
    os.mkfifo(tmp_path / "pipe")
    assert [cachefile.load(tmp_path, name) for name in ("link", "folder", "pipe")] == [None, None, None]


def test_an_unwritable_place_is_no_error(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"")
    assert not cachefile.save(tmp_path / "file" / "below", "x", b"data")
    assert not cachefile.save(Path("/proc/flowsonar"), "x", b"data")


@pytest.mark.parametrize(("value", "expected"), [("/cache", "/cache/flowsonar"), ("relative", None), ("", None)])
def test_where(value: str, expected: str | None, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", value)
    monkeypatch.setenv("HOME", "/home/someone")
    assert str(cachefile.cache_directory()) == (expected or "/home/someone/.cache/flowsonar")


def test_what_was_not_made_lately_goes(tmp_path: Path) -> None:
    for number in range(cachefile._KEPT + 3):
        assert cachefile.save(tmp_path, f"one-{number}", b"x")
        os.utime(tmp_path / f"one-{number}", ns=(number, number))
    assert cachefile.save(tmp_path, "last", b"x")
    assert len(list(tmp_path.iterdir())) == cachefile._KEPT
    assert cachefile.load(tmp_path, "last") == b"x"
    assert cachefile.load(tmp_path, "one-0") is None


def test_what_is_to_be_done_before_anybody_waits_is_done_once() -> None:
    done: list[str] = []
    with cachefile.before_making(lambda: done.append("now")):
        assert done == []
        cachefile.making("one thing")
        cachefile.making("another")
    assert done == ["now"]
    with cachefile.before_making(lambda: done.append("never")):
        pass
    cachefile.making("a third")
    assert done == ["now"]


def test_what_goes_while_the_place_is_tidied_is_no_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert cachefile.save(tmp_path, "gone", b"data")
    real = os.scandir

    @contextlib.contextmanager
    def scanned(directory: Path) -> Iterator[list[os.DirEntry[str]]]:
        with real(directory) as entries:
            found = list(entries)
        (tmp_path / "gone").unlink(missing_ok=True)
        yield found

    monkeypatch.setattr(os, "scandir", scanned)
    assert cachefile.save(tmp_path, "x", b"data")
    assert cachefile.load(tmp_path, "x") == b"data"
