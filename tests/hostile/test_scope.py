"""Seen on the wire: no packet leaves for what may not be asked, whoever names it."""

from __future__ import annotations

import signal
import socket
import struct
from collections.abc import Iterator
from pathlib import Path

import pytest

from flowsonar.probes.control import PORTS
from tests.hostile import packets
from tests.hostile.conftest import ip
from tests.hostile.running import Running, flowsonar
from tests.needs import needs_root

pytestmark = needs_root()

SIGNATURE = """
service = "rude"
title = "A service whose file names what may not be asked"
class = "default"
ports = { tcp = [9100, 502, 80], udp = [67, 47808, 5353] }
references = ["none"]

[[probe]]
name = "push"
transport = "tcp"
send = 'rude\\r\\n'
rarity = 1

[[probe]]
name = "shout"
transport = "udp"
send = 'rude-amplifying\\r\\n'
amplifies = true
rarity = 1

[[probe]]
name = "say"
transport = "udp"
send = 'rude-plain\\r\\n'
rarity = 2

[[reply]]
name = "yes"
pattern = '^rude-yes-indeed'
confidence = "confirmed"

[[example]]
after = "push"
bytes = 'rude-yes-indeed'
pattern = "yes"
source = "made up"

[[example]]
after = "push"
bytes = 'rude-no'
matches = false
source = "made up"
"""
NEVER = ["10.7.0.2:9100-9107", "10.7.0.2:502", "10.7.0.2:102", "10.7.0.2:515", "10.7.0.2:67/udp", "10.7.0.2:47808/udp"]
OUTSIDE = ["192.0.2.9:80", "192.0.2.9:53/udp", "[2001:db8::9]:80", "198.51.100.255:80", "224.0.0.1:80", "0.0.0.0:80"]
EXCLUDED = ["10.7.0.3:80", "10.7.0.2:81", "10.7.0.2:8080"]
EXCLUDE = ["--exclude", "10.7.0.3", "--exclude", "10.7.0.2:81", "--exclude", ":8080"]
MAPPED = ["[::ffff:192.0.2.9]:80", "[::ffff:10.7.0.2]:9100", "[::ffff:10.7.0.3]:80"]
PERMITTED = ("10.7.0.2", 80)


class Listener:
    """Every IP packet that comes out of the wire's far end."""

    def __init__(self, name: str) -> None:
        self._socket = socket.socket(socket.AF_PACKET, socket.SOCK_DGRAM, socket.htons(0x0003))
        self._socket.bind((name, 0x0003))
        self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1 << 24)
        self._socket.setblocking(False)

    def heard(self) -> list[tuple[str, int, int, bytes]]:
        """Address, protocol, port and bytes of each packet that we sent; our own neighbours' discovery left out."""
        found = []
        while True:
            try:
                data, source = self._socket.recvfrom(65536)
            except BlockingIOError:
                return found
            if source[2] == socket.PACKET_OUTGOING:
                continue
            if source[1] == 0x0800:
                size = (data[0] & 15) * 4
                address, protocol = socket.inet_ntoa(data[16:20]), data[9]
            elif source[1] == 0x86DD:
                size, protocol = 40, data[6]
                address = socket.inet_ntop(socket.AF_INET6, data[24:40])
            else:
                continue
            if protocol in (6, 17):
                found.append((address, protocol, struct.unpack_from("!H", data, size + 2)[0], data[size:]))

    def close(self) -> None:
        self._socket.close()


@pytest.fixture
def heard(wire: tuple[str, str]) -> Iterator[Listener]:
    """All the world is reached through the wire; nobody is there, and everybody's hardware address is known."""
    ip("address", "add", "10.7.0.1/16", "dev", wire[0])
    ip("address", "add", "2001:db8::1/64", "dev", wire[0], "nodad")
    for network in ("192.0.2.0/24", "198.51.100.0/24", "224.0.0.0/4"):
        ip("route", "add", network, "dev", wire[0])
    for address in ("10.7.0.2", "10.7.0.3", "192.0.2.9", "198.51.100.255", "2001:db8::9"):
        ip("neighbour", "replace", address, "lladdr", "02:00:00:00:00:99", "dev", wire[0])
    listener = Listener(wire[1])
    yield listener
    listener.close()


@pytest.fixture
def signatures(tmp_path: Path) -> Path:
    folder = tmp_path / "signatures"
    folder.mkdir()
    (folder / "rude.toml").write_text(SIGNATURE, encoding="ascii")
    return folder


