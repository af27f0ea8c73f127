"""Parts of files as memory."""

import os
from pathlib import Path

import pytest

from flowsonar._native import core
from tests.needs import needs_native

pytestmark = needs_native()


@pytest.fixture
def made(tmp_path: Path) -> Path:
    path = tmp_path / "file"
    path.write_bytes(bytes(range(256)) * 400)
    return path


@pytest.mark.parametrize(("offset", "size"), [(0, 1), (0, 102_400), (5, 8192), (4096, 4096), (102_399, 1)])
def test_a_window_shows_the_file(made: Path, offset: int, size: int) -> None:
    assert core is not None
    with made.open("rb") as file:
        window = core.Window(file.fileno(), offset, size)
    assert bytes(window) == made.read_bytes()[offset : offset + size]
    assert memoryview(window).readonly
    assert not window.lost()


def test_what_the_file_loses_reads_as_zeros(made: Path) -> None:
    assert core is not None
    with made.open("rb") as file:
        windows = [core.Window(file.fileno(), 0, 102_400) for _ in range(2)]
    os.truncate(made, 10_000)
    for window in windows:
        assert bytes(window) == made.read_bytes() + bytes(92_400)
        assert window.lost()


def test_windows_are_bounded(made: Path) -> None:
    assert core is not None
    with made.open("rb") as file:
        windows = [core.Window(file.fileno(), 0, 10) for _ in range(16)]
        with pytest.raises(OSError, match="mapped"):
            core.Window(file.fileno(), 0, 10)
        windows.pop()
        assert bytes(core.Window(file.fileno(), 1, 2)) == b"\1\2"


@pytest.mark.parametrize("arguments", [(-1, 0, 1), (0, 0, 0), (0, 1 << 63, 1), (0, 0, -1)])
def test_what_cannot_be_mapped(arguments: tuple[int, int, int]) -> None:
    assert core is not None
    with pytest.raises((OSError, ValueError)):
        core.Window(*arguments)
