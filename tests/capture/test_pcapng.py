"""The pcapng writer."""

import contextlib
import signal
import struct
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from flowsonar.capture.capturefile import open_capture
from flowsonar.capture.pcapng import PcapngWriter
from flowsonar.errors import CaptureError
from flowsonar.model import Block
from tests.capture.build import Frame, make_block, read_all
from tests.needs import CORPUS, needs_corpus, needs_program, needs_root

ETHERNET = Frame(1_700_000_000_123_456_789, bytes(12) + b"\x08\x00" + b"e" * 50, 1514, 1, 0)
RAW = Frame(1_700_000_000_123_456_790, b"\x45" + b"r" * 30, 31, 101, 1)


def test_what_is_written_can_be_read(tmp_path: Path) -> None:
    path = tmp_path / "x.pcapng"
    with PcapngWriter(path, ["eth0", "tun0"]) as writer:
        writer.write(make_block([ETHERNET, RAW]))
        writer.write(make_block([]))
        writer.write(make_block([RAW, RAW]))
        assert writer.packets == 4
    capture = open_capture(path)
    given, problem = read_all(capture)
    assert given == [ETHERNET, RAW, RAW, RAW]
    assert problem is None
    assert capture.interfaces == ["eth0", "tun0"]


def test_interfaces_are_described_when_first_met(tmp_path: Path) -> None:
    """In any order, with any link type, named or not; readers see them in the order of the file."""
    path = tmp_path / "x.pcapng"
    seventh = ETHERNET._replace(interface=7)
    other_kind = ETHERNET._replace(interface=7, linktype=113)
    with PcapngWriter(path, ["eth0"]) as writer:
        writer.write(make_block([seventh, seventh]))
        writer.write(make_block([ETHERNET, seventh, other_kind]))
    capture = open_capture(path)
    given, problem = read_all(capture)
    assert problem is None
    assert [(frame.interface, frame.linktype) for frame in given] == [(0, 1), (0, 1), (1, 1), (0, 1), (2, 113)]
    assert capture.interfaces == ["", "eth0", ""]


frame_lists = st.lists(
    st.builds(
        Frame,
        st.integers(min_value=0, max_value=(1 << 63) - 1),
        st.binary(max_size=100),
        st.integers(min_value=100, max_value=(1 << 32) - 1),
        st.sampled_from([0, 1, 101, 113, 65535]),
        st.sampled_from([0, 1, 2, 300, 65535]),
    ),
    max_size=12,
)


@given(st.lists(frame_lists, max_size=4))
def test_any_frames(tmp_path_factory: pytest.TempPathFactory, batches: list[list[Frame]]) -> None:
    path = tmp_path_factory.getbasetemp() / "any.pcapng"
    with PcapngWriter(path) as writer:
        for batch in batches:
            writer.write(make_block(batch))
    found, problem = read_all(open_capture(path))
    assert problem is None
    assert [frame[:4] for frame in found] == [frame[:4] for batch in batches for frame in batch]


@needs_program("capinfos")
@needs_program("tshark")
def test_others_can_read_it(tmp_path: Path) -> None:
    path = tmp_path / "x.pcapng"
    udp = (
        struct.pack(">BBHHHBBH4s4sHHHH", 0x45, 0, 32, 1, 0, 64, 17, 0, b"\x0a\0\0\1", b"\x0a\0\0\2", 7, 9, 12, 0)
        + b"ping"
    )
    raw = RAW._replace(data=udp, wire=len(udp))
    with PcapngWriter(path, ["eth0", "tun0"]) as writer:
        writer.write(make_block([ETHERNET, raw]))
    info = subprocess.run(["capinfos", "-c", "-I", "-E", path], capture_output=True, text=True, check=True).stdout
    assert "Number of packets:   2" in info
    assert "Number of interfaces in file: 2" in info
    assert "Name = eth0" in info
    assert "Name = tun0" in info
    assert "Time precision = nanoseconds (9)" in info
    fields = [
        "-T",
        "fields",
        "-e",
        "frame.time_epoch",
        "-e",
        "frame.len",
        "-e",
        "frame.interface_name",
        "-e",
        "udp.port",
    ]
    shown = subprocess.run(["tshark", "-n", "-r", path, *fields], capture_output=True, text=True, check=True).stdout
    assert shown.splitlines() == ["1700000000.123456789\t1514\teth0\t", "1700000000.123456790\t32\ttun0\t7,9"]


