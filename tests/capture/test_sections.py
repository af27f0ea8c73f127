"""The pcapng format: sections, interfaces, and blocks to skip."""

import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st

from flowsonar.capture.sections import PcapngReader
from tests.capture.build import (
    Frame,
    frames,
    ng_block,
    ng_enhanced,
    ng_interface,
    ng_obsolete,
    ng_section,
    ng_simple,
)

SECOND = 1_000_000_000


def read(data: bytes) -> tuple[list[Frame], PcapngReader]:
    reader = PcapngReader()
    return frames(reader.blocks(data)), reader


@pytest.mark.parametrize("order", ["<", ">"])
def test_packet_blocks(order: str) -> None:
    data = (
        ng_section(order)
        + ng_interface(order, linktype=1, snap_length=50)
        + ng_interface(order, linktype=101)
        + ng_enhanced(order, 1, 2_000_001, b"a" * 61, 1000, tail=bytes(4))
        + ng_simple(order, 1000, b"b" * 50)
        + ng_obsolete(order, 1, 3_000_000, b"c" * 7)
    )
    found, reader = read(data)
    assert reader.problem is None
    assert reader.consumed == len(data)
    assert found == [
        Frame(2 * SECOND + 1000, b"a" * 61, 1000, 101, 1),
        Frame(2 * SECOND + 1000, b"b" * 50, 1000, 1, 0),
        Frame(3 * SECOND, b"c" * 7, 7, 101, 1),
    ]


@pytest.mark.parametrize("order", ["<", ">"])
@pytest.mark.parametrize(
    ("resolution", "ticks", "offset_s", "time_ns"),
    [
        (None, 1_500_000, None, 1_500_000_000),
        (6, 1_500_000, None, 1_500_000_000),
        (9, 1_500_000_001, None, 1_500_000_001),
        (0, 7, None, 7 * SECOND),
        (3, 1500, 10, 11_500_000_000),
        (3, 20_500, -20, 500_000_000),
        (3, 1500, -20, 0),  # before the epoch
        (12, 1_500_000_000_999, None, 1_500_000_000),
        (0x80 | 1, 3, None, 1_500_000_000),
        (0x80 | 32, 3 << 31, None, 1_500_000_000),
        (0x80 | 20, 1 << 20, 5, 6 * SECOND),
        (127, 0xFFFFFFFFFFFFFFFF, None, 1_844_674_407 * 1),
    ],
)
def test_times(order: str, resolution: int | None, ticks: int, offset_s: int | None, time_ns: int) -> None:
    options = []
    if resolution is not None:
        options.append((9, bytes([resolution])))
    if offset_s is not None:
        options.append((14, struct.pack(order + "q", offset_s)))
    found, reader = read(ng_section(order) + ng_interface(order, options=options) + ng_enhanced(order, 0, ticks, b"x"))
    assert reader.problem is None
    if resolution == 127:
        assert found[0].time_ns < 3 * SECOND  # a clock so fine that 64 bits are nothing
    else:
        assert found[0].time_ns == time_ns


def test_names_and_sections() -> None:
    data = (
        ng_section("<")
        + ng_interface("<", options=[(3, b"what it is"), (2, b"eth0"), (2, b"second name")])
        + ng_enhanced("<", 0, 1, b"a")
        + ng_section(">")
        + ng_interface(">", linktype=113, options=[(2, "brücke\x1b[2J".encode() + b"\xff" + b"n" * 100)])
        + ng_interface(">")
        + ng_enhanced(">", 0, 2, b"b")
        + ng_enhanced(">", 1, 3, b"c")
    )
    found, reader = read(data)
    assert [(frame.data, frame.linktype, frame.interface) for frame in found] == [
        (b"a", 1, 0),
        (b"b", 113, 1),
        (b"c", 1, 2),
    ]
    assert reader.interfaces[0] == "eth0"
    assert reader.interfaces[1].startswith("brücke?[2J\N{REPLACEMENT CHARACTER}nnn")
    assert len(reader.interfaces[1]) == 64
    assert reader.interfaces[2] == ""


def test_other_blocks_are_skipped() -> None:
    others = [ng_block("<", kind, b"q" * size) for kind in (4, 5, 10, 0xBAD, 0x80000001, 0) for size in (0, 4, 1000)]
    data = ng_section("<") + others[0] + ng_interface("<")
    for other in others:
        data += other + ng_enhanced("<", 0, 1, b"p")
    found, reader = read(data)
    assert len(found) == len(others)
    assert reader.problem is None
    assert reader.consumed == len(data)


