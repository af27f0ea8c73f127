"""The live ring, on interfaces of a namespace of its own."""

import fcntl
import os
import select
import socket
import struct
import threading
from pathlib import Path

import pytest

from flowsonar.capture.bpf import Exclusion, compile_filter
from flowsonar.capture.ring import Ring, drops_by_interface, linktype_of, open_rings
from flowsonar.errors import CaptureError
from tests.capture.build import Frame, frames
from tests.capture.conftest import add_veth, ip
from tests.needs import STRICT, needs_program, needs_root

WAIT_S = 10.0
"""Far more than is ever needed; a test that waits this long fails."""

MACS = bytes(range(12))
PLAIN = MACS + b"\x08\x00" + b"P" * 50

needs_tun = pytest.mark.skipif(not (STRICT or Path("/dev/net/tun").exists()), reason="needs /dev/net/tun")

live = [needs_root(), needs_program("ip"), pytest.mark.usefixtures("namespace")]


def marked(function: object) -> object:
    for mark in live:
        function = mark(function)  # type: ignore[operator]
    return function


def collect(ring: Ring, count: int) -> list[Frame]:
    """The next frames, at least `count`."""
    found: list[Frame] = []
    while len(found) < count:
        assert select.select([ring], [], [], WAIT_S)[0], f"only {len(found)} of {count} frames came"
        found += frames(ring.read())
    return found


def sender(interface: str) -> socket.socket:
    sending = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, 0)
    sending.bind((interface, 0))
    return sending


@marked
@pytest.mark.parametrize("retire_ms", [1, 50])
def test_frames_come_whole(retire_ms: int) -> None:
    add_veth()
    with Ring("fsB1", index=7, retire_ms=retire_ms) as ring, sender("fsB0") as sending:
        assert ring.gone is None
        assert ring.linktype == 1
        for number in range(300):
            sending.send(PLAIN + struct.pack(">H", number))
        found = collect(ring, 300)
        assert [frame.data for frame in found] == [PLAIN + struct.pack(">H", number) for number in range(300)]
        assert {(frame.wire, frame.linktype, frame.interface) for frame in found} == {(len(PLAIN) + 2, 1, 7)}
        times = [frame.time_ns for frame in found]
        assert times == sorted(times)
        assert ring.drops() == (300, 0)
        assert ring.drops() == (300, 0), "the kernel's counters start anew when read, ours do not"


@marked
@pytest.mark.parametrize(
    "tag",
    [
        b"\x81\x00\x00\x05",
        b"\x81\x00\xe0\x05",  # with priority
        b"\x81\x00\x00\x00",  # priority tag of VLAN 0
        b"\x88\xa8\x00\x07\x81\x00\x00\x05",  # QinQ
        b"\x81\x00\x00\x07\x81\x00\x00\x05",
    ],
    ids=bytes.hex,
)
def test_vlan_tags_are_seen(tag: bytes) -> None:
    """The kernel takes the outer tag out of a received frame; what is handed out has it again."""
    add_veth()
    tagged = MACS + tag + b"\x08\x00" + b"T" * 50
    with Ring("fsB1") as ring, sender("fsB0") as sending:
        for data in (tagged, PLAIN, tagged):
            sending.send(data)
        found = collect(ring, 3)
    assert [frame.data for frame in found] == [tagged, PLAIN, tagged]
    assert [frame.wire for frame in found] == [len(tagged), len(PLAIN), len(tagged)]


