from __future__ import annotations

import random

import pytest

from flowsonar.errors import MalformedError
from flowsonar.protocols.rtp import Control, Packet, is_like, read_control, read_packet

AUDIO = bytes.fromhex("80000649 00058778 7c1071e2") + b"\xff" * 160
REPORTS = bytes.fromhex("81c90007 01932db4 5d931534 00000001 0000bf8b 00000006 c1704d61 0004051c")


@pytest.mark.parametrize(
    ("data", "expected"),
    [
        (AUDIO, Packet(0, 0x649, 0x58778, 0x7C1071E2)),
        (b"\x80\x80" + AUDIO[2:], Packet(0, 0x649, 0x58778, 0x7C1071E2, True)),  # the marker
        (b"\x81" + AUDIO[1:], Packet(0, 0x649, 0x58778, 0x7C1071E2)),  # one contributing source
        (b"\x90\x60" + AUDIO[2:12] + b"\xbe\xde\x00\x01abcd", Packet(96, 0x649, 0x58778, 0x7C1071E2)),
    ],
)
def test_headers(data: bytes, expected: Packet) -> None:
    assert is_like(data)
    assert read_packet(data) == expected


@pytest.mark.parametrize(
    "data",
    [
        b"",
        AUDIO[:11],
        b"\x40" + AUDIO[1:],
        b"\x80\x30" + AUDIO[2:],  # 48: assigned to nothing
        b"\x8f" + AUDIO[1:20],  # fifteen contributing sources do not fit
        b"\x90\x60" + AUDIO[2:12],
        b"\x90\x60" + AUDIO[2:12] + b"\xbe\xde\xff\xffabcd",
    ],
)
def test_what_is_no_header(data: bytes) -> None:
    with pytest.raises(MalformedError):
        read_packet(data)


def test_control_packets_name_sender_and_whom_they_speak_of() -> None:
    assert read_control(REPORTS) == Control(201, 0x01932DB4, (0x5D931534,))
    assert read_control(REPORTS + bytes.fromhex("80ca0001 01932db4")).source == 0x01932DB4
    assert read_control(REPORTS + b"\x80\x00\x00\x01" + bytes(10)).kind == 201  # SRTCP's trailer


def test_a_report_with_its_source_s_name_says_so() -> None:
    name = bytes.fromhex("81ca0002 01932db4 0103") + b"lab"[:2]
    assert read_control(REPORTS + name).named
    assert not read_control(REPORTS).named
    assert not read_control(REPORTS + name[:4] + bytes(4) + name[8:]).named  # of another source
    assert not read_control(REPORTS + name + b"\x00" * 8).named  # more behind it
    assert not read_control(name + REPORTS).named


@pytest.mark.parametrize(
    "data",
    [
        b"",
        REPORTS[:7],
        REPORTS[:20],
        b"\x81\x30" + REPORTS[2:],
        REPORTS[:2] + b"\x00\x00" + REPORTS[4:],
        REPORTS + bytes.fromhex("80ca0009 01932db4"),
    ],
)
def test_what_is_no_control_packet(data: bytes) -> None:
    with pytest.raises(MalformedError):
        read_control(data)


def test_a_cut_capture_is_judged_by_the_whole_length() -> None:
    assert read_control(REPORTS[:20], len(REPORTS)).kind == 201


def test_anything_is_read_or_malformed() -> None:
    pick = random.Random(1)
    for _ in range(2000):
        data = bytes([0x80 | pick.randrange(64)]) + pick.randbytes(pick.randrange(64))
        for read in (read_packet, read_control):
            try:
                read(data)
            except MalformedError:
                continue
