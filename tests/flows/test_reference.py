"""The C table and its specification give equal events and counters, whatever the frames are."""

import struct
from collections.abc import Sequence

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from flowsonar import limits
from flowsonar.capture.capturefile import open_capture
from flowsonar.config import FlowSettings
from flowsonar.errors import CaptureError
from flowsonar.flows import _reference
from flowsonar.flows.events import Closed, CloseReason, Established, FlowEvent, Opened
from flowsonar.flows.table import FlowTable, make_table
from flowsonar.model import Block
from tests.flows.frames import (
    CLIENT,
    CLIENT6,
    SECOND,
    SERVER,
    SERVER6,
    START,
    Frame,
    block,
    ethernet,
    ipv4,
    ipv6,
    tcp,
    udp,
)
from tests.flows.test_reference_decode import LINKS
from tests.flows.tunnels import TUNNELS, A, B, gre, gtp, in_ip, l2tp, mpls, pptp, vxlan
from tests.needs import CORPUS, needs_corpus, needs_native

FOLLOW = (b"220", b"ab")
SIDES = (CLIENT, SERVER)


def pair(settings: FlowSettings) -> tuple[FlowTable, FlowTable]:
    return (
        make_table(settings, follow=FOLLOW, native=False),
        make_table(settings, follow=FOLLOW, native=True),
    )


def feed_both(tables: tuple[FlowTable, FlowTable], whole: Block) -> list[FlowEvent]:
    expected, got = (table.feed(whole) for table in tables)
    assert got == expected
    assert tables[0].counters() == tables[1].counters()
    assert len(tables[0]) == len(tables[1])
    return expected


def finish_both(tables: tuple[FlowTable, FlowTable]) -> None:
    expected, got = (table.finish() for table in tables)
    assert got == expected
    assert len(tables[0]) == len(tables[1]) == 0


# -- frames of every kind ---------------------------------------------------------------------------------------

addresses = st.sampled_from([bytes([10, 0, 0, last]) for last in (1, 2, 255)])
ports = st.sampled_from([1, 2, 53, 65535])
payloads = st.one_of(st.sampled_from([b"", b"a", b"abc", b"220 hi", b"x" * 600, b"y" * 2500]), st.binary(max_size=20))
sequences = st.one_of(
    st.integers(0, 60),
    st.integers(2**32 - 30, 2**32 - 1),
    st.sampled_from([2**24, 2**24 + 10, 2**31 - 1, 2**31, 2**31 + 1]),
)
flags = st.one_of(st.sampled_from([2, 2, 18, 16, 17, 20, 4, 24, 3, 0]), st.integers(0, 255))


@st.composite
def transports(draw: st.DrawFn) -> tuple[int, bytes]:
    kind = draw(st.sampled_from(["tcp", "tcp", "tcp", "udp", "icmp", "icmpv6", "sctp", "other", "extension"]))
    source, destination, payload = draw(ports), draw(ports), draw(payloads)
    if kind == "tcp":
        options = draw(st.sampled_from([b"", b"", bytes(12)]))
        header = tcp(draw(flags), draw(sequences), draw(sequences), payload, source, destination, options=options)
        return 6, header
    if kind == "udp":
        return 17, udp(payload, source, destination, length=draw(st.sampled_from([None, None, None, 0, 3, 9])))
    if kind in ("icmp", "icmpv6"):
        types = [0, 3, 8, 13, 14] if kind == "icmp" else [1, 128, 129, 133, 134, 135, 136]
        return (1 if kind == "icmp" else 58), bytes([draw(st.sampled_from(types)), 1, 0, 0, 0, source & 1, 0, 0])
    if kind == "sctp":
        return 132, struct.pack(">HH", source, destination) + bytes(8)
    if kind == "extension":
        first = draw(st.sampled_from([0, 43, 44, 51, 60]))
        return first, bytes([17, draw(st.integers(0, 2)), 0, draw(st.integers(0, 16))]) + bytes(20) + udp(payload)
    return draw(st.sampled_from([2, 47, 50, 59])), payload


@st.composite
def packets(draw: st.DrawFn) -> tuple[int, bytes]:
    """EtherType and IP packet."""
    protocol, payload = draw(transports())
    if draw(st.booleans()):
        source, destination = draw(st.permutations([CLIENT6, SERVER6]))
        length = draw(st.sampled_from([None, None, None, 0, 20]))
        return 0x86DD, ipv6(payload, protocol, source, destination, length=length)
    packet = ipv4(
        payload,
        protocol,
        draw(addresses),
        draw(addresses),
        identification=draw(st.integers(0, 2)),
        fragment=draw(st.sampled_from([0, 0, 0, 0, 0, 0x4000, 0x2000, 0x2001, 0x0002])),
        options=draw(st.sampled_from([b"", b"", bytes(8)])),
        total=draw(st.sampled_from([None, None, None, 0, 30])),
    )
    return 0x0800, packet


