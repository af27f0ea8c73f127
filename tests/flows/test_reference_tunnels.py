"""Tunnels, on both implementations: what is inside opens the flow, and what only looks like one changes nothing."""

import struct
from itertools import pairwise

import pytest

from flowsonar.flows._reference_tunnels import HOPS_MAX
from flowsonar.flows.events import Opened, Payload
from flowsonar.flows.hops import hop_names
from tests.flows.conftest import Make
from tests.flows.frames import CLIENT, SERVER, Frame, block, ethernet, ipv4, ipv6, tcp, udp
from tests.flows.tunnels import (
    A6,
    AROUND,
    B6,
    INNER,
    INNER6,
    TUNNELS,
    A,
    B,
    etherip,
    geneve,
    gre,
    gtp,
    in_ip,
    l2tp,
    mpls,
    pptp,
    teredo,
    vxlan,
)


def frames(*packets: bytes) -> list[Frame]:
    return [Frame(ethernet(packet, 0x0800 if packet[0] >> 4 == 4 else 0x86DD)) for packet in packets]


def flows(make: Make, *packets: bytes) -> list[Opened]:
    return [event for event in make().feed(block(frames(*packets))) if isinstance(event, Opened)]


@pytest.mark.parametrize(("packet", "name"), [pytest.param(*case[1:], id=case[0]) for case in TUNNELS])
def test_the_flow_inside(make: Make, packet: bytes, name: str) -> None:
    opened, payload = make().feed(block(frames(packet)))
    assert isinstance(opened, Opened)
    assert isinstance(payload, Payload)
    assert (opened.protocol, opened.initiator_port, opened.responder_port) == (17, 1000, 53)
    assert opened.initiator in (CLIENT, INNER6[8:24])
    assert hop_names(opened.outer) == (name,)
    assert payload.data == b"inner"


@pytest.mark.parametrize("around", AROUND)
@pytest.mark.parametrize("second", AROUND)
def test_tunnels_in_tunnels(make: Make, around: object, second: object) -> None:
    assert callable(around)
    assert callable(second)
    inner = second(INNER6 if second is teredo else INNER)
    if around is teredo:
        inner = in_ip(inner, A6, B6)
    (opened,) = flows(make, around(inner))
    names = [name.split()[0] for name in hop_names(opened.outer)]
    assert len(names) == 2 + (around is teredo)
    assert opened.responder_port == 53


def test_as_deep_as_is_looked_into(make: Make) -> None:
    packet = INNER
    for _ in range(HOPS_MAX):
        packet = in_ip(packet)
    (opened,) = flows(make, packet)
    assert len(hop_names(opened.outer)) == HOPS_MAX
    table = make()
    for _ in range(20):
        packet = in_ip(packet)
        assert table.feed(block(frames(packet))) == []
    assert table.counters()["frames_layers"] == 20


def other_way(packet: bytes) -> bytes:
    """The same addresses and ports in the other direction."""
    ports = packet[20:24]
    return packet[:12] + packet[16:20] + packet[12:16] + ports[2:] + ports[:2] + packet[24:]


@pytest.mark.parametrize("around", [around for around in AROUND if around is not teredo])
def test_both_directions_are_one_flow(make: Make, around: object) -> None:
    assert callable(around)
    back = other_way(INNER)
    assert len(flows(make, around(INNER), around(back, B, A), around(INNER))) == 1


@pytest.mark.parametrize(
    ("around", "key"), [(gre, "key"), (vxlan, "vni"), (geneve, "vni"), (gtp, "teid"), (pptp, "call"), (l2tp, "session")]
)
def test_equal_addresses_in_two_tunnels_do_not_meet(make: Make, around: object, key: str) -> None:
    assert callable(around)
    packets = [around(INNER, **{key: number}) for number in (1, 2, 1, 2)]
    assert len(flows(make, *packets)) == 2
    assert len(flows(make, INNER, *packets)) == 3
    assert len(flows(make, around(INNER, A, B, **{key: 1}), around(INNER, A, bytes([192, 0, 2, 3]), **{key: 1}))) == 2


@pytest.mark.parametrize(("around", "key"), [(gtp, "teid"), (pptp, "call"), (l2tp, "session")])
def test_each_direction_has_its_own_identifier(make: Make, around: object, key: str) -> None:
    assert callable(around)
    other = ipv4(udp(b"more", 1001, 53), 17)
    opened = flows(
        make,
        around(INNER, **{key: 1}),
        around(other_way(INNER), B, A, **{key: 2}),
        around(other, **{key: 1}),
        around(other_way(other), B, A, **{key: 2}),
        around(INNER, **{key: 1}),
    )
    assert [flow.initiator_port for flow in opened] == [1000, 1001]
    assert opened[0].outer == opened[1].outer


def test_tunnels_that_nobody_uses_any_more_are_forgotten(make: Make) -> None:
    table = make(capacity=3)
    for number in range(1, 17_000):
        table.feed(block(frames(vxlan(INNER, vni=number), gtp(INNER, teid=number))))
    assert table.counters()["tunnels_full"] == 0


