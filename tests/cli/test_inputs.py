import asyncio
import gzip
import os
from pathlib import Path

import pytest

from flowsonar.cli.inputs import LINE_BYTES, Splitter, lines_of, opened
from flowsonar.errors import ConfigError, FlowsonarError


def split(data: bytes, size: int) -> list[str | None]:
    splitter = Splitter()
    pieces = [data[start : start + size] for start in range(0, len(data), size)]
    return [line for piece in pieces for line in splitter.feed(piece)] + list(splitter.end())


@pytest.mark.parametrize("size", [1, 3, 1000])
def test_lines_in_pieces(size: int) -> None:
    data = b"one\ntwo\r\n\nthree\xff"
    expected = ["one", "two\r", "", "three\ufffd"]
    assert split(data, size) == expected
    if size > 1:  # the first two bytes tell
        assert split(gzip.compress(data[:5]) + gzip.compress(data[5:]), size) == expected


def test_a_line_without_end_is_skipped() -> None:
    data = b"one\n" + b"x" * (3 * LINE_BYTES) + b"\ntwo\n"
    assert split(data, 1 << 16) == ["one", None, "two"]


def test_a_damaged_file() -> None:
    data = gzip.compress(b"text\n" * 100)
    with pytest.raises(FlowsonarError, match="damaged"):
        split(data[:10] + b"\xff" * 100, 1 << 16)
    with pytest.raises(FlowsonarError, match="too early"):
        split(data[:-12], 1 << 16)


def test_files(tmp_path: Path) -> None:
    path = tmp_path / "lines"
    path.write_text("a\nb")

    async def read() -> list[str | None]:
        return [line async for line in lines_of(opened(str(path)))]

    assert asyncio.run(read()) == ["a", "b"]
    with pytest.raises(ConfigError, match="folder"):
        opened(str(tmp_path))
    with pytest.raises(ConfigError, match="cannot be read"):
        opened(str(tmp_path / "none"))


def test_what_cannot_be_read() -> None:
    reading, writing = os.pipe()

    async def read() -> list[str | None]:
        return [line async for line in lines_of(writing)]

    with pytest.raises(FlowsonarError, match="cannot be read"):
        asyncio.run(read())
    os.close(reading)
    os.close(writing)
