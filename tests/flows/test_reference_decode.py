"""From frames to addresses and ports, on both implementations: each link type whole, cut at every byte, and lying."""

import struct

import pytest

from flowsonar.flows._reference_decode import MAX_LAYERS, Drop, DroppedFrame, Fragment, decode
from flowsonar.flows.events import Closed, Opened, Payload
from tests.flows.conftest import Make
from tests.flows.frames import (
    ACK,
    CLIENT,
    CLIENT6,
    SERVER,
    SERVER6,
    Frame,
    block,
    ethernet,
    ipv4,
    ipv6,
    tcp,
    udp,
)

V4 = ipv4(udp(b"data"), 17)
V6 = ipv6(udp(b"data"), 17)
PPI = struct.pack("<BBHI", 0, 0, 12, 1) + bytes(4)
LABEL, BOTTOM = bytes.fromhex("00064040"), bytes.fromhex("00065140")

LINKS = [
    ("ethernet", 1, ethernet(V4)),
    ("ethernet-ipv6", 1, ethernet(V6, 0x86DD)),
    ("vlan", 1, ethernet(b"\x00\x07\x08\x00" + V4, 0x8100)),
    ("qinq", 1, ethernet(b"\x00\x07\x81\x00\x00\x08\x08\x00" + V4, 0x88A8)),
    ("mpls", 1, ethernet(LABEL + BOTTOM + V4, 0x8847)),
    ("mpls-ipv6", 1, ethernet(BOTTOM + V6, 0x8847)),
    ("pseudowire", 1, ethernet(BOTTOM + bytes(4) + ethernet(V4), 0x8847)),
    ("pppoe", 1, ethernet(struct.pack(">BBHHH", 0x11, 0, 1, 2 + len(V4), 0x21) + V4, 0x8864)),
    ("pppoe-ipv6", 1, ethernet(struct.pack(">BBHHH", 0x11, 0, 1, 2 + len(V6), 0x57) + V6, 0x8864)),
    ("snap", 1, ethernet(bytes.fromhex("aaaa030000000800") + V4, 100)),
    ("sll", 113, bytes(14) + b"\x08\x00" + V4),
    ("sll-vlan", 113, bytes(14) + b"\x81\x00\x00\x07\x08\x00" + V4),
    ("sll2", 276, b"\x08\x00" + bytes(18) + V4),
    ("sll2-ipv6", 276, b"\x86\xdd" + bytes(18) + V6),
    ("raw-12", 12, V4),
    ("raw-14", 14, V6),
    ("raw-101", 101, V4),
    ("raw-101-ipv6", 101, V6),
    ("ipv4", 228, V4),
    ("ipv6", 229, V6),
    ("null-little", 0, b"\x02\0\0\0" + V4),
    ("null-big", 0, b"\0\0\0\x02" + V4),
    ("null-macos-ipv6", 0, b"\x1e\0\0\0" + V6),
    ("loop", 108, b"\0\0\0\x02" + V4),
    ("loop-openbsd-ipv6", 108, b"\0\0\0\x18" + V6),
    ("ppp", 9, b"\x00\x21" + V4),
    ("ppp-framed", 9, b"\xff\x03\x00\x57" + V6),
    ("ppp-short", 9, b"\x21" + V4),
    ("ppp-mpls", 9, b"\x02\x81" + BOTTOM + V4),
    ("ppp-hdlc", 50, b"\xff\x03\x00\x21" + V4),
    ("ppp-hdlc-cisco", 50, b"\x0f\x00\x08\x00" + V4),
    ("pppoe-link", 51, struct.pack(">BBHHH", 0x11, 0, 1, 2 + len(V4), 0x21) + V4),
    ("ppp-direction", 204, b"\x00\xff\x03\x00\x21" + V4),
    ("chdlc", 104, b"\x0f\x00\x08\x00" + V4),
    ("chdlc-ipv6", 104, b"\x8f\x00\x86\xdd" + V6),
    ("ppi", 192, PPI + ethernet(V4)),
    ("hop-by-hop", 101, ipv6(bytes.fromhex("1100000000000000") + udp(b"data"), 0)),
    ("routing", 101, ipv6(bytes.fromhex("1101") + bytes(14) + udp(b"data"), 43)),
    ("destination", 101, ipv6(bytes.fromhex("3c00000000000000") * 2 + b"\x11" + bytes(7) + udp(b"data"), 60)),
    ("atomic-fragment", 101, ipv6(bytes.fromhex("1100000000000001") + udp(b"data"), 44)),
    ("ah", 101, ipv6(bytes.fromhex("1104") + bytes(22) + udp(b"data"), 51)),
    ("ah-ipv4", 101, ipv4(bytes.fromhex("1104") + bytes(22) + udp(b"data"), 51)),
    ("options", 101, ipv4(udp(b"data"), 17, options=b"\x94\x04\0\0")),
]
IDS = [name for name, _, _ in LINKS]


