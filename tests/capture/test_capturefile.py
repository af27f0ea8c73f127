"""Captures from files and pipes: formats, damage, messages."""

import gzip
import io
import os
import struct
import subprocess
import sys
import zlib
from collections.abc import Iterable, Iterator
from pathlib import Path

import pytest

from flowsonar.capture.capturefile import CaptureFile, open_capture
from flowsonar.capture.source import CHUNK_BYTES
from flowsonar.errors import CaptureError
from flowsonar.model import Block
from tests.capture.build import (
    Drip,
    frames,
    ng_block,
    ng_enhanced,
    ng_interface,
    ng_obsolete,
    ng_section,
    ng_simple,
    pcap_header,
    pcap_record,
    read_all,
)
from tests.needs import CORPUS, needs_corpus, needs_native, needs_program

ONE, TWO, THREE = b"1" * 60, b"22222", b"3" * 131


def _pcap() -> tuple[bytes, list[int]]:
    pieces = [pcap_header(), *(pcap_record("<", second, 5, data) for second, data in enumerate((ONE, TWO, THREE)))]
    return b"".join(pieces), [sum(map(len, pieces[: n + 1])) for n in range(len(pieces))]


def _pcapng() -> tuple[bytes, list[int]]:
    pieces = [
        ng_section("<") + ng_interface("<"),
        ng_enhanced("<", 0, 1, ONE),
        ng_block("<", 5, bytes(12)) + ng_obsolete("<", 0, 2, TWO),
        ng_section(">") + ng_interface(">", linktype=101) + ng_simple(">", 131, THREE),
    ]
    return b"".join(pieces), [sum(map(len, pieces[: n + 1])) for n in range(len(pieces))]


CAPTURES = {"pcap": _pcap(), "pcapng": _pcapng()}


def memory(data: bytes) -> CaptureFile:
    return open_capture(io.BytesIO(data))


@pytest.mark.parametrize("kind", CAPTURES)
def test_whole(kind: str) -> None:
    given, problem = read_all(memory(CAPTURES[kind][0]))
    assert [frame.data for frame in given] == [ONE, TWO, THREE]
    assert problem is None


@pytest.mark.parametrize("kind", CAPTURES)
def test_byte_by_byte(kind: str) -> None:
    capture = open_capture(Drip(CAPTURES[kind][0]))  # type: ignore[arg-type]
    given, problem = read_all(capture)
    assert [frame.data for frame in given] == [ONE, TWO, THREE]
    assert problem is None
    assert capture.packets == 3


@pytest.mark.parametrize("packed", [False, True], ids=["plain", "gzip"])
@pytest.mark.parametrize("kind", CAPTURES)
def test_cut_at_every_byte(kind: str, packed: bool) -> None:
    data, ends = CAPTURES[kind]
    minimum = {"pcap": 24, "pcapng": 28}[kind]
    for cut in range(len(data)):
        piece = data[:cut]
        if packed:
            piece = gzip.compress(piece)
        if cut < minimum:
            with pytest.raises(CaptureError):
                memory(piece)
            continue
        given, problem = read_all(memory(piece))
        whole = sum(end <= cut for end in ends[1:])
        assert [frame.data for frame in given] == [ONE, TWO, THREE][:whole], cut
        if cut in ends:
            assert problem is None, cut
        elif problem is not None:
            assert "cut short" in problem
            assert "\n" not in problem
        else:  # between two blocks that hold no packet
            assert kind == "pcapng"


@pytest.mark.parametrize("kind", CAPTURES)
def test_any_tail_is_survived(kind: str) -> None:
    """Whatever follows, the packets before it are given and nothing is raised."""
    data, _ = CAPTURES[kind]
    for value in range(256):
        given, _ = read_all(memory(data + bytes([value]) * 64))
        assert [frame.data for frame in given[:3]] == [ONE, TWO, THREE]


@pytest.mark.parametrize("kind", CAPTURES)
def test_any_byte_changed_is_survived(kind: str) -> None:
    data, _ = CAPTURES[kind]
    for at in range(len(data)):
        changed = bytearray(data)
        changed[at] ^= 0xFF
        try:
            capture = memory(bytes(changed))
        except CaptureError:
            assert at < 28
            continue
        read_all(capture)


def test_gzip_members_one_after_the_other() -> None:
    data, _ = CAPTURES["pcap"]
    packed = gzip.compress(data[:70]) + gzip.compress(data[70:]) + bytes(7)
    for step in (1, 1000):
        given, problem = read_all(open_capture(Drip(packed, step)))  # type: ignore[arg-type]
        assert [frame.data for frame in given] == [ONE, TWO, THREE]
        assert problem is None