@marked
def test_rings_share_the_packets_out_by_flow() -> None:
    add_veth()
    flows = [MACS + b"\x08\x00" + _datagram(40000 + number // 2, turned=number % 2 == 1) for number in range(200)]
    rings = open_rings(["fsB1"], rings=3, blocks=4)
    try:
        assert len({ring.group for ring in rings}) == 1
        with sender("fsB0") as sending:
            for frame in flows:
                sending.send(frame)
        ports: list[set[bytes]] = [set(), set(), set()]
        got = 0
        while got < len(flows):
            assert select.select(rings, [], [], WAIT_S)[0]
            for ring, seen in zip(rings, ports, strict=True):
                found = frames(ring.read())
                got += len(found)
                seen |= {max(frame.data[34:36], frame.data[36:38]) for frame in found}
        assert sum(map(len, ports)) == len(set.union(*ports)) == 100, "both directions of a flow are in one ring"
        assert sum(bool(one) for one in ports) > 1
        assert drops_by_interface(rings) == {"kernel_packets": 200, "kernel_drops": 0}
    finally:
        for ring in rings:
            ring.close()


def _datagram(port: int, *, turned: bool) -> bytes:
    ends = (bytes((192, 0, 2, 1)), bytes((192, 0, 2, 2)))
    ports = (port, 53)
    step = -1 if turned else 1
    head = struct.pack(">BBHHHBBH", 0x45, 0, 32, 0, 0, 64, 17, 0) + b"".join(ends[::step])
    return head + struct.pack(">HHHH", *ports[::step], 12, 0) + b"what"


@marked
def test_drops_are_told_by_interface() -> None:
    with Ring("lo") as one, Ring("lo") as other:
        other.interface = "elsewhere"
        assert drops_by_interface([one, other]) == {
            "kernel_packets": 0,
            "kernel_drops": 0,
            "kernel_packets.lo": 0,
            "kernel_drops.lo": 0,
            "kernel_packets.elsewhere": 0,
            "kernel_drops.elsewhere": 0,
        }


@marked
def test_both_directions_are_seen() -> None:
    add_veth()
    with Ring("fsB0") as ring, sender("fsB0") as one, sender("fsB1") as other:
        one.send(PLAIN + b"1")
        other.send(PLAIN + b"2")
        assert sorted(frame.data[-1:] for frame in collect(ring, 2)) == [b"1", b"2"]


@marked
def test_loopback_shows_each_packet_once_and_offloaded_frames_whole() -> None:
    content = os.urandom(2_000_000)
    with Ring("lo") as ring, socket.create_server(("127.0.0.1", 0)) as server:
        client = socket.create_connection(server.getsockname())
        accepted, _ = server.accept()
        with accepted:
            sending = threading.Thread(target=lambda: (client.sendall(content), client.close()))
            sending.start()
            while accepted.recv(1 << 16):
                pass
            sending.join()
        payload: dict[int, bytes] = {}
        seen: set[tuple[bytes, int]] = set()
        longest = 0
        while sum(map(len, payload.values())) < len(content):
            for frame in collect(ring, 1):
                assert len(frame.data) == frame.wire
                longest = max(longest, frame.wire)
                source_port, _, sequence = struct.unpack_from(">HHI", frame.data, 34)
                body = frame.data[34 + (frame.data[46] >> 4) * 4 :]
                if body and source_port != server.getsockname()[1]:
                    packet = frame.data[18:20], sequence  # the IP identification: TCP may well send something again
                    assert packet not in seen, "seen twice"
                    seen.add(packet)
                    payload[sequence] = body
        assert longest > 30_000
    first = next(iter(payload))
    ordered = sorted(payload, key=lambda sequence: (sequence - first) & 0xFFFFFFFF)
    assert b"".join(payload[sequence] for sequence in ordered) == content


@marked
def test_interface_goes_down_and_comes_back() -> None:
    add_veth()
    with Ring("fsB1") as ring, sender("fsB0") as sending:
        ip("link", "set", "fsB1", "down")
        assert select.select([ring], [], [], WAIT_S)[0], "an event loop hears of it"
        assert list(ring.read()) == []
        assert ring.gone is not None
        assert "fsB1 is down" in ring.gone
        assert not select.select([ring], [], [], 0)[0], "and it does not spin"
        assert ring.check() == ring.gone
        ip("link", "set", "fsB1", "up")
        assert ring.check() is None
        sending.send(PLAIN)
        assert [frame.data for frame in collect(ring, 1)] == [PLAIN]
        ip("link", "set", "fsB1", "down")
        assert list(ring.read()) == []
        assert ring.gone is not None
        ip("link", "set", "fsB1", "up")
        sending.send(PLAIN)
        assert collect(ring, 1)
        assert ring.gone is None, "packets themselves tell that it is back"


@marked
def test_interface_vanishes_and_another_takes_its_name() -> None:
    add_veth()
    with Ring("fsB1") as ring, Ring("lo") as other:
        ip("link", "del", "fsB1")
        assert select.select([ring], [], [], WAIT_S)[0]
        assert list(ring.read()) == []
        assert ring.gone == "interface fsB1 has vanished: waiting for one of that name"
        assert ring.check() == ring.gone
        assert other.check() is None
        add_veth()
        assert ring.check() is None
        with sender("fsB0") as sending:
            sending.send(PLAIN)
            assert [frame.data for frame in collect(ring, 1)] == [PLAIN]


@marked
@needs_tun
def test_interface_comes_back_as_another_kind() -> None:
    add_veth()
    with Ring("fsB1") as ring:
        ip("link", "del", "fsB1")
        ip("tuntap", "add", "fsB1", "mode", "tun")
        assert "of another kind" in str(ring.check())


@marked
def test_interface_that_vanishes_while_down() -> None:
    """Nothing wakes an event loop then: `check` finds it."""
    add_veth()
    with Ring("fsB1") as ring:
        ip("link", "set", "fsB1", "down")
        assert "down" in str(ring.check())
        ip("link", "del", "fsB1")
        assert "vanished" in str(ring.check())
        ip("link", "add", "fsB0", "type", "veth", "peer", "name", "fsB1")
        assert "down" in str(ring.check())
        assert not select.select([ring], [], [], 0)[0]


@marked
def test_interface_is_renamed() -> None:
    add_veth()
    with Ring("fsB1") as ring, sender("fsB0") as sending:
        ip("link", "set", "fsB1", "name", "fsB2")
        assert ring.check() is None
        assert ring.interface == "fsB2"
        sending.send(PLAIN)
        assert collect(ring, 1)


@marked
def test_interface_down_from_the_start() -> None:
    ip("link", "set", "lo", "down")
    with Ring("lo") as ring:
        assert ring.gone is not None
        assert ring.gone.startswith("interface lo is down")
        assert "ip link set lo up" in ring.gone


@marked
def test_two_at_once() -> None:
    add_veth()
    with Ring("fsB1") as one, Ring("fsB1") as other, sender("fsB0") as sending:
        sending.send(PLAIN)
        assert collect(one, 1)[0].data == collect(other, 1)[0].data == PLAIN


@marked
def test_blocks_are_valid_until_the_next_one() -> None:
    add_veth()
    with Ring("fsB1") as ring, sender("fsB0") as sending:
        sending.send(PLAIN)
        assert select.select([ring], [], [], WAIT_S)[0]
        (block,) = ring.read()
        with pytest.raises(ValueError, match="released"):
            bytes(block.data)
        sending.send(PLAIN)
        assert select.select([ring], [], [], WAIT_S)[0]
        for block in ring.read():
            assert frames([block])[0].data == PLAIN
            break  # the block counts as read
        sending.send(PLAIN + b"next")
        assert [frame.data for frame in collect(ring, 1)] == [PLAIN + b"next"]


@marked
def test_closed_while_a_block_is_read() -> None:
    add_veth()
    ring = Ring("fsB1")
    with sender("fsB0") as sending:
        sending.send(PLAIN)
        assert select.select([ring], [], [], WAIT_S)[0]
    blocks = ring.read()
    block = next(blocks)
    ring.close()
    with pytest.raises(ValueError, match="released"):
        bytes(block.data)
    blocks.close()  # type: ignore[attr-defined]
    ring.close()


@marked
def test_a_full_ring_counts_what_it_drops() -> None:
    add_veth()
    with Ring("fsB1", blocks=2) as ring, sender("fsB0") as sending:
        for _ in range(1000):
            sending.send(PLAIN + bytes(1400))
        found = collect(ring, 1)
        packets, drops = ring.drops()
        assert packets == 1000
        assert drops > 500
        while len(found) < packets - drops:
            found += collect(ring, 1)
        assert len(found) == packets - drops


@marked
def test_longer_than_a_block_is_cut() -> None:
    add_veth()
    ip("link", "set", "fsB0", "mtu", "60000")
    ip("link", "set", "fsB1", "mtu", "60000")
    with Ring("fsB1", block_size=1 << 14) as ring, sender("fsB0") as sending:
        sending.send(PLAIN + bytes(50_000))
        (frame,) = collect(ring, 1)
        assert frame.wire == len(PLAIN) + 50_000
        assert 10_000 < len(frame.data) < 1 << 14
        assert frame.data.startswith(PLAIN)


def _udp(ports: list[int]) -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sending:
        for port in ports:
            sending.sendto(b"x" * 20, ("127.0.0.1", port))


def _target_ports(found: list[Frame]) -> list[int]:
    """Of UDP, without the ICMP errors that closed ports give."""
    return [struct.unpack_from(">H", frame.data, 36)[0] for frame in found if frame.data[23] == 17]


@marked
def test_filter_program_in_the_kernel() -> None:
    exclude = [Exclusion(port=7001), Exclusion(address="127.0.0.1", port=7003)]
    with Ring("lo", filter=compile_filter(exclude=exclude)) as ring:
        _udp([7000, 7001, 7002, 7003, 7004])
        found: list[int] = []
        while 7004 not in found:
            found += _target_ports(collect(ring, 1))
        assert found == [7000, 7002, 7004]


@marked
@needs_program("tcpdump")
def test_filter_expression_in_the_kernel() -> None:
    with Ring("lo", filter="udp and not port 7001") as ring:
        _udp([7000, 7001, 7002])
        assert _target_ports(collect(ring, 2)) == [7000, 7002]


@marked
def test_filter_that_the_kernel_refuses() -> None:
    with pytest.raises(CaptureError, match="does not take the capture filter"):
        Ring("lo", filter=[(0x15, 200, 200, 0)])


@marked
def test_no_such_interface() -> None:
    add_veth()
    for name in ("eth99", "", "n" * 100):
        with pytest.raises(CaptureError, match="no interface") as caught:
            Ring(name)
        assert str(caught.value).endswith("there are lo, fsB0, fsB1") or "fsB1, fsB0" in str(caught.value)


@marked
def test_no_privilege() -> None:
    os.seteuid(65534)
    try:
        with pytest.raises(CaptureError, match="no privilege to capture on lo"):
            Ring("lo")
    finally:
        os.seteuid(0)


@marked
def test_a_ring_that_does_not_fit() -> None:
    with pytest.raises(CaptureError, match="no capture ring for lo"):
        Ring("lo", blocks=1 << 20, block_size=1 << 22)


@marked
@needs_tun
def test_tunnels_give_raw_ip() -> None:
    device = os.open("/dev/net/tun", os.O_RDWR | os.O_CLOEXEC)
    try:
        fcntl.ioctl(device, 0x400454CA, struct.pack("16sH22x", b"fsBt", 0x1001))  # TUNSETIFF: IFF_TUN | IFF_NO_PI
        ip("link", "set", "fsBt", "addrgenmode", "none")
        ip("link", "set", "fsBt", "up")
        assert linktype_of("fsBt") == 101
        packet = struct.pack(">BBHHHBBH4s4s", 0x45, 0, 28, 1, 0, 64, 17, 0, bytes(4), bytes(4)) + bytes(8)
        with Ring("fsBt", index=3) as ring:
            os.write(device, packet)
            (frame,) = collect(ring, 1)
            assert (frame.data, frame.wire, frame.linktype, frame.interface) == (packet, 28, 101, 3)
    finally:
        os.close(device)


def test_linktype_of_what_is_not_there() -> None:
    assert linktype_of("lo") == 1
    with pytest.raises(CaptureError, match="no interface 'eth99'"):
        linktype_of("eth99")
