"""Walks over captured bytes, in C and in Python: whole, cut at every byte, and lying; both agree on anything."""

import struct
from types import ModuleType

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from flowsonar import _native
from flowsonar._native import _framing_reference as reference
from tests.needs import needs_native

WALKERS = [
    pytest.param(reference, id="reference"),
    pytest.param(_native.core, id="native", marks=needs_native()),
]
INTERFACES = struct.pack("<HHIQq", 1, 7, 96, 10**6, 0) + struct.pack("<HHIQq", 101, 8, 0, 10**9, -5)


def entries(frames: bytes) -> list[tuple[int, ...]]:
    return list(struct.iter_unpack("<QIIIHH", frames))


def record(order: str, seconds: int, fraction: int, data: bytes, wire: int, extra: int = 0) -> bytes:
    return struct.pack(order + "IIII", seconds, fraction, len(data), wire) + bytes(extra) + data


def enhanced(order: str, interface: int, ticks: int, data: bytes, wire: int, options: bytes = b"") -> bytes:
    body = struct.pack(order + "IIIII", interface, ticks >> 32, ticks & 0xFFFFFFFF, len(data), wire)
    return section(order, 6, body + data + bytes(-len(data) % 4) + options)


def section(order: str, kind: int, body: bytes) -> bytes:
    total = struct.pack(order + "I", 12 + len(body))
    return struct.pack(order + "I", kind) + total + body + total