@st.composite
def tunnelled(draw: st.DrawFn) -> tuple[int, bytes]:
    """EtherType and IP packet, most often without a tunnel around it."""
    ethertype, packet = draw(packets())
    for _ in range(draw(st.sampled_from([0, 0, 0, 0, 1, 1, 2, 9]))):
        ends = draw(st.permutations([A, B]))
        number = draw(st.integers(0, 2))
        kind = draw(st.sampled_from(["ip", "gre", "vxlan", "gtp", "gtp", "l2tp", "pptp", "mpls"]))
        ethertype = 0x0800
        if kind == "gre":
            packet = gre(packet, *ends, key=number or None)
        elif kind == "vxlan":
            packet = vxlan(packet, *ends, vni=number)
        elif kind == "gtp":
            packet = gtp(packet, *ends, teid=number)
        elif kind == "l2tp":
            packet = l2tp(packet, *ends, session=number)
        elif kind == "pptp":
            packet = pptp(packet, *ends, call=number)
        else:
            packet = in_ip(packet, *ends) if kind == "ip" else mpls(packet, *ends)
    return ethertype, packet


@st.composite
def framed(draw: st.DrawFn) -> tuple[int, bytes]:
    """Link type and frame."""
    ethertype, packet = draw(tunnelled())
    kind = draw(st.sampled_from(["ethernet"] * 6 + ["vlan", "raw", "sll", "ppp", "pppoe", "mpls"]))
    short = struct.pack(">H", ethertype)
    ppp = struct.pack(">H", 0x21 if ethertype == 0x0800 else 0x57) + packet
    if kind == "vlan":
        return 1, ethernet(struct.pack(">H", draw(st.integers(0, 2))) + short + packet, 0x8100)
    if kind == "raw":
        return 101, packet
    if kind == "sll":
        return 113, bytes(14) + short + packet
    if kind == "ppp":
        return 9, ppp
    if kind == "pppoe":
        return 1, ethernet(struct.pack(">BBHH", 0x11, 0, 1, len(ppp)) + ppp, 0x8864)
    if kind == "mpls":
        return 1, ethernet(bytes.fromhex("00065140") + packet, 0x8847)
    return 1, ethernet(packet, ethertype)


steps = st.one_of(
    st.integers(0, 1000),
    st.integers(0, 3 * SECOND),
    st.sampled_from([-1, -SECOND, 5 * SECOND, 10 * SECOND, 30 * SECOND, 31 * SECOND, -4000 * SECOND, 2**62, -(2**62)]),
)


@st.composite
def frame_lists(draw: st.DrawFn) -> list[Frame]:
    time_ns = START
    frames = []
    for _ in range(draw(st.integers(1, 40))):
        time_ns = min(max(time_ns + draw(steps), 0), 2**64 - 1)
        linktype, data = draw(framed())
        change = draw(st.integers(0, 9))
        if change == 0:
            data = data[: draw(st.integers(0, len(data)))]
        elif change == 1 and data:
            at = draw(st.integers(0, min(len(data), 80) - 1))
            data = data[:at] + bytes([draw(st.integers(0, 255))]) + data[at + 1 :]
        elif change == 2:
            data += bytes(draw(st.integers(0, 8)))
        wire = len(data) + draw(st.sampled_from([0, 0, 0, 1, 100, 70_000]))
        frames.append(Frame(data, time_ns, wire, linktype, draw(st.sampled_from([0, 0, 0, 0, 1]))))
    return frames


tables = st.builds(
    FlowSettings,
    capacity=st.sampled_from([1, 2, 3, 64]),
    idle_timeout_s=st.sampled_from([0.001, 1.0, 7.5, 120.0]),
    active_timeout_s=st.sampled_from([0.001, 2.0, 1800.0]),
)


@needs_native()
@settings(max_examples=300, deadline=None)
@given(tables, st.lists(frame_lists(), min_size=1, max_size=3), st.data())
def test_both_agree_on_frames(wanted: FlowSettings, lists: Sequence[list[Frame]], data: st.DataObject) -> None:
    both = pair(wanted)
    known: list[int] = [0]
    for frames in lists:
        known += [event.flow for event in feed_both(both, block(frames)) if isinstance(event, Opened)]
        for table in both:
            assert table.counters()["frames"] == table.counters()["packets"] + sum(
                value for name, value in table.counters().items() if name.startswith("frames_")
            )
        chosen, action = data.draw(st.sampled_from(known)), data.draw(st.sampled_from(["follow", "release", "expire"]))
        if action == "expire":
            later = min(frames[-1].time_ns + data.draw(st.sampled_from([0, SECOND, 60 * SECOND])), 2**64 - 1)
            assert both[0].expire(later) == both[1].expire(later)
        else:
            for table in both:
                getattr(table, action)(chosen)
    finish_both(both)


