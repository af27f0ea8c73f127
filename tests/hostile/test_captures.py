"""Captures that are cut, changed or lie: every whole packet before the damage, one message, no surprise."""

from __future__ import annotations

import gzip
import random
import signal
import struct
import subprocess
from pathlib import Path

import pytest

from flowsonar.app import Parts, Reading
from flowsonar.config import FlowSettings, Settings
from flowsonar.errors import CaptureError
from tests.hostile import packets
from tests.hostile.running import Running, flowsonar, one_line

CLIENT, WEB, DNS = ("10.0.0.1", 40000), ("10.0.0.2", 8080), ("10.0.0.3", 53)
QUESTION = b"\x12\x34\x01\x00\0\x01\0\0\0\0\0\0\x07example\x03com\0\0\x01\0\x01"
FRAMES = [
    packets.tcp(CLIENT, WEB, flags=0x02),
    packets.tcp(WEB, CLIENT, flags=0x12),
    packets.tcp(CLIENT, WEB, flags=0x18, sequence=2, data=b"GET / HTTP/1.1\r\nHost: a\r\n\r\n"),
    packets.tcp(WEB, CLIENT, flags=0x18, sequence=2, data=b"HTTP/1.1 200 OK\r\nServer: nginx\r\n\r\n"),
    packets.udp(CLIENT, DNS, QUESTION),
]
SETTINGS = Settings(flows=FlowSettings(capacity=1024))


def pcap() -> bytes:
    header = struct.pack("<IHHiIII", 0xA1B2C3D4, 2, 4, 0, 0, 65535, 1)
    return header + b"".join(struct.pack("<IIII", 1, n, len(f), len(f)) + f for n, f in enumerate(FRAMES))


def block(kind: int, body: bytes) -> bytes:
    body += bytes(-len(body) % 4)
    size = struct.pack("<I", 12 + len(body))
    return struct.pack("<I", kind) + size + body + size


def pcapng() -> bytes:
    made = block(0x0A0D0D0A, struct.pack("<IHHq", 0x1A2B3C4D, 1, 0, -1))
    made += block(1, struct.pack("<HHI", 1, 0, 0) + struct.pack("<HHBxxxHH", 9, 1, 6, 0, 0))
    for number, frame in enumerate(FRAMES):
        made += block(6, struct.pack("<IIIII", 0, 0, number, len(frame), len(frame)) + frame)
        made += block(0x0BAD, b"unknown")
    return made


KINDS = {"pcap": pcap(), "pcapng": pcapng(), "gzip": gzip.compress(pcap(), mtime=0)}


@pytest.fixture(scope="module")
def parts() -> Parts:
    return Parts.load(SETTINGS)


def packets_of(path: Path, parts: Parts) -> int:
    """Packets counted in the records of a capture; damage is one line, told once."""
    reading = Reading([path], SETTINGS, parts=parts)
    try:
        records = list(reading)
    except CaptureError as error:
        reading.problems.append(str(error))
        records = []
    assert len(reading.problems) <= 1
    assert all("\n" not in problem for problem in reading.problems)
    return sum(record.counters.packets_toserver + record.counters.packets_toclient for record in records)


@pytest.mark.parametrize("kind", KINDS)
def test_cut_at_every_byte(tmp_path: Path, parts: Parts, kind: str) -> None:
    whole, path, last = KINDS[kind], tmp_path / "cut", 0
    for length in range(len(whole) + 1):
        path.write_bytes(whole[:length])
        found = packets_of(path, parts)
        assert found >= last, length
        last = found
    assert last == len(FRAMES)


@pytest.mark.parametrize("kind", KINDS)
def test_changed_bytes(tmp_path: Path, parts: Parts, kind: str) -> None:
    chance, path = random.Random(kind), tmp_path / "changed"
    for _ in range(400):
        data = bytearray(KINDS[kind])
        for _ in range(chance.randrange(1, 6)):
            data[chance.randrange(len(data))] = chance.choice((0, 1, 0x7F, 0x80, 0xFF, chance.randrange(256)))
        path.write_bytes(data)
        packets_of(path, parts)