def ring(packets: list[tuple[bytes, dict[str, int]]]) -> bytearray:
    """A TPACKET_V3 block as linux/if_packet.h lays it out."""
    out = bytearray(struct.pack("=IIIIII", 3, 0, 1, len(packets), 48, 0)) + bytes(24)
    for data, more in packets:
        mac, step = 82, -(-(82 + len(data)) // 8) * 8
        header = struct.pack(
            "=IIIIIIHHIIHHQ",
            step,
            5,
            6,
            len(data),
            more.get("wire", len(data)),
            more.get("status", 0),
            mac,
            mac + 14,
            0,
            more.get("tci", 0),
            more.get("tpid", 0),
            0,
            0,
        )
        address = struct.pack("=HHiHBB8s", 17, 8, 1, 1, more.get("type", 0), 6, bytes(8))
        out += (header + address).ljust(mac, b"\0") + data
        out += bytes(-len(out) % 8)
    return out


# -- pcap -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("walker", WALKERS)
@pytest.mark.parametrize("order", ["<", ">"])
@pytest.mark.parametrize("extra", [0, 8])
def test_pcap_records(walker: ModuleType, order: str, extra: int) -> None:
    data = record(order, 2**32 - 1, 999_999, b"abc", 1500, extra) + record(order, 1, 2, b"", 0, extra)
    frames, consumed, problem = walker.index_pcap(data, order, 1000, extra, 276, 9)
    assert (consumed, problem) == (len(data), 0)
    assert entries(frames) == [
        ((2**32 - 1) * 10**9 + 999_999_000, 16 + extra, 3, 1500, 276, 9),
        (10**9 + 2000, 35 + 2 * extra, 0, 0, 276, 9),
    ]


@pytest.mark.parametrize("walker", WALKERS)
def test_pcap_nanoseconds(walker: ModuleType) -> None:
    frames, _, _ = walker.index_pcap(record("<", 1, 2, b"x", 1), "<", 1, 0, 1, 0)
    assert entries(frames)[0][0] == 1_000_000_002


@pytest.mark.parametrize("walker", WALKERS)
def test_pcap_cut_at_every_byte(walker: ModuleType) -> None:
    data = record("<", 1, 0, b"abcd", 4) * 2
    for size in range(len(data)):
        frames, consumed, problem = walker.index_pcap(data[:size], "<", 1000, 0, 1, 0)
        assert (len(frames) // 24, consumed, problem) == (size // 20, size // 20 * 20, 0)


@pytest.mark.parametrize("walker", WALKERS)
def test_pcap_record_that_lies(walker: ModuleType) -> None:
    good = record("<", 1, 0, b"abcd", 2)
    lie = struct.pack("<IIII", 1, 0, reference.MAX_CAPTURED + 1, 4)
    frames, consumed, problem = walker.index_pcap(good + lie + good, "<", 1000, 0, 1, 0)
    assert (consumed, problem) == (len(good), reference.PROBLEM_CAPTURED)
    assert entries(frames)[0][2:4] == (4, 4)  # never less on the wire than captured


# -- pcapng -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("walker", WALKERS)
@pytest.mark.parametrize("order", ["<", ">"])
def test_pcapng_blocks(walker: ModuleType, order: str) -> None:
    old = struct.pack(order + "HHIIII", 1, 3, 2, 1_410_065_415, 2, 2) + b"ab\0\0"
    data = (
        enhanced(order, 0, 7_000_001, b"abc", 60, b"\0\0\0\0")
        + section(order, 3, struct.pack(order + "I", 200) + bytes(200))
        + section(order, 2, old)
        + section(order, 5, bytes(8))
        + enhanced(order, 0, 1, b"not reached", 11)
    )
    frames, consumed, problem = walker.index_pcapng(data, order, INTERFACES)
    assert problem == 0
    assert struct.unpack_from(order + "I", data, consumed)[0] == 5
    assert entries(frames) == [
        (7_000_001_000, 28, 3, 60, 1, 7),
        (7_000_001_000, 52, 96, 200, 1, 7),  # the interface's snap length; the time of the packet before
        (10_000_000_007 - 5 * 10**9, 284, 2, 2, 101, 8),
    ]


@pytest.mark.parametrize("walker", WALKERS)
@pytest.mark.parametrize(
    ("rate", "offset_s", "ticks", "expected"),
    [
        (2**32, 0, 3 << 31, 1_500_000_000),
        (1, 0, 5, 5_000_000_000),
        (10**9, 0, 2**64 - 1, 2**63 - 1),
        (1, 0, 2**64 - 1, 2**63 - 1),
        (10**6, -(2**63), 1, 0),
        (10**6, 2**63 - 1, 1, 2**63 - 1),
        (0, 0, 1, 1000),
        (2**63, 0, 2**63 + 2**62, 1_500_000_000),
    ],
)
def test_pcapng_times(walker: ModuleType, rate: int, offset_s: int, ticks: int, expected: int) -> None:
    interfaces = struct.pack("<HHIQq", 1, 0, 0, rate, offset_s)
    frames, _, problem = walker.index_pcapng(enhanced("<", 0, ticks, b"", 0), "<", interfaces)
    assert problem == 0
    assert entries(frames)[0][0] == expected


@pytest.mark.parametrize("walker", WALKERS)
def test_pcapng_cut_at_every_byte(walker: ModuleType) -> None:
    data = enhanced("<", 0, 1, b"abcd", 4)
    for size in range(len(data)):
        assert walker.index_pcapng(data[:size], "<", INTERFACES) == (b"", 0, 0)


GOOD = enhanced("<", 0, 1, b"abcd", 4)


@pytest.mark.parametrize("walker", WALKERS)
@pytest.mark.parametrize(
    ("lie", "problem"),
    [
        (GOOD[:4] + struct.pack("<I", 35) + GOOD[8:], reference.PROBLEM_BLOCK),
        (GOOD[:4] + struct.pack("<I", 28) + GOOD[8:], reference.PROBLEM_BLOCK),
        (GOOD[:4] + struct.pack("<I", 0) + GOOD[8:], reference.PROBLEM_BLOCK),
        (GOOD[:4] + struct.pack("<I", 0xFFFFFFFC) + GOOD[8:], reference.PROBLEM_BLOCK),
        (GOOD[:-4] + struct.pack("<I", 40), reference.PROBLEM_BLOCK),
        (GOOD[:8] + struct.pack("<I", 2) + GOOD[12:], reference.PROBLEM_INTERFACE),
        (GOOD[:8] + struct.pack("<I", 0xFFFFFFFF) + GOOD[12:], reference.PROBLEM_INTERFACE),
        (GOOD[:20] + struct.pack("<I", 5) + GOOD[24:], reference.PROBLEM_BLOCK),
        (GOOD[:20] + struct.pack("<I", 0xFFFFFFFF) + GOOD[24:], reference.PROBLEM_CAPTURED),
    ],
)
def test_pcapng_block_that_lies(walker: ModuleType, lie: bytes, problem: int) -> None:
    frames, consumed, found = walker.index_pcapng(GOOD + lie + GOOD, "<", INTERFACES)
    assert (len(frames), consumed, found) == (24, len(GOOD), problem)


@pytest.mark.parametrize("walker", WALKERS)
def test_rendered_blocks_are_read_back(walker: ModuleType) -> None:
    frames = b"".join(
        struct.pack("<QIIIHH", *entry)
        for entry in [(2**40 + 5, 0, 3, 9, 1, 0), (7, 3, 4, 4, 101, 1), (8, 4, 4, 4, 1, 0), (9, 7, 0, 1, 1, 1)]
    )
    out = walker.render_pcapng(b"abcdefg", frames)
    back, consumed, problem = walker.index_pcapng(out, "<", struct.pack("<HHIQq", 1, 0, 0, 10**9, 0) * 2)
    assert (consumed, problem) == (len(out), 0)
    assert [(e[0], out[e[1] : e[1] + e[2]], e[3]) for e in entries(back)] == [
        (2**40 + 5, b"abc", 9),
        (7, b"defg", 4),
        (9, b"", 1),
    ]


# -- ring -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("walker", WALKERS)
def test_ring_blocks(walker: ModuleType) -> None:
    block = ring([(b"a" * 60, {"wire": 90}), (b"b" * 14, {"type": 4}), (b"c" * 61, {})])
    frames = entries(walker.index_ring(block, 1, 3, False))
    assert [(e[0], bytes(block[e[1] : e[1] + e[2]]), *e[3:]) for e in frames] == [
        (5_000_000_006, b"a" * 60, 90, 1, 3),
        (5_000_000_006, b"b" * 14, 14, 1, 3),
        (5_000_000_006, b"c" * 61, 61, 1, 3),
    ]
    assert [e[2] for e in entries(walker.index_ring(block, 1, 3, True))] == [60, 61]


@pytest.mark.parametrize("walker", WALKERS)
def test_ring_puts_vlan_tags_back(walker: ModuleType) -> None:
    frame = bytes(range(12)) + b"\x08\x00rest"
    block = ring([(frame, {"status": 0x11, "tci": 0x2007}), (frame, {"status": 0x51, "tci": 5, "tpid": 0x88A8})])
    (first, second) = entries(walker.index_ring(memoryview(block), 1, 0, False))
    assert bytes(block[first[1] : first[1] + first[2]]) == bytes(range(12)) + b"\x81\x00\x20\x07\x08\x00rest"
    assert bytes(block[second[1] : second[1] + second[2]]) == bytes(range(12)) + b"\x88\xa8\x00\x05\x08\x00rest"
    assert first[3] == len(frame) + 4


@pytest.mark.parametrize("walker", WALKERS)
def test_ring_block_that_lies(walker: ModuleType) -> None:
    whole = ring([(b"a" * 20, {"status": 0x11}), (b"b" * 20, {})])
    for size in range(len(whole)):
        assert len(walker.index_ring(whole[:size], 1, 0, False)) <= 48
    struct.pack_into("=I", whole, 12, 2**32 - 1)
    struct.pack_into("=I", whole, 48, 0)
    assert len(walker.index_ring(whole, 1, 0, False)) == 24
    for at in range(24):
        with_lie = bytearray(whole)
        with_lie[at] = 0xFF
        assert len(walker.index_ring(with_lie, 1, 0, False)) <= 48


# -- the call, and both alike -----------------------------------------------------------------------------------


@needs_native()
def test_wrong_arguments_are_errors() -> None:
    assert _native.core is not None
    for call in (
        lambda core: core.index_pcap(b"", "!", 1000, 0, 1, 0),
        lambda core: core.index_pcapng(b"", "!", b""),
        lambda core: core.index_pcapng(b"", "<", b"x"),
        lambda core: core.render_pcapng(b"", b"x"),
        lambda core: core.table_memory(0),
    ):
        with pytest.raises(ValueError, match=r".+"):
            call(_native.core)
    with pytest.raises(TypeError):
        _native.core.index_ring(b"read only", 1, 0, False)


@needs_native()
def test_a_flow_takes_at_most_256_bytes() -> None:
    assert _native.core is not None
    small, large = (_native.core.table_memory(size) for size in (1 << 17, 1 << 18))
    assert (large - small) / (1 << 17) <= 256


words = st.one_of(st.integers(0, 40), st.sampled_from([6, 3, 2, 36, 262144, 262145, 2**31, 2**32 - 1]))
mess = st.lists(
    st.one_of(
        st.builds(lambda word: struct.pack("<I", word), words),
        st.builds(enhanced, st.just("<"), st.integers(0, 2), st.integers(0, 2**64 - 1), st.binary(max_size=9), words),
        st.builds(record, st.just("<"), words, words, st.binary(max_size=9), words),
        st.binary(max_size=9),
    ),
    max_size=8,
).map(b"".join)


@needs_native()
@settings(max_examples=300, deadline=None)
@given(mess, st.sampled_from("<>"), st.sampled_from([0, 8]), st.integers(0, 2))
def test_both_agree(data: bytes, order: str, extra: int, interfaces: int) -> None:
    core = _native.core
    assert core is not None
    assert core.index_pcap(data, order, 1000, extra, 1, 2) == reference.index_pcap(data, order, 1000, extra, 1, 2)
    table = INTERFACES[: 24 * interfaces]
    assert core.index_pcapng(data, order, table) == reference.index_pcapng(data, order, table)


@needs_native()
@settings(max_examples=200, deadline=None)
@given(st.data())
def test_both_agree_on_rings(data: st.DataObject) -> None:
    core = _native.core
    assert core is not None
    more = st.fixed_dictionaries(
        {"status": st.sampled_from([0, 0x11, 0x51]), "tci": st.integers(0, 2**32 - 1), "type": st.sampled_from([0, 4])}
    )
    block = ring(data.draw(st.lists(st.tuples(st.binary(max_size=30), more), max_size=4)))
    for _ in range(data.draw(st.integers(0, 3))):
        block[data.draw(st.integers(0, len(block) - 1))] = data.draw(st.integers(0, 255))
    same = bytearray(block)
    skip = data.draw(st.booleans())
    assert core.index_ring(block, 1, 0, skip) == reference.index_ring(same, 1, 0, skip)
    assert block == same
    frames = b"".join(struct.pack("<QIIIHH", 1, at, 5, 9, 1, 0) for at in range(0, 400, 7))
    assert core.render_pcapng(block, frames) == reference.render_pcapng(block, frames)
