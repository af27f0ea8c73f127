"""The same of flows in tunnels: one in another, of both versions of IP, with equal addresses inside."""

import random
import struct
from collections.abc import Callable
from pathlib import Path

import pytest

from flowsonar.app import Reading
from flowsonar.app.parts import Parts
from tests.app.lanes import Net, same
from tests.flows import tunnels
from tests.flows.frames import ipv4, ipv6, udp
from tests.needs import needs_native

_QUERY = bytes.fromhex("1234 0100 0001 0000 0000 0000 07 6578616d706c65 00 0001 0001")
_MAPPED = bytes(10) + b"\xff\xff" + bytes([192, 0, 2, 9])
_ENDS = [(tunnels.A, tunnels.B), (tunnels.B, tunnels.C), (tunnels.A6, tunnels.B6), (_MAPPED, tunnels.B6)]


def _around(chance: random.Random, depth: int) -> Callable[[bytes, bool], bytes]:
    """What puts a stack of tunnels around a packet; the second argument: the other way."""
    kinds = [tunnels.gre, tunnels.vxlan, tunnels.geneve, tunnels.gtp, tunnels.in_ip, tunnels.l2tp, tunnels.pptp]
    stack = [(chance.choice(kinds), chance.choice(_ENDS)) for _ in range(depth)]

    def put(packet: bytes, back: bool) -> bytes:
        for kind, ends in stack:
            packet = kind(packet, *(ends[::-1] if back else ends))
        return packet

    return put


def _tcp(data: bytes, ports: tuple[int, int], flags: int, sequence: int, ack: int) -> bytes:
    return struct.pack("!HHIIBBHHH", *ports, sequence, ack, 0x50, flags, 65535, 0, 0) + data


def _flow(chance: random.Random, net: Net, number: int) -> None:
    put = _around(chance, chance.randrange(4))
    six, port = chance.randrange(3) == 0, 10000 + number % 7
    one, other = (tunnels.A6, tunnels.B6) if six else (bytes([10, 0, 0, 1]), bytes([10, 0, 0, 2]))
    ip = ipv6 if six else ipv4

    def send(body: bytes, protocol: int, back: bool) -> None:
        net.raw(put(ip(body, protocol, *((other, one) if back else (one, other))), back))

    if number % 2:
        send(udp(_QUERY, port, 53), 17, False)
        send(udp(_QUERY[:2] + b"\x81\x80" + _QUERY[4:], 53, port), 17, True)
        return
    send(_tcp(b"", (port, 80), 0x02, 99, 0), 6, False)
    send(_tcp(b"", (80, port), 0x12, 499, 100), 6, True)
    request = b"GET / HTTP/1.1\r\nHost: %d.example\r\n\r\n" % (number % 5)
    send(_tcp(request, (port, 80), 0x18, 100, 500), 6, False)
    send(_tcp(b"HTTP/1.1 200 OK\r\nServer: nginx\r\n\r\n", (80, port), 0x18, 500, 100 + len(request)), 6, True)
    if chance.randrange(2):
        send(_tcp(b"", (port, 80), 0x04, 100 + len(request), 0), 6, False)


@needs_native()
@pytest.mark.parametrize("seed", range(3))
def test_flows_in_tunnels(tmp_path: Path, parts: Parts, seed: int) -> None:
    chance, net = random.Random(f"tunnels {seed}"), Net()
    for number in range(400):
        _flow(chance, net, number)
    capture = net.write(tmp_path / "tunnels.pcap")
    counters = same([capture], parts)
    assert counters["taught_flows"] > 200
    assert {len(record.hops) for record in Reading([capture], parts=parts)} == {0, 1, 2, 3}