@pytest.mark.parametrize(("name", "linktype", "data"), LINKS, ids=IDS)
def test_every_link_type(make: Make, name: str, linktype: int, data: bytes) -> None:
    opened, payload = make().feed(block([Frame(data, linktype=linktype)]))
    assert isinstance(opened, Opened)
    addresses = (CLIENT, SERVER) if len(opened.initiator) == 4 else (CLIENT6, SERVER6)
    assert (opened.initiator, opened.responder) == addresses
    assert (opened.protocol, opened.initiator_port, opened.responder_port) == (17, 1000, 53)
    assert opened.vlan == (7 if "vlan" in name or name == "qinq" else 0)
    assert isinstance(payload, Payload)
    assert payload.data == b"data"


@pytest.mark.parametrize(("name", "linktype", "data"), LINKS, ids=IDS)
def test_frames_cut_at_every_byte(make: Make, name: str, linktype: int, data: bytes) -> None:
    table = make()
    frames = [Frame(data[:size], linktype=linktype, wire=len(data)) for size in range(len(data))]
    events = table.feed(block(frames))
    counters = table.counters()
    assert counters["frames"] == counters["frames_truncated"] + counters["packets"]
    assert counters["packets"] == 4  # the UDP header is whole and 0, 1, 2 or 3 bytes of the payload are there
    assert [event.data for event in events if isinstance(event, Payload)] == [b"d", b"da", b"dat"]


@pytest.mark.parametrize(("name", "linktype", "data"), LINKS, ids=IDS)
def test_frames_short_on_the_wire(make: Make, name: str, linktype: int, data: bytes) -> None:
    table = make()
    table.feed(block([Frame(data[:size], linktype=linktype) for size in range(len(data))]))
    counters = table.counters()
    assert counters["frames_truncated"] == 0
    assert counters["frames"] == counters["frames_malformed"] + counters["packets"]


MALFORMED = [
    ("version", 228, b"\x65" + V4[1:]),
    ("version-ipv6", 229, b"\x45" + V6[1:]),
    ("raw-version", 101, b"\x00" + V4[1:]),
    ("header-length", 101, b"\x44" + V4[1:]),
    ("total-length", 101, ipv4(udp(), 17, total=19)),
    ("total-cuts-udp", 101, ipv4(udp(), 17, total=27)),
    ("udp-length", 101, ipv4(udp(length=7), 17)),
    ("tcp-offset-small", 101, ipv4(tcp(0)[:12] + b"\x40" + tcp(0)[13:], 6)),
    ("tcp-offset-large", 101, ipv4(tcp(0)[:12] + b"\xf0" + tcp(0)[13:], 6)),
    ("tcp-short", 101, ipv4(tcp(0)[:16], 6)),
    ("payload-length-ipv6", 101, ipv6(udp(b"data"), 17, length=7)),
    ("extension-length", 101, ipv6(b"\x11\xff" + bytes(6) + udp(), 0)),
    ("two-fragment-headers", 101, ipv6(bytes.fromhex("2c00000100000001") * 2 + udp(), 44)),
    ("ppi-length", 192, struct.pack("<BBHI", 0, 0, 7, 1) + ethernet(V4)),
    ("pppoe-version", 51, b"\x12\0\0\x01\0\x10\0\x21" + V4),
    ("pppoe-length", 51, b"\x11\0\0\x01\0\x10\0\x21" + V4),
]