def test_long_blocks_are_passed_over_in_pieces() -> None:
    head = ng_section("<") + ng_interface("<")
    data = head + ng_block("<", 0x0BAD, bytes(3 << 20)) + ng_enhanced("<", 0, 1, b"p")
    reader = PcapngReader()
    found = []
    at = 0
    while at < len(data):
        piece = data[at : at + 100_000]
        found += frames(reader.blocks(piece))
        assert reader.problem is None
        assert reader.consumed > 0, "nothing of it is kept"
        at += reader.consumed
    assert [frame.data for frame in found] == [b"p"]


def test_a_long_block_cut_short_is_told() -> None:
    _, reader = read(ng_section("<") + struct.pack("<II", 0x0BAD, 1 << 30) + bytes(100))
    assert reader.skipping


GOOD = ng_section("<") + ng_interface("<") + ng_enhanced("<", 0, 1, b"p")


@pytest.mark.parametrize(
    ("tail", "says"),
    [
        (struct.pack("<II", 5, 8) + bytes(8), "8 bytes long"),
        (struct.pack("<II", 5, 13) + bytes(13), "13 bytes long"),
        (struct.pack("<III", 5, 12, 16), "two lengths"),
        (struct.pack("<II", 6, 1 << 30) + bytes(100), ""),
        (struct.pack("<II", 1, 1 << 30) + bytes(100), "type 1"),
        (struct.pack("<II", 0x0A0D0D0A, 1 << 30) + struct.pack("<I", 0x1A2B3C4D) + bytes(100), "bytes long"),
        (ng_block("<", 6, b""), ""),
        (ng_block("<", 6, struct.pack("<IIIII", 0, 0, 0, 1000, 1000) + bytes(8)), ""),
        (ng_enhanced("<", 1, 1, b"p"), ""),
        (ng_obsolete("<", 7, 1, b"p"), ""),
        (ng_block("<", 1, b"abcd"), "too short"),
        (ng_block("<", 0x0A0D0D0A, b"\x4d\x3c\x2b\x1a"), "too short"),
        (ng_block("<", 0x0A0D0D0A, bytes(16)), "no byte order"),
        (ng_section("<", major=2), "version 2"),
    ],
)
def test_damage_ends_with_a_reason(tail: bytes, says: str) -> None:
    found, reader = read(GOOD + tail + ng_enhanced("<", 0, 2, b"after"))
    assert [frame.data for frame in found] == [b"p"]
    assert reader.problem is not None
    assert says in reader.problem
    assert reader.consumed == len(GOOD)


def test_packets_without_an_interface() -> None:
    for block in (ng_enhanced("<", 0, 1, b"p"), ng_simple("<", 1, b"p"), ng_obsolete("<", 0, 1, b"p")):
        found, reader = read(ng_section("<") + block)
        assert not found
        assert reader.problem is not None


def test_no_more_interfaces_than_can_be_numbered() -> None:
    _, reader = read(ng_section("<") + ng_interface("<") * 5000)
    assert reader.problem is not None
    assert len(reader.interfaces) == 4096
    _, reader = read((ng_section("<") + ng_interface("<") * 4096) * 17)
    assert reader.problem is not None
    assert len(reader.interfaces) == 65536


def test_lying_option_lengths() -> None:
    option = struct.pack("<HH", 2, 0xFFFF) + b"eth0"
    found, reader = read(
        ng_section("<") + ng_block("<", 1, struct.pack("<HHI", 1, 0, 0) + option) + ng_enhanced("<", 0, 1, b"p")
    )
    assert len(found) == 1
    assert reader.interfaces == [""]


def test_simple_packets_keep_the_time_across_calls() -> None:
    reader = PcapngReader()
    first = ng_section("<") + ng_interface("<") + ng_enhanced("<", 0, 5_000_000, b"a")
    assert frames(reader.blocks(first))[0].time_ns == 5 * SECOND
    second = ng_simple("<", 1, b"b") * 2 + ng_enhanced("<", 0, 6_000_000, b"c") + ng_simple("<", 1, b"d")
    assert [frame.time_ns // SECOND for frame in frames(reader.blocks(second))] == [5, 5, 6, 6]


@given(st.binary(max_size=300), st.integers(min_value=0, max_value=len(GOOD)))
def test_anything_is_survived(noise: bytes, at: int) -> None:
    reader = PcapngReader()
    data = GOOD[:at] + noise
    for block in reader.blocks(data):
        frames([block])
    assert 0 <= reader.consumed <= len(data)
    rest = data[reader.consumed :]
    if reader.problem is None and not reader.skipping:
        assert reader.needed(rest) > len(rest), "a block that is whole would be waited for without end"