def test_gzip_cut_short_gives_what_can_be_unpacked() -> None:
    body = b"".join(pcap_record("<", n, 0, os.urandom(200)) for n in range(2000))
    packed = gzip.compress(pcap_header() + body)
    given, problem = read_all(memory(packed[: len(packed) // 2]))
    assert 900 < len(given) < 1100
    assert problem is not None
    assert "the gzip data is cut short" in problem


@pytest.mark.parametrize(("records", "text"), [(2000, False), (20_000, False), (20_000, True)])
def test_gzip_with_damage(records: int, text: bool) -> None:
    """A wrong checksum is only found at the end: everything comes out before the message."""
    body = b"".join(pcap_record("<", n, 0, b"text " * 40 if text else os.urandom(200)) for n in range(records))
    packed = bytearray(gzip.compress(pcap_header() + body, 1))
    packed[-8:-4] = bytes(value ^ 0xFF for value in packed[-8:-4])
    given, problem = read_all(memory(bytes(packed)))
    assert problem is not None
    assert "the gzip data is damaged" in problem
    assert len(given) == records


def test_gzip_with_a_damaged_middle() -> None:
    """Deflate data of random bytes is stored: damage there is the block's header, at a place that is easy to find."""
    compressor = zlib.compressobj(0, zlib.DEFLATED, 31)
    first = compressor.compress(pcap_header() + pcap_record("<", 1, 0, ONE)) + compressor.flush(zlib.Z_FULL_FLUSH)
    given, problem = read_all(memory(first + b"\xff" * 100))
    assert [frame.data for frame in given] == [ONE]
    assert problem is not None
    assert "the gzip data is damaged" in problem


def test_many_tiny_gzip_members() -> None:
    tiny = gzip.compress(b"")
    packed = gzip.compress(CAPTURES["pcap"][0]) + tiny * 50_000
    given, problem = read_all(memory(packed))
    assert len(given) == 3
    assert problem is None


def test_gzip_with_something_else_behind() -> None:
    given, problem = read_all(memory(gzip.compress(CAPTURES["pcap"][0]) + b"hello"))
    assert len(given) == 3
    assert problem is not None
    assert "not gzip" in problem


@pytest.mark.parametrize("kind", CAPTURES)
def test_packets_come_while_the_pipe_is_open(kind: str) -> None:
    data, ends = CAPTURES[kind]
    reading, writing = os.pipe()
    with os.fdopen(reading, "rb", buffering=0) as stream, os.fdopen(writing, "wb", buffering=0) as pipe:
        pipe.write(data[: ends[1] + 3])
        capture = open_capture(stream)
        blocks = iter(capture)
        assert [frame.data for frame in frames([next(blocks)])] == [ONE]
        pipe.write(data[ends[1] + 3 : ends[2]])
        assert [frame.data for frame in frames([next(blocks)])] == [TWO]
        pipe.write(data[ends[2] :])
        assert [frame.data for frame in frames([next(blocks)])] == [THREE]
        pipe.close()
        assert list(blocks) == []
        assert capture.problem is None
        assert capture.size is None


def test_standard_input() -> None:
    program = (
        "from flowsonar.capture.capturefile import open_capture\n"
        "with open_capture('-') as capture:\n"
        "    print(sum(len(block.frames) // 24 for block in capture), capture.name, capture.problem)\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", program], input=gzip.compress(CAPTURES["pcap"][0]), capture_output=True, check=True
    )
    assert done.stdout == b"3 standard input None\n"


def test_standard_input_that_is_a_terminal() -> None:
    ours, theirs = os.openpty()
    program = (
        "from flowsonar.capture.capturefile import open_capture\n"
        "from flowsonar.errors import CaptureError\n"
        "try:\n    open_capture('-')\n"
        "except CaptureError as error:\n    print(error)\n"
    )
    done = subprocess.run([sys.executable, "-c", program], stdin=theirs, capture_output=True, check=True)
    os.close(ours)
    os.close(theirs)
    assert b"standard input is a terminal" in done.stdout
    assert b"tcpdump" in done.stdout


@pytest.mark.parametrize(
    ("content", "says"),
    [
        (b"", "is empty"),
        (b"\xd4", "not a pcap or pcapng"),
        (b"\xd4\xc3\xb2\xa1", "cut short"),
        (b"\x0a\x0d\x0d\x0a", "cut short"),
        (b"GET / HTTP/1.1\r\n", "not a pcap or pcapng"),
        (b"\x28\xb5\x2f\xfd" + bytes(90), "zstd -dc"),
        (b"snoop\0\0\0" + bytes(90), "editcap"),
        (b"\x1f\x8b\x08\0", "gzip data is cut short"),
        (b"\x1f\x8b\xff\xff" + bytes(90), "gzip data is damaged"),
        (gzip.compress(b""), "is empty"),
        (gzip.compress(b"hello"), "not a pcap or pcapng"),
    ],
)
def test_not_a_capture(tmp_path: Path, content: bytes, says: str) -> None:
    path = tmp_path / "x.pcap"
    path.write_bytes(content)
    with pytest.raises(CaptureError, match=says) as caught:
        open_capture(path)
    assert str(path) in str(caught.value)
    assert "\n" not in str(caught.value)


def test_no_file_to_open(tmp_path: Path) -> None:
    with pytest.raises(CaptureError, match="no such file"):
        open_capture(tmp_path / "nothing.pcap")
    with pytest.raises(CaptureError, match="is a directory"):
        open_capture(str(tmp_path))
    with pytest.raises(CaptureError, match="cannot be opened"):
        open_capture("a\0b")
    with pytest.raises(CaptureError, match="cannot be opened"):
        open_capture(tmp_path / ("n" * 300))


def test_position_and_size(tmp_path: Path) -> None:
    path = tmp_path / "x.pcap.gz"
    packed = gzip.compress(CAPTURES["pcap"][0])
    path.write_bytes(packed)
    with open_capture(path) as capture:
        assert capture.size == len(packed)
        assert list(capture)
        assert capture.position == len(packed)
        assert capture.interfaces == [""]


def test_a_stream_that_fails() -> None:
    class Failing(Drip):
        def read(self, size: int = -1) -> bytes:
            return super().read(size) or os.read(-1, 1)

    given, problem = read_all(open_capture(Failing(CAPTURES["pcap"][0])))  # type: ignore[arg-type]
    assert len(given) == 3
    assert problem is not None
    assert "reading failed: Bad file descriptor" in problem


def test_large_captures_come_in_bounded_blocks() -> None:
    data = pcap_header() + pcap_record("<", 1, 2, b"x" * 1500) * 3000
    blocks = list(memory(data))
    assert len(frames(blocks)) == 3000
    assert max(len(block.data) for block in blocks) <= CHUNK_BYTES + 1516


@needs_corpus()
@needs_program("capinfos")
def test_as_many_packets_as_capinfos_counts() -> None:
    folder = CORPUS / "ndpi" / "pcap"
    paths = sorted(str(path) for path in folder.iterdir())
    done = subprocess.run(["capinfos", "-TrmcQ", "-c", *paths], capture_output=True, text=True, check=False)
    expected = {}
    for line in done.stdout.splitlines():
        name, count = line.rsplit(",", 1)
        expected[name.strip('"')] = int(count.strip('"'))
    assert len(expected) == len(paths)
    counted = {}
    for path in paths:
        with open_capture(path) as capture:
            counted[path] = sum(len(block.frames) // 24 for block in capture)
            if "fuzz-2021-10-13" not in path:  # two bytes too many at its end
                assert capture.problem is None
    assert counted == expected


def _long_capture(path: Path, records: int = 12_000) -> bytes:
    head = struct.pack("<IHHiIII", 0xA1B2C3D4, 2, 4, 0, 0, 65535, 1)
    body = b"".join(struct.pack("<IIII", at, 0, 1000, 1000) + at.to_bytes(4, "big") * 250 for at in range(records))
    path.write_bytes(head + body)
    path.chmod(0o600)  # only what nobody else may write to is mapped
    return head + body


def _bodies(blocks: Iterable[Block]) -> Iterator[bytes]:
    for block in blocks:
        for at in range(0, len(block.frames), 24):
            start, captured = struct.unpack_from("<II", block.frames, at + 8)
            yield bytes(block.data[start : start + captured])


@pytest.mark.parametrize("tail", [b"", b"\0", b"\1\2\3\4" * 5])
def test_a_file_of_several_windows(tmp_path: Path, tail: bytes) -> None:
    path = tmp_path / "long.pcap"
    path.write_bytes(_long_capture(path) + tail)
    with open_capture(path) as capture:
        bodies = list(_bodies(list(capture)))  # blocks stay what they were while later ones are read
    assert bodies == [at.to_bytes(4, "big") * 250 for at in range(12_000)]
    assert (capture.problem is None) == (not tail)
    assert capture.position == path.stat().st_size


def test_a_file_that_grows_while_it_is_read(tmp_path: Path) -> None:
    path = tmp_path / "long.pcap"
    whole = _long_capture(path)
    cut = len(whole) // 2 + 7
    path.write_bytes(whole[:cut])
    with open_capture(path) as capture:
        blocks = iter(capture)
        bodies = list(_bodies([next(blocks)]))
        with path.open("ab") as file:
            file.write(whole[cut:])
        bodies += list(_bodies(blocks))
    assert len(bodies) == 12_000
    assert capture.problem is None


@needs_native()
@pytest.mark.parametrize("left", [0, 30, 5000, 1 << 20, (1 << 20) + 4096])
def test_a_file_that_becomes_shorter_while_it_is_read(tmp_path: Path, left: int) -> None:
    path = tmp_path / "long.pcap"
    _long_capture(path)
    with open_capture(path) as capture:
        blocks = iter(capture)
        bodies = list(_bodies([next(blocks)]))
        os.truncate(path, left)
        for block in blocks:
            bodies += _bodies([block])
    known = [at.to_bytes(4, "big") * 250 for at in range(12_000)]
    assert bodies == known[: len(bodies)]
    assert capture.problem is not None
    assert "long.pcap" in capture.problem