@pytest.mark.parametrize(("name", "linktype", "data"), MALFORMED, ids=[name for name, _, _ in MALFORMED])
def test_malformed(make: Make, name: str, linktype: int, data: bytes) -> None:
    table = make()
    assert table.feed(block([Frame(data, linktype=linktype)])) == []
    assert table.counters()["frames_malformed"] == 1


OTHER = [
    ("arp", 1, ethernet(bytes(28), 0x0806), "frames_not_ip"),
    ("stp", 1, ethernet(bytes.fromhex("4242030000000000"), 38), "frames_not_ip"),
    ("pppoe-discovery", 1, ethernet(b"\x11\x09\0\0\0\0", 0x8864), "frames_not_ip"),
    ("lcp", 9, b"\xc0\x21\x01", "frames_not_ip"),
    ("null-family", 0, b"\x07\0\0\0", "frames_not_ip"),
    ("mpls-other", 1, ethernet(BOTTOM + b"\x10", 0x8847), "frames_not_ip"),
    ("link", 147, b"", "frames_unknown_link"),
    ("ppi-link", 192, struct.pack("<BBHI", 0, 0, 8, 0x10001), "frames_unknown_link"),
    ("vlans", 1, ethernet(b"\0\x01\x81\0" * 40, 0x8100), "frames_layers"),
    ("labels", 1, ethernet(LABEL * 40, 0x8847), "frames_layers"),
    ("ppis", 192, struct.pack("<BBHI", 0, 0, 8, 192) * 40, "frames_layers"),
    ("extensions", 101, ipv6(bytes.fromhex("3c00000000000000") * 40, 60), "frames_layers"),
]


@pytest.mark.parametrize(("name", "linktype", "data", "counter"), OTHER, ids=[case[0] for case in OTHER])
def test_what_is_no_packet(make: Make, name: str, linktype: int, data: bytes, counter: str) -> None:
    table = make()
    assert table.feed(block([Frame(data, linktype=linktype)])) == []
    assert table.counters()[counter] == 1


def flow_of(make: Make, data: bytes, wire: int | None = None) -> tuple[Opened, list[Payload], Closed]:
    table = make()
    events = table.feed(block([Frame(data, linktype=101, wire=wire)])) + table.finish()
    opened, *payloads, closed = events
    assert isinstance(opened, Opened)
    assert isinstance(closed, Closed)
    return opened, [event for event in payloads if isinstance(event, Payload)], closed


@pytest.mark.parametrize(
    ("data", "expected"),
    [
        (ipv4(struct.pack(">HH", 2905, 2906) + bytes(8), 132), (132, 2905, 2906)),
        (ipv4(b"\x08\0\0\0\x12\x34\0\0", 1), (1, 0x1234, 8)),
        (ipv4(b"\x00\0\0\0\x12\x34\0\0", 1), (1, 8, 0x1234)),
        (ipv4(b"\x03\x01\0\0", 1), (1, 3, 1)),
        (ipv4(b"\x0d\x00\0\0", 1), (1, 13, 14)),
        (ipv6(b"\x80\0\0\0\x12\x34\0\0", 58), (58, 0x1234, 128)),
        (ipv6(b"\x81\0\0\0\x12\x34\0\0", 58), (58, 128, 0x1234)),
        (ipv6(b"\x87\0\0\0", 58), (58, 135, 136)),
        (ipv6(b"\x01\x04\0\0", 58), (58, 1, 4)),
        (ipv4(b"", 58), (58, 0, 0)),
        (ipv6(b"", 1), (1, 0, 0)),
        (ipv4(bytes(8), 47), (47, 0, 0)),
        (ipv6(b"", 59), (59, 0, 0)),
        (ipv4(b"", 0), (0, 0, 0)),
        (ipv4(b"", 44), (44, 0, 0)),
    ],
)
def test_ports_of_other_protocols(make: Make, data: bytes, expected: tuple[int, int, int]) -> None:
    opened, payloads, _ = flow_of(make, data)
    assert (opened.protocol, opened.initiator_port, opened.responder_port) == expected
    assert payloads == []