@needs_corpus()
@needs_program("capinfos")
def test_real_captures_written_anew(tmp_path: Path) -> None:
    for name in ("443-chrome.pcap", "dns.pcap", "skype.pcap", "quic.pcap"):
        source = CORPUS / "ndpi" / "pcap" / name
        if not source.exists():
            continue
        target = tmp_path / name
        with open_capture(source) as capture, PcapngWriter(target) as writer:
            for block in capture:
                writer.write(block)
        assert read_all(open_capture(target))[0] == read_all(open_capture(source))[0]
        counts = subprocess.run(
            ["capinfos", "-TrmcQ", "-c", source, target], capture_output=True, text=True, check=True
        ).stdout
        assert len({line.rsplit(",", 1)[1] for line in counts.splitlines()}) == 1


def test_killed_without_warning(tmp_path: Path) -> None:
    """All that was written is there, although nothing was closed."""
    path = tmp_path / "x.pcapng"
    program = (
        "import sys\n"
        "from flowsonar.capture.pcapng import PcapngWriter\n"
        "from tests.capture.test_pcapng import ETHERNET, make_block\n"
        f"writer = PcapngWriter({str(path)!r})\n"
        "for _ in range(100):\n"
        "    writer.write(make_block([ETHERNET] * 10))\n"
        "print('written', flush=True)\n"
        "sys.stdin.read()\n"
    )
    top = Path(__file__).parents[2]
    with subprocess.Popen(
        [sys.executable, "-c", program], stdin=subprocess.PIPE, stdout=subprocess.PIPE, cwd=top
    ) as child:
        assert child.stdout is not None
        assert child.stdout.readline() == b"written\n"
        child.send_signal(signal.SIGKILL)
    given, problem = read_all(open_capture(path))
    assert len(given) == 1000
    assert problem is None


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    folder = tmp_path / "disk"
    folder.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=64k", "flowsonar-test", folder], check=True)
    try:
        yield folder
    finally:
        subprocess.run(["umount", folder], check=True)


def write_often(writer: PcapngWriter, block: Block) -> None:
    for _ in range(1000):
        writer.write(block)


def fill(path: Path) -> None:
    with path.open("wb", buffering=0) as filler, contextlib.suppress(OSError):
        while True:
            filler.write(bytes(4096))


@needs_root()
def test_a_full_disk(small_disk: Path) -> None:
    path = small_disk / "x.pcapng"
    block = make_block([ETHERNET] * 100)
    with PcapngWriter(path) as writer:
        with pytest.raises(CaptureError, match="No space left on device") as caught:
            write_often(writer, block)
        assert str(path) in str(caught.value)
        kept = writer.packets
        assert 0 < kept < 1000
        assert f"{kept} packets are kept" in str(caught.value)
        assert writer.lost == 100
        writer.write(block)
        writer.write(block)
        assert (writer.packets, writer.lost) == (kept, 300), "one error, then only counting"
    given, problem = read_all(open_capture(path))
    assert len(given) == kept
    assert problem is None


@needs_root()
def test_a_disk_full_from_the_start(small_disk: Path) -> None:
    fill(small_disk / "filler")
    with pytest.raises(CaptureError, match="No space left"):
        PcapngWriter(small_disk / "x.pcapng")


def test_device_that_is_always_full() -> None:
    before = set(Path("/proc/self/fd").iterdir())
    with pytest.raises(CaptureError, match="No space left"):
        PcapngWriter("/dev/full")
    assert set(Path("/proc/self/fd").iterdir()) == before


def test_cannot_be_created(tmp_path: Path) -> None:
    for path in (tmp_path, tmp_path / "no" / "x.pcapng", "a\0b", tmp_path / ("n" * 300)):
        with pytest.raises(CaptureError, match="cannot be created"):
            PcapngWriter(path)


def test_written_after_close_is_counted(tmp_path: Path) -> None:
    writer = PcapngWriter(tmp_path / "x")
    writer.close()
    writer.close()
    writer.write(make_block([ETHERNET]))
    assert writer.lost == 1


def test_any_buffer_can_be_written(tmp_path: Path) -> None:
    block = make_block([ETHERNET])
    for kind in (bytearray, memoryview):
        path = tmp_path / kind.__name__
        with PcapngWriter(path) as writer:
            writer.write(Block(kind(block.data), block.frames))
        assert read_all(open_capture(path))[0] == [ETHERNET]