@st.composite
def connection_lists(draw: st.DrawFn) -> list[Frame]:
    """TCP alone, on many ports: what fills tables of half-open flows."""
    time_ns = START
    frames = []
    for _ in range(draw(st.integers(1, 120))):
        time_ns += draw(st.sampled_from([0, 1, SECOND // 10, SECOND, SECOND + 1, 4 * SECOND]))
        ends = (draw(st.integers(1, 12)), 80)
        back = draw(st.integers(0, 2)) == 0
        kind = draw(st.sampled_from([2, 2, 2, 18, 16, 17, 20, 4, 0]))
        header = tcp(kind, draw(st.integers(0, 3)), 1, b"", *(reversed(ends) if back else ends))
        sides = reversed(SIDES) if back else SIDES
        frames.append(Frame(ethernet(ipv4(header, 6, *sides)), time_ns))
    return frames


@needs_native()
@settings(max_examples=200, deadline=None)
@given(st.integers(1, 9), st.sampled_from([2.0, 120.0]), connection_lists())
def test_both_agree_on_connections(capacity: int, idle_s: float, frames: list[Frame]) -> None:
    both = pair(FlowSettings(capacity=capacity, idle_timeout_s=idle_s))
    events = feed_both(both, block(frames))
    later = frames[-1].time_ns + 31 * SECOND
    expected, got = (table.expire(later) for table in both)
    assert got == expected
    finish_both(both)
    known: set[int] = set()
    for event in events:
        if isinstance(event, Opened):
            assert event.flow not in known
            known.add(event.flow)
        elif isinstance(event, Established):  # once, after Opened, before Closed
            known.remove(event.flow)
            known.add(-event.flow)
        elif isinstance(event, Closed):
            known -= {event.flow, -event.flow}
    evictions = sum(isinstance(event, Closed) and event.reason == CloseReason.EVICTED for event in events)
    counters = both[0].counters()
    assert evictions == counters["flows_evicted"] + counters["flows_evicted_halfopen"]


@needs_native()
@settings(max_examples=300, deadline=None)
@given(
    st.sampled_from([0, 1, 9, 12, 50, 51, 101, 104, 108, 113, 192, 204, 228, 229, 276, 7]),
    st.lists(st.binary(max_size=100), max_size=20),
)
def test_both_agree_on_noise(linktype: int, noise: list[bytes]) -> None:
    both = pair(FlowSettings(capacity=4))
    feed_both(both, block([Frame(data, linktype=linktype) for data in noise]))
    finish_both(both)


@needs_native()
@pytest.mark.parametrize(
    ("linktype", "data"),
    [
        *(pytest.param(linktype, data, id=name) for name, linktype, data in LINKS),
        *(pytest.param(101, packet, id=name) for name, packet, _ in TUNNELS),
    ],
)
def test_both_agree_on_every_changed_byte(linktype: int, data: bytes) -> None:
    """Each byte of the headers takes each of a few values."""
    changed = [
        Frame(data[:at] + bytes([value]) + data[at + 1 :], START + at, linktype=linktype)
        for at in range(len(data))
        for value in (0, 1, 4, 6, 0x11, 0x2C, 0x45, 0x60, 0x7F, 0x80, 0xFF, data[at] ^ 1, data[at] ^ 0x20)
    ]
    both = pair(FlowSettings(capacity=512))
    feed_both(both, block(changed))
    finish_both(both)


@needs_native()
@settings(max_examples=50, deadline=None)
@given(st.binary(max_size=200), st.lists(st.tuples(*[st.integers(0, 250)] * 3), max_size=20))
def test_both_agree_on_lying_entries(data: bytes, entries: list[tuple[int, int, int]]) -> None:
    packed = b"".join(struct.pack("<QIIIHH", START, *entry, 101, 0) for entry in entries)
    packed += struct.pack("<QIIIHH", START, 2**32 - 1, 2**32 - 1, 0, 1, 0)
    both = pair(FlowSettings(capacity=4))
    feed_both(both, Block(data, packed))
    finish_both(both)


# -- captures of the world --------------------------------------------------------------------------------------


@needs_native()
@needs_corpus()
def test_both_agree_on_all_captures() -> None:
    frames = 0
    for path in sorted((CORPUS / "ndpi" / "pcap").iterdir()):
        both = pair(FlowSettings(capacity=300, idle_timeout_s=30.0, active_timeout_s=60.0))
        try:
            with open_capture(path) as capture:
                for whole in capture:
                    feed_both(both, whole)
        except CaptureError:
            continue
        finish_both(both)
        counters = both[0].counters()
        assert counters["flows"] > 0 or counters["packets"] == 0, path.name
        frames += counters["frames"]
    assert frames > 60_000


def test_constants_are_in_order() -> None:
    """What is dropped late must not be waited for by what is dropped early."""
    assert round(limits.HALF_OPEN_TIMEOUT_S * 1e9) > _reference.UNANSWERED_NS
    assert limits.HALF_OPEN_TIMEOUT_S < limits.IDLE_TIMEOUT_S
    assert _reference.REOPEN_NS < _reference.LINGER_NS < _reference.FRAGMENT_TIMEOUT_NS < _reference.CLOCK_STEP_NS
    assert list(make_table(FlowSettings(capacity=1)).counters()) == list(_reference.COUNTERS)