def test_echo_request_and_reply_are_one_flow(make: Make) -> None:
    table = make()
    request = ipv4(b"\x08\0\0\0\x12\x34\0\0", 1)
    reply = ipv4(b"\x00\0\0\0\x12\x34\0\0", 1, SERVER, CLIENT)
    table.feed(block([Frame(request, linktype=101), Frame(reply, linktype=101)]))
    assert len(table) == 1


def test_padding_is_not_payload(make: Make) -> None:
    _, payloads, closed = flow_of(make, ipv4(udp(b"ab"), 17) + bytes(16))
    assert (payloads[0].data, payloads[0].wire_length, closed.bytes_toserver) == (b"ab", 2, 30)
    _, payloads, closed = flow_of(make, ipv4(udp(b"ab", length=9), 17))
    assert (payloads[0].data, payloads[0].wire_length, closed.bytes_toserver) == (b"a", 1, 30)
    _, payloads, _ = flow_of(make, ipv4(tcp(ACK), 6) + bytes(6))
    assert payloads == []


def test_a_length_of_zero_is_the_frames(make: Make) -> None:
    for data in (ipv4(udp(b"ab", length=0), 17, total=0), ipv6(udp(b"ab", length=0), 17, length=0)):
        _, payloads, closed = flow_of(make, data, wire=len(data) + 5)
        assert (payloads[0].data, payloads[0].wire_length) == (b"ab", 7)
        assert closed.bytes_toserver == len(data) + 5


def test_a_length_beyond_the_frame_is_the_frames(make: Make) -> None:
    _, payloads, closed = flow_of(make, ipv4(udp(b"ab", length=500), 17, total=900))
    assert (payloads[0].data, payloads[0].wire_length, closed.bytes_toserver) == (b"ab", 2, 30)


def test_tcp_options_are_not_payload(make: Make) -> None:
    _, payloads, _ = flow_of(make, ipv4(tcp(ACK, payload=b"x", options=bytes(40)), 6))
    assert payloads[0].data == b"x"


def test_tcp_cut_after_the_flags_counts(make: Make) -> None:
    whole = ipv4(tcp(ACK, payload=b"xyz"), 6)
    _, payloads, closed = flow_of(make, whole[:34], wire=len(whole))
    assert payloads == []
    assert (closed.tcp_flags_toserver, closed.bytes_toserver) == (ACK, 43)


def test_ipv6_fragments(make: Make) -> None:
    header = bytes.fromhex("3c000001 00000063".replace(" ", ""))
    first = ipv6(header + b"\x11" + bytes(7) + udp(b"z" * 8), 44)
    later = ipv6(bytes.fromhex("3c00001800000063") + b"z" * 8, 44)
    table = make()
    table.feed(block([Frame(data, linktype=101) for data in (first, later, later)]))
    (closed,) = table.finish()
    assert isinstance(closed, Closed)
    assert closed.packets_toserver == 3


def test_decode_tells_what_the_table_does_not() -> None:
    packet = decode(ipv4(tcp(ACK, 7, 9), 6, identification=5, fragment=0x2000), 60, 101)
    assert (packet.sequence, packet.ack, packet.fragment, packet.fragment_id) == (7, 9, Fragment.FIRST, 5)
    with pytest.raises(DroppedFrame) as dropped:
        decode(b"\0\0\0\x01\x81\0" * MAX_LAYERS, 0, 1)
    assert dropped.value.reason is Drop.NOT_IP