def test_more_tunnels_than_there_is_room_for(make: Make) -> None:
    table = make(capacity=1 << 15)
    many = [vxlan(INNER, vni=number) for number in range((1 << 14) + 10)]
    opened = [event for event in table.feed(block(frames(*many))) if isinstance(event, Opened)]
    assert table.counters()["tunnels_full"] == 10
    assert len(opened) == (1 << 14) + 1
    assert opened[-1].outer == b""


BROKEN = [
    ("gre-routing", gre(INNER)[:20] + b"\x40" + gre(INNER)[21:]),
    ("gre-type", gre(INNER, kind=0x1234)),
    ("pptp-no-payload", ipv4(struct.pack(">HHHHI", 0x3001, 0x880B, 0, 7, 1), 47, A, B)),
    ("pptp-compressed", pptp(INNER)[:34] + b"\x00\xfd" + pptp(INNER)[36:]),
    ("etherip-version", etherip(INNER)[:20] + b"\x20" + etherip(INNER)[21:]),
    ("mpls-inside", mpls(INNER)[:24] + b"\x90" + mpls(INNER)[25:]),
    ("ip-length", in_ip(ipv4(udp(b"inner"), 17, total=99))),
    ("ip-version", in_ip(INNER)[:20] + b"\x65" + in_ip(INNER)[21:]),
    ("vxlan-flags", vxlan(INNER)[:28] + b"\x00" + vxlan(INNER)[29:]),
    ("vxlan-reserved", vxlan(INNER)[:35] + b"\x01" + vxlan(INNER)[36:]),
    ("vxlan-arp", vxlan(INNER)[:48] + b"\x08\x06" + vxlan(INNER)[50:]),
    ("vxlan-length", vxlan(ipv4(udp(b"inner"), 17, total=99))),
    ("geneve-version", geneve(INNER)[:28] + b"\x40" + geneve(INNER)[29:]),
    ("geneve-options", geneve(INNER)[:28] + b"\x3f" + geneve(INNER)[29:]),
    ("gtp-length", gtp(INNER, length=4)),
    ("gtp-echo", gtp(INNER)[:29] + b"\x01" + gtp(INNER)[30:]),
    ("gtp-inner-length", gtp(INNER + b"more")),
    ("gtp-prime", gtp(INNER)[:28] + b"\x20" + gtp(INNER)[29:]),
    ("gtp-tcp", gtp(ipv4(tcp(2)[:10], 6))),
    ("teredo-bubble", teredo(ipv6(b"", 59))),
    ("teredo-link-local", teredo(ipv6(bytes(8), 58, bytes.fromhex("fe80") + bytes(14)))),
    ("l2tp-control", l2tp(INNER, full=True)[:28] + b"\xc8" + l2tp(INNER, full=True)[29:]),
    ("l2tp-version", l2tp(INNER)[:29] + b"\x03" + l2tp(INNER)[30:]),
    ("l2tp-lcp", l2tp(INNER)[:36] + b"\xc0\x21" + l2tp(INNER)[38:]),
]


@pytest.mark.parametrize("packet", [pytest.param(case[1], id=case[0]) for case in BROKEN])
def test_what_only_looks_like_a_tunnel(make: Make, packet: bytes) -> None:
    (opened,) = flows(make, packet)
    assert (opened.initiator, opened.responder, opened.outer) == (A, B, b"")


def test_fragments_of_the_packet_around_stay_outside(make: Make) -> None:
    whole = in_ip(INNER)
    first = whole[:6] + b"\x20\x00" + whole[8:]
    (opened,) = flows(make, first)
    assert (opened.protocol, opened.outer) == (4, b"")


def test_fragments_inside_belong_to_their_tunnel(make: Make) -> None:
    first = ipv4(udp(b"x" * 16, 1000, 53, length=40), 17, fragment=0x2000)
    later = ipv4(b"y" * 16, 17, fragment=3)
    table = make()
    table.feed(block(frames(vxlan(first, vni=1), vxlan(later, vni=2), later, vxlan(later, vni=1))))
    assert table.counters()["frames_orphan_fragment"] == 2
    assert table.counters()["packets"] == 2


def test_cut_captures(make: Make) -> None:
    for _, packet, _ in TUNNELS:
        data = ethernet(packet, 0x0800 if packet[0] >> 4 == 4 else 0x86DD)
        for cut in range(len(data)):
            table = make()
            events = table.feed(block([Frame(data[:cut], wire=len(data))]))
            opened = [event for event in events if isinstance(event, Opened)]
            assert len(opened) == table.counters()["packets"]


def test_a_vlan_in_a_tunnel(make: Make) -> None:
    tagged = ethernet(struct.pack(">HH", 42, 0x0800) + INNER, 0x8100)
    header = struct.pack(">II", 0x08000000, 5 << 8)
    (opened,) = flows(make, ipv4(udp(header + tagged, 50000, 4789), 17, A, B))
    assert opened.vlan == 42


def test_counters_add_up(make: Make) -> None:
    table = make()
    every = [packet for _, packet, *_ in [*TUNNELS, *BROKEN]]
    table.feed(block(frames(*every)))
    counted = table.counters()
    assert counted["frames"] == counted["packets"] == len(every)
    assert all(one != other for one, other in pairwise(every))
    assert SERVER != CLIENT