def test_no_list_of_targets_opens_what_is_closed(tmp_path: Path, heard: Listener, signatures: Path) -> None:
    closed = [*NEVER, *OUTSIDE, *EXCLUDED, *MAPPED]
    options = ["--signatures", str(signatures), "--timeout", "0.3", "--json", *EXCLUDE]
    result = flowsonar(tmp_path, "probe", *options, *closed)
    assert heard.heard() == []
    assert {record["flowsonar"]["outcome"] for record in result.records()} == {"not-permitted"}
    flowsonar(tmp_path, "probe", *options, "10.7.0.2:80", *closed)
    assert {packet[0:3] for packet in heard.heard()} == {(PERMITTED[0], 6, PERMITTED[1])}


def test_a_scope_opens_its_network_and_no_never_port(tmp_path: Path, heard: Listener, signatures: Path) -> None:
    options = ["--signatures", str(signatures), "--timeout", "0.3", "--scope", "192.0.2.0/24", *EXCLUDE]
    targets = ["192.0.2.9:80", "192.0.2.9:9100", "192.0.2.9:502", "192.0.2.9:8080", "192.0.2.255:80", "192.0.2.0:80"]
    flowsonar(tmp_path, "probe", *options, *targets, *NEVER)
    assert {packet[0:3] for packet in heard.heard()} == {("192.0.2.9", 6, 80)}


def test_what_amplifies_stays_at_home(tmp_path: Path, heard: Listener, signatures: Path) -> None:
    options = ["--signatures", str(signatures), "--timeout", "6", "--scope", "192.0.2.0/24", "--max-probes", "60"]
    flowsonar(tmp_path, "probe", *options, "192.0.2.9:5353/udp", "10.7.0.2:5353/udp")
    said: dict[str, list[bytes]] = {}
    for address, _, _, data in heard.heard():
        said.setdefault(address, []).append(data)
    assert any(b"rude-amplifying" in data for data in said["10.7.0.2"])
    assert any(b"rude-plain" in data for data in said["192.0.2.9"])
    assert not any(b"rude-amplifying" in data for data in said["192.0.2.9"])


def flows() -> list[bytes]:
    """Conversations with endpoints that may not be asked, and one with one that may."""
    found = []
    servers = [
        ("10.7.0.2", 9100),
        ("10.7.0.2", 502),
        ("192.0.2.9", 80),
        ("10.7.0.3", 80),
        ("10.7.0.2", 8080),
        PERMITTED,
    ]
    for number, server in enumerate(servers):
        client = ("192.0.2.77", 3000 + number)
        found.append(packets.tcp(client, server, flags=0x02))
        found.append(packets.tcp(server, client, flags=0x12))
        found.append(packets.tcp(client, server, flags=0x18, sequence=2, data=b"\x01\x02\x03 what is this"))
    return found


@pytest.mark.parametrize("way", ["watch", "passive", "dry-run"])
def test_flows_that_are_watched_open_nothing(
    tmp_path: Path, wire: tuple[str, str], heard: Listener, signatures: Path, way: str
) -> None:
    options = ["--signatures", str(signatures), "--json", *EXCLUDE]
    options += [] if way == "watch" else [f"--{way}"]
    sender = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, 0)
    sender.bind((wire[1], 0x0003))
    with (
        sender,
        Running(tmp_path, "watch", "-i", wire[0], *options, "--duration", "3" if way == "watch" else "1.5") as running,
    ):
        running.await_capture()
        for frame in flows():
            sender.send(frame)
        if way == "passive":
            running.signal(signal.SIGINT)
        assert running.end() == 0
        assert len({record.get("dest_port") for record in running.records()}) >= 4
    asked = {packet[0:3] for packet in heard.heard() if packet[2] < 3000 or packet[0] != "192.0.2.77"}
    control = {(address, protocol) for address, protocol, port in asked if port >= PORTS[0]}  # of a host that is silent
    assert control <= {(PERMITTED[0], 6)}
    asked = {packet for packet in asked if packet[2] < PORTS[0]}
    assert asked == ({(PERMITTED[0], 6, PERMITTED[1])} if way == "watch" else set())


def test_a_capture_opens_nothing(tmp_path: Path, heard: Listener, signatures: Path) -> None:
    capture = tmp_path / "flows.pcap"
    header = bytes.fromhex("d4c3b2a1020004000000000000000000ffff000001000000")
    rows = [struct.pack("<IIII", 1, 0, len(frame), len(frame)) + frame for frame in flows()]
    capture.write_bytes(header + b"".join(rows))
    flowsonar(tmp_path, "read", "--probe", "--signatures", str(signatures), *EXCLUDE, capture)
    assert {packet[0:3] for packet in heard.heard()} == {(PERMITTED[0], 6, PERMITTED[1])}