def test_lengths_that_lie(tmp_path: Path, parts: Parts) -> None:
    """Each 32-bit word of a pcapng in turn says too much, too little, or nothing."""
    whole, path = KINDS["pcapng"], tmp_path / "lies"
    for at in range(0, len(whole), 4):
        for lie in (0, 1, 11, 13, 0x7FFFFFFF, 0x80000000, 0xFFFFFFFC, 0xFFFFFFFF):
            path.write_bytes(whole[:at] + struct.pack("<I", lie) + whole[at + 4 :])
            packets_of(path, parts)


def test_a_bomb_stays_small(tmp_path: Path) -> None:
    """Two gigabytes of zeros behind a header are not unpacked into memory, nor to the end."""
    path = tmp_path / "bomb.pcap.gz"
    with gzip.open(path, "wb", compresslevel=1) as file:
        file.write(pcap())
        for _ in range(512):
            file.write(bytes(1 << 18))
    result = flowsonar(tmp_path, "read", path, "--json")
    assert len(result.records()) == 2


def test_damage_is_one_line_and_exit_code_1(tmp_path: Path) -> None:
    path = tmp_path / "cut\x1b[31m.pcap"
    path.write_bytes(KINDS["pcap"][:-10])
    result = flowsonar(tmp_path, "read", path, "--json")
    assert result.process.returncode == 1
    assert len(result.records()) == 1
    assert result.errors.count(b"\n") == 1
    assert b"\x1b" not in result.errors


@pytest.mark.parametrize("arguments", [(), ("--probe",)])
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_while_it_waits_for_packets(
    tmp_path: Path, number: signal.Signals, arguments: tuple[str, ...]
) -> None:
    """The pipe stays open and silent: what came through it is recorded, in one message."""
    with Running(tmp_path, "read", "-", "--json", *arguments, stdin=subprocess.PIPE) as running:
        assert running.process.stdin is not None
        running.process.stdin.write(KINDS["pcap"])
        running.process.stdin.flush()
        running.await_reading()
        assert running.end(number) == 1
        assert len(running.records()) == 2
        assert running.errors.count(b"\n") == 1
        assert b"interrupted" in running.errors


def test_a_signal_while_targets_are_awaited(tmp_path: Path) -> None:
    with Running(tmp_path, "probe", "-", "--json", stdin=subprocess.PIPE) as running:
        assert running.process.stdin is not None
        running.process.stdin.write(b"127.0.0.1:9\n{broken\n")
        running.process.stdin.flush()
        running.await_line(b'"dest_port":9')  # while more targets may come
        assert running.end(signal.SIGTERM) in (0, 1)


def test_targets_that_are_nonsense_are_told_and_the_others_were_asked(tmp_path: Path) -> None:
    targets = tmp_path / "targets"
    targets.write_bytes(b"127.0.0.1:9\n\xff\xfe no target\n")
    with targets.open("rb") as lines:
        result = flowsonar(tmp_path, "probe", "-", "--json", stdin=lines)
    assert result.process.returncode == 1
    assert [record["dest_port"] for record in result.records()] == [9]
    told, counted = result.errors.splitlines(keepends=True)
    one_line(told, b"standard input:2:", b"host:port")
    one_line(counted, b"1 line not understood")


def test_of_several_captures_one_that_is_none_is_passed_over(tmp_path: Path) -> None:
    good, bad = tmp_path / "good.pcap", tmp_path / "bad.pcap"
    good.write_bytes(KINDS["pcap"])
    bad.write_bytes(b"GIF89a")
    result = flowsonar(tmp_path, "read", "--json", bad, good, tmp_path / "none.pcap")
    assert result.process.returncode == 1
    assert len(result.records()) == 2
    assert result.errors.count(b"\n") == 2
