"""Datagrams in fragments: put together, in any order, bounded; what overlaps is dropped. Both tables do the same."""

import struct
from collections.abc import Sequence
from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from flowsonar import limits
from flowsonar.config import FlowSettings
from flowsonar.flows._reference_fragments import DATAGRAMS, FRAGMENT_TIMEOUT_NS, FRAGMENTS, PIECES
from flowsonar.flows.events import FlowEvent, Payload
from flowsonar.flows.table import FlowTable
from tests.flows.conftest import Make
from tests.flows.frames import (
    ACK,
    SECOND,
    START,
    SYN,
    Frame,
    block,
    ethernet,
    ipv4,
    ipv6,
    tcp,
    udp,
)
from tests.flows.test_reference import feed_both, finish_both, pair
from tests.needs import needs_native

LATE = FRAGMENT_TIMEOUT_NS + 1


def fragment(
    data: bytes, offset: int, *, last: bool, version: int = 4, number: int = 7, protocol: int = 17, time_ns: int = START
) -> Frame:
    """A fragment of a datagram, `data` in full or only what is to be of it."""
    if version == 4:
        packet = ipv4(data, protocol, identification=number, fragment=offset // 8 | (0 if last else 0x2000))
        return Frame(ethernet(packet), time_ns)
    header = struct.pack(">BBHI", protocol, 0, offset | (not last), number)
    return Frame(ethernet(ipv6(header + data, 44), 0x86DD), time_ns)


def pieces(whole: bytes, *sizes: int, version: int = 4, number: int = 7, protocol: int = 17) -> list[Frame]:
    """A datagram cut into pieces of these sizes, the last one taking what is left."""
    ends = [0]
    for size in sizes:
        ends.append(ends[-1] + size)
    ends.append(len(whole))
    return [
        fragment(whole[at:end], at, last=end == len(whole), version=version, number=number, protocol=protocol)
        for at, end in pairwise(ends)
    ]


def payloads(table: FlowTable, frames: Sequence[Frame]) -> list[tuple[bytes, int]]:
    return said(table.feed(block(frames)))


def said(events: Sequence[FlowEvent]) -> list[tuple[bytes, int]]:
    return [(event.data, event.wire_length) for event in events if isinstance(event, Payload)]


MESSAGE = bytes(range(256)) * 4


@pytest.mark.parametrize("version", [4, 6])
@pytest.mark.parametrize("order", [(0, 1, 2), (0, 2, 1), (1, 2, 0), (2, 1, 0), (2, 0, 1), (0, 0, 1, 1, 2, 2)])
def test_any_order(make: Make, version: int, order: Sequence[int]) -> None:
    table = make()
    parts = pieces(udp(MESSAGE), 8, 512, version=version)
    assert payloads(table, [parts[number] for number in order]) == [(MESSAGE, len(MESSAGE))]
    assert table.counters()["fragments_joined"] == 1
    assert said(table.finish()) == []


def test_an_empty_one_long_before_the_others(make: Make) -> None:
    table, whole = make(), udp(MESSAGE)
    parts = [(b"", 24, 0), (whole[512:], 512, 20 * SECOND), (whole[:512], 0, LATE)]
    frames = [fragment(data, at, last=at == 512, time_ns=START + late) for data, at, late in parts]
    assert payloads(table, frames) == [(MESSAGE, len(MESSAGE))]
    assert table.counters()["fragments_joined"] == 1


def test_only_the_header_is_in_the_first_one(make: Make) -> None:
    assert payloads(make(), pieces(udp(b"GET"), 8)) == [(b"GET", 3)]


def test_headers_of_ipv6_behind_the_fragment_header(make: Make) -> None:
    options = bytes([17, 1]) + bytes(14)
    assert payloads(make(), pieces(options + udp(MESSAGE), 512, version=6, protocol=60)) == [(MESSAGE, len(MESSAGE))]


def test_more_than_is_reported(make: Make) -> None:
    table, long = make(), bytes(range(250)) * 40
    ((data, wire),) = payloads(table, pieces(udp(long), *[1480] * 6))
    assert (data, wire) == (long[: limits.PAYLOAD_BYTES], len(long))
    assert table.counters()["payloads_cut"] == 1


def test_tcp_in_its_place(make: Make) -> None:
    """The segment behind comes before the fragmented one is whole."""
    table = make()
    first, second = pieces(tcp(ACK, 101, 1, b"a" * 44), 40, protocol=6)
    start = Frame(ethernet(ipv4(tcp(SYN, 100), 6)))
    behind = Frame(ethernet(ipv4(tcp(ACK, 145, 1, b"behind"), 6)))
    events = table.feed(block([start, first, behind, second]))
    told = [(event.offset, event.data) for event in events if isinstance(event, Payload)]
    assert told == [(44, b"behind"), (0, b"a" * 44)]


@pytest.mark.parametrize(
    ("name", "parts"),
    [
        ("teardrop", [(0, 48, False), (24, 8, True)]),
        ("overlap", [(0, 48, False), (40, 16, True)]),
        ("overlap before", [(40, 16, True), (0, 48, False)]),
        ("beyond the end", [(0, 48, False), (56, 8, True), (64, 8, False)]),
        ("two ends", [(0, 48, False), (56, 8, True), (64, 8, True)]),
        ("odd size", [(0, 48, False), (48, 7, False)]),
        ("too long", [(0, 48, False), (65528, 80, True)]),
    ],
)
def test_what_cannot_be_one_datagram_is_dropped(make: Make, name: str, parts: list[tuple[int, int, bool]]) -> None:
    table = make()
    whole = udp(b"z" * 1000)
    frames = [fragment(whole[:size] if not at else bytes(size), at, last=last) for at, size, last in parts]
    assert payloads(table, frames[:2]) == [], name
    payloads(table, frames[2:])
    assert said(table.finish()) == []
    assert table.counters()["fragments_overlapping"] == 1
    assert table.counters()["fragments_joined"] == 0


def test_a_copy_with_other_bytes_is_no_copy(make: Make) -> None:
    table = make()
    first, second, third = pieces(udp(MESSAGE), 512, 256)
    other = fragment(bytes(256), 512, last=False)
    assert payloads(table, [first, second, other, third]) == []
    assert table.counters()["fragments_overlapping"] == 1


def test_what_never_comes(make: Make) -> None:
    """The bytes before the gap are read when nobody waits for the rest any more, at the latest at the end."""
    table = make()
    first, _, third = pieces(udp(MESSAGE), 512, 256)
    assert payloads(table, [first, third]) == []
    assert said(table.expire(START + LATE)) == [(MESSAGE[:504], len(MESSAGE))]
    assert payloads(table, [pieces(udp(MESSAGE), 512, number=9)[0]._replace(time_ns=START + LATE)]) == []
    assert said(table.finish()) == [(MESSAGE[:504], len(MESSAGE))]
    assert table.counters()["fragments_incomplete"] == 2


def test_a_fragment_cut_by_the_capture(make: Make) -> None:
    first, second = pieces(udp(MESSAGE), 512)
    cut = first._replace(data=first.data[:100], wire=len(first.data))
    table = make()
    assert payloads(table, [cut, second]) == [(MESSAGE[:58], 504)]
    cut = second._replace(data=second.data[:100], wire=len(second.data))
    assert payloads(make(), [first, cut]) == [(MESSAGE[:504], len(MESSAGE))]


def test_what_says_that_it_is_whole_is_read_at_once(make: Make) -> None:
    table = make()
    assert payloads(table, [fragment(udp(b"x" * 8), 0, last=False), fragment(b"y" * 8, 16, last=True)]) == [
        (b"x" * 8, 8)
    ]
    assert said(table.finish()) == []


def test_a_flow_that_is_told_keeps_no_bytes(make: Make) -> None:
    table = make()
    events = table.feed(block([Frame(ethernet(ipv4(udp(b"x"), 17)))]))
    table.release(events[0].flow)
    assert payloads(table, pieces(udp(MESSAGE), 512)) == []
    assert table.counters()["fragments_joined"] == 0


def test_the_oldest_gives_way(make: Make) -> None:
    table = make()
    firsts = [pieces(udp(MESSAGE), 512, number=number)[0] for number in range(DATAGRAMS + 1)]
    assert payloads(table, firsts) == [(MESSAGE[:504], len(MESSAGE))]
    assert table.counters()["fragments_no_room"] == 1
    assert table.counters()["fragments_displaced"] == 0


def test_displaced_with_its_ports(make: Make) -> None:
    table = make()
    orphans = [fragment(bytes(8), 64, last=True, number=number) for number in range(FRAGMENTS + 1)]
    assert payloads(table, orphans) == []
    counters = table.counters()
    assert counters["frames_orphan_fragment"] == FRAGMENTS + 1
    assert counters["fragments_displaced"] == 1
    assert counters["fragments_no_room"] == FRAGMENTS + 1 - DATAGRAMS


def test_too_many_gaps(make: Make) -> None:
    table = make()
    whole = udp(MESSAGE)
    frames = [fragment(whole[at : at + 8], at, last=False) for at in range(0, 16 * (PIECES + 1), 16)]
    assert payloads(table, frames) == []
    assert table.counters()["fragments_overlapping"] == 1


# -- both alike -------------------------------------------------------------------------------------------------


@st.composite
def fragmented(draw: st.DrawFn) -> list[Frame]:
    """Datagrams cut anywhere, mixed, repeated, left out, overlapping, lying."""
    frames = []
    for _ in range(draw(st.integers(1, 5))):
        size = draw(st.sampled_from([0, 1, 30, 40, 200, 3000]))
        body, ports = bytes(range(1, 251)) * 12, (draw(st.integers(1, 3)), 53)
        length = draw(st.sampled_from([None, None, None, 0, 20, 5000]))
        kind = draw(st.sampled_from(["udp", "udp", "tcp", "icmp"]))
        if kind == "tcp":
            sequence, flags = draw(st.integers(0, 40)), draw(st.sampled_from([SYN, ACK, ACK, 17, 4]))
            whole = tcp(flags, sequence, 1, body[:size], *ports, options=draw(st.sampled_from([b"", bytes(12)])))
        else:
            whole = udp(body[:size], *ports, length=length)
        protocol, number = {"udp": 17, "tcp": 6, "icmp": 1}[kind], draw(st.integers(1, 3))
        at = 0
        version = draw(st.sampled_from([4, 4, 6]))
        while at < len(whole):
            step = draw(st.sampled_from([8, 16, 24, 64, 512, 1480, 7]))
            back = draw(st.sampled_from([0, 0, 0, 0, 0, 0, 8, 16]))
            begin, end = max(at - back, 0), at + step
            last = end >= len(whole) or draw(st.integers(0, 40)) == 0
            data = whole[begin:end] if draw(st.integers(0, 20)) else bytes(end - begin)
            frames.append(fragment(data, begin & ~7, last=last, version=version, number=number, protocol=protocol))
            at = end
    if draw(st.booleans()):
        frames = draw(st.permutations(frames))
    time_ns, timed = START, []
    for frame in frames:
        time_ns += draw(st.sampled_from([0, 0, 0, 0, 1, SECOND, LATE - 1, LATE]))
        cut = frame.data[: draw(st.integers(14, 80))] if draw(st.integers(0, 30)) == 0 else frame.data
        interface = draw(st.sampled_from([0] * 12 + [1]))
        timed += [Frame(cut, time_ns, len(frame.data), 1, interface)] * draw(st.sampled_from([0, 1, 1, 1, 1, 1, 1, 2]))
    return timed


@needs_native()
@settings(max_examples=500, deadline=None)
@given(st.sampled_from([1, 2, 64]), st.sampled_from([7.5, 120.0]), st.lists(fragmented(), min_size=1, max_size=3))
def test_both_agree(capacity: int, idle_s: float, lists: list[list[Frame]]) -> None:
    both = pair(FlowSettings(capacity=capacity, idle_timeout_s=idle_s))
    for frames in lists:
        feed_both(both, block(frames))
    finish_both(both)
    assert both[0].counters() == both[1].counters()


@needs_native()
@settings(max_examples=30, deadline=None)
@given(st.lists(st.tuples(st.integers(0, 400), st.integers(0, 2), st.booleans()), min_size=500, max_size=900))
def test_both_agree_where_room_is_short(choices: list[tuple[int, int, bool]]) -> None:
    whole = udp(MESSAGE)
    frames = [
        fragment(whole[at * 512 : at * 512 + 512], at * 512, last=at == 2, number=number, version=6 if six else 4)
        for number, at, six in choices
    ]
    both = pair(FlowSettings(capacity=64))
    feed_both(both, block(frames))
    finish_both(both)
