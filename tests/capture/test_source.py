"""Bytes from files, pipes and gzip."""

import gzip
import io
import os
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from flowsonar.capture.source import CHUNK_BYTES, ByteSource
from flowsonar.errors import CaptureError
from tests.capture.build import Drip
from tests.needs import needs_native


def everything(source: ByteSource) -> bytes:
    pieces = []
    while piece := source.read():
        assert len(piece) <= CHUNK_BYTES
        pieces.append(piece)
    assert source.read() == b"", "the end stays the end"
    return b"".join(pieces)


@given(st.lists(st.binary(max_size=400), min_size=1, max_size=4), st.integers(min_value=1, max_value=50))
def test_gzip_in_any_pieces(contents: list[bytes], step: int) -> None:
    packed = b"".join(gzip.compress(content) for content in contents)
    source = ByteSource(Drip(packed, step))  # type: ignore[arg-type]
    assert everything(source) == b"".join(contents)
    assert source.problem is None
    assert source.position == len(packed)


def test_a_little_gzip_that_is_much_unpacked() -> None:
    source = ByteSource(io.BytesIO(gzip.compress(bytes(50_000_000))))
    assert len(everything(source)) == 50_000_000
    assert source.problem is None


@pytest.mark.parametrize("left", [1, 2, 3, 9, 20])
def test_a_cut_second_member(left: int) -> None:
    first = gzip.compress(b"first")
    source = ByteSource(io.BytesIO(first + gzip.compress(b"second")[:left]))
    assert everything(source)[:5] == b"first"
    assert source.problem == "the gzip data is cut short"


@pytest.mark.parametrize("damaged_at", [200, 131_072, 300_000, 655_359])
def test_all_before_the_damage_is_unpacked(damaged_at: int) -> None:
    """Stored deflate blocks keep their bytes as they are, so a broken block header stands at a known place."""
    compressor = gzip.compress(b"", 0)
    header, content = compressor[:10], os.urandom(700_000)
    body = b""
    for at in range(0, len(content), 1000):
        body += b"\0" + (1000).to_bytes(2, "little") + (0xFFFF ^ 1000).to_bytes(2, "little") + content[at : at + 1000]
    block = damaged_at // 1005
    broken = bytearray(header + body)
    broken[10 + block * 1005] = 0x06  # block type 3 does not exist
    source = ByteSource(io.BytesIO(bytes(broken)))
    assert everything(source) == content[: block * 1000]
    assert source.problem == "the gzip data is damaged"


def test_files_pipes_and_memory(tmp_path: Path) -> None:
    path = tmp_path / "x"
    path.write_bytes(b"hello")
    with ByteSource(path) as source:
        assert (source.name, source.size) == (str(path), 5)
        assert everything(source) == b"hello"
    reading, writing = os.pipe()
    os.write(writing, b"hello")
    os.close(writing)
    with os.fdopen(reading, "rb") as stream, ByteSource(stream) as source:
        assert source.size is None
        assert everything(source) == b"hello"
        source.close()
        assert not stream.closed, "it belongs to who opened it"
    assert everything(ByteSource(io.BytesIO(b""))) == b""


def test_a_stream_that_does_not_wait() -> None:
    reading, writing = os.pipe()
    os.set_blocking(reading, False)
    with os.fdopen(reading, "rb", buffering=0) as stream:
        source = ByteSource(stream)
        assert everything(source) == b""
        assert source.problem is not None
        assert "does not wait" in source.problem
    os.close(writing)


def test_a_stream_that_is_closed() -> None:
    stream = io.BytesIO(b"x" * 10)
    source = ByteSource(stream)
    stream.close()
    assert everything(source) == b"x" * 10
    assert source.problem == "reading failed: the stream is closed"


def test_no_permission(tmp_path: Path) -> None:
    path = tmp_path / "x"
    path.touch(mode=0o000)
    if os.access(path, os.R_OK):
        ByteSource(path).close()  # root may
    else:
        with pytest.raises(CaptureError, match="no permission"):
            ByteSource(path)


@needs_native()
@pytest.mark.parametrize(("mode", "mapped"), [(0o600, True), (0o644, True), (0o664, False), (0o602, False)])
def test_what_others_may_write_is_copied(tmp_path: Path, mode: int, mapped: bool) -> None:
    path = tmp_path / "file"
    path.write_bytes(b"0123456789")
    path.chmod(mode)
    with ByteSource(path) as source:
        window = source.window(2)
        assert (window is not None) == mapped
        assert window is None or bytes(memoryview(window)) == b"23456789"
        assert source.window(10) is None
        source.seek(4)
        assert source.read() == b"456789"


def test_gzip_and_streams_have_no_windows(tmp_path: Path) -> None:
    path = tmp_path / "file.gz"
    path.write_bytes(gzip.compress(b"0123456789"))
    with ByteSource(path) as source:
        assert source.window(0) is None
    assert ByteSource(io.BytesIO(b"0123456789")).window(0) is None
