"""The same of flows whose segments overtake each other (`_native/lane_late.c`)."""

import random
from pathlib import Path

import pytest

from flowsonar.app.parts import Parts
from tests.app.lanes import Net, same
from tests.needs import needs_native
from tests.protocols.hellos import client_hello, server_hello

_GET = b"GET /index.html HTTP/1.1\r\nHost: late.example\r\nUser-Agent: curl/8.0\r\n\r\n"
_OK = b"HTTP/1.1 200 OK\r\nServer: nginx/1.22.1\r\nContent-Length: 900\r\n\r\n" + b"x" * 900


def _record(message: bytes) -> bytes:
    return b"\x16\x03\x03" + len(message).to_bytes(2, "big") + message


def _talks() -> list[tuple[bytes, bytes]]:
    """What clients and servers say."""
    certificate = b"\x0b" + (2000).to_bytes(3, "big") + bytes(range(250)) * 8
    return [
        (_record(client_hello(name="late.example")), _record(server_hello()) + _record(certificate)),
        (_record(client_hello(name="other.example", alpn=("h2",))), _record(server_hello(alpn="h2") + certificate)),
        (_GET, _OK),
        (b"EHLO late.example\r\n", b"220 mail.example ESMTP Postfix\r\n250-mail.example\r\n250 HELP\r\n" * 20),
        (b"SSH-2.0-OpenSSH_9.2\r\n" + bytes(300), b"SSH-2.0-OpenSSH_9.2p1 Debian-2\r\n" + bytes(range(200))),
        (bytes(range(200)), bytes(range(100, 250)) * 9),
    ]


def _segments(chance: random.Random, data: bytes) -> list[tuple[int, bytes]]:
    """Offset and bytes, in some order; some overlap, some come twice, and the first one may not come at all."""
    size = chance.choice([60, 200, 536, 1400])
    found = [(at, data[at : at + size]) for at in range(0, len(data), size)]
    kind = chance.randrange(6)
    if kind < 3:
        at = chance.randrange(min(3, len(found)))
        found.insert(at, found.pop(chance.randrange(at, min(at + 5, len(found)))))
    elif kind == 3:
        found = chance.sample(found, len(found))
    if chance.randrange(4) == 0:
        at = chance.randrange(len(data))
        found.insert(chance.randrange(len(found) + 1), (at, data[at : at + size]))
    if chance.randrange(6) == 0:
        found.remove(min(found))
    return found


def _flow(chance: random.Random, net: Net, number: int) -> None:
    """A connection; its sides take turns as it happens."""
    ends = (f"10.0.0.{1 + number % 250}", 10000 + number), ("10.9.9.9", chance.choice([80, 443, 25, 20000]))
    numbers = [1000, 5000]
    if chance.randrange(8):
        net.tcp(*ends, 0x02, 999, 0, b"")
        net.tcp(*ends[::-1], 0x12, 4999, 1000, b"")
    says = [_segments(chance, data) for data in chance.choice(_talks())]
    while any(says):
        who = 0 if says[0] and (not says[1] or chance.randrange(4)) else 1
        at, data = says[who].pop(0)
        net.tcp(ends[who], ends[1 - who], 0x18, numbers[who] + at, numbers[1 - who], data)
        if chance.randrange(40) == 0:
            net.tcp(ends[who], ends[1 - who], 0x18, numbers[who], numbers[1 - who], b"\0")
    if chance.randrange(2):
        net.tcp(*ends, 0x04, numbers[0] + 100_000, 0, b"")


@needs_native()
@pytest.mark.parametrize("seed", range(4))
def test_segments_in_any_order(tmp_path: Path, parts: Parts, seed: int) -> None:
    chance, net = random.Random(f"late {seed}"), Net()
    for number in range(600):
        _flow(chance, net, number)
    counters = same([net.write(tmp_path / "late.pcap")], parts)
    assert counters["taught_flows"] > 200


@needs_native()
def test_a_servers_first_segments_that_overtake_each_other_stay_in_the_fast_lane(tmp_path: Path, parts: Parts) -> None:
    net, (hello, flight) = Net(), _talks()[0]
    for number in range(8):
        ends = ("10.0.0.1", 10000 + number), ("10.9.9.9", 443)
        net.tcp(*ends, 0x02, 999, 0, b"")
        net.tcp(*ends[::-1], 0x12, 4999, 1000, b"")
        net.tcp(*ends, 0x18, 1000, 5000, hello)
        for at in (0, 700, 1400) if number < 2 else (700, 0, 1400):
            net.tcp(*ends[::-1], 0x18, 5000 + at, 1000, flight[at : at + 700])
    counters = same([net.write(tmp_path / "late.pcap")], parts)
    assert counters["taught_flows"] == 8
