"""The same of flows made here, which say anything, count, and call."""

import random
import struct
from functools import cache
from pathlib import Path

import pytest

from flowsonar.app import Reading
from flowsonar.app.parts import Parts
from flowsonar.signatures import load_signatures
from tests.app.lanes import Net, same
from tests.needs import needs_native
from tests.protocols.hellos import client_hello, datagram, server_hello


def _address(chance: random.Random) -> str:
    return f"10.0.{chance.randrange(4)}.{chance.randrange(1, 200)}"


@cache
def _sayings() -> list[bytes]:
    found = [example.data for signature in load_signatures().services.values() for example in signature.examples]
    return [
        *found,
        b"",
        b"\0" * 6,
        b"\0\0\0",
        b"GET / HTTP/1.1\r\nHost: a.example:8080\r\n\r\n",
        b'GET / HTTP/1.1\r\nhost:  \xe9"\\.example \r\n\r\n',
        b"GET / HTTP/1.1\r\nHost: :80\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: a:\xb2\r\n\r\n",
        b"GET http://b.example/ui/ HTTP/1.0\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nServer: nginx/1.18.0\r\nX-Powered-By: Express\r\n\r\n",
        b"HTTP/1.0 404 Not Found\r\n\r\n",
        b"220 ",
        b"hello",
        b"\x8e\x01\xf0\x99\xc3\x5a\x77\x12" * 4,
    ]


@needs_native()
@pytest.mark.parametrize("seed", range(3))
def test_flows_that_say_anything(tmp_path: Path, parts: Parts, seed: int) -> None:
    """Each flow says words of the signatures' examples, whole, cut, joined or changed, in any order and direction."""
    chance, net, sayings = random.Random(seed), Net(), _sayings()
    ports = [53, 80, 443, 21, 25, 5353, 7, 123, 161, 1900, 5060, 6881, 137, 33033]
    for _ in range(500):
        says = []
        for _ in range(chance.randrange(5)):
            data = chance.choice(sayings)
            kind = chance.randrange(8)
            if kind == 0:
                data = data[: chance.randrange(len(data) + 1)]
            elif kind == 1:
                data += chance.choice(sayings)
            elif kind == 2 and data:
                at = chance.randrange(len(data))
                data = data[:at] + chance.randbytes(1) + data[at + 1 :]
            says.append((chance.randrange(2), data[:1400]))
        if says and chance.random() < 0.3:
            says.append((1 - says[0][0], says[0][1]))  # an echo
        client = _address(chance), chance.randrange(1024, 60000)
        server = _address(chance), chance.choice(ports) if chance.random() < 0.5 else chance.randrange(1, 60000)
        kind = chance.randrange(10)
        if kind < 5:
            net.conversation(client, server, says, syn=kind > 0)
        elif kind < 9:
            for who, data in says or [(0, b"x")]:
                net.udp((client, server)[who], (client, server)[1 - who], data)
        else:
            net.packet(chance.choice([1, 2, 47, 50, 132, 200]), client[0], server[0], chance.randbytes(40))
        if chance.random() < 0.02:
            net.now_us += chance.randrange(200_000_000)
    counters = same([net.write(tmp_path / "any.pcap")], parts)
    assert counters["lane_flows"] > 100


class _Counter:
    """One side of media or a tunnel that counts, as a rule."""

    def __init__(self, chance: random.Random, kind: str) -> None:
        self._chance, self._kind = chance, kind
        self.source, self.other = chance.randbytes(4), b"\0\0\0\0"
        self._number = chance.randrange(1 << 16)

    def datagram(self) -> bytes:
        chance = self._chance
        source, step = self.source, 1
        match chance.randrange(12):
            case 0:
                source = chance.randbytes(4)
            case 1:
                step = chance.choice([0, 2, 8, 9, 64, 65, -1])
            case 2:
                return chance.randbytes(chance.randrange(40))
        self._number += step
        number = self._number
        if self._kind == "wireguard":
            return b"\x04\0\0\0" + source + struct.pack("<Q", number) + bytes(16) * chance.randrange(3)
        if self._kind == "esp":
            return source + struct.pack("!I", number) + bytes(chance.choice([7, 8, 16, 40]))
        if chance.randrange(5) == 0:
            about = chance.choice([self.other, source, b""])
            if chance.randrange(4) == 0:  # with the name of its source, or the time of day
                name = b"\x81\xca\0\x02" + chance.choice([source, self.other]) + b"\x01\x02ab"
                clock = struct.pack("!I", 1_700_000_000 + 2_208_988_800 + chance.choice([0, 90_000]))
                sender = b"\x80\xc8\0\x06" + source + clock + bytes(16)
                return chance.choice([b"\x80\xc9\0\x01" + source + name, sender, sender + name, sender + bytes(4)])
            report = about + bytes(20) if about else b""
            size = chance.choice([len(report) // 4 + 1, 1, 7])
            head = struct.pack(
                "!BBH", 0x80 | (1 if report else chance.randrange(3)), chance.choice([201, 201, 200, 205]), size
            )
            return head + source + report + b"\x81\xca\0\x02" * chance.randrange(2) + bytes(chance.randrange(9))
        kind = chance.choice([0, 8, 8, 8, 96, 96, 111, 127, 60])
        head = struct.pack(
            "!BBHI", chance.choice([0x80, 0x80, 0x90, 0x81]), kind, number & 0xFFFF, number * 160 & 0xFFFFFFFF
        )
        return head + source + bytes(chance.choice([0, 2, 4, 20, 160]))


@needs_native()
@pytest.mark.parametrize("kind", ["media", "wireguard", "esp"])
def test_datagrams_that_count(tmp_path: Path, parts: Parts, kind: str) -> None:
    chance, net = random.Random(kind), Net()
    stun = b"\0\x01\0\0\x21\x12\xa4\x42" + bytes(range(12))
    for number in range(400):
        sides = _Counter(chance, kind), _Counter(chance, kind)
        sides[0].other, sides[1].other = sides[1].source, sides[0].source
        port = chance.choice([4500, 5353, 1000, 20000, 30000]) if kind != "esp" else 4500
        ends = (_address(chance), 10000 + number), (_address(chance), port)
        if chance.randrange(4) == 0:
            net.udp(*ends, stun)
        if chance.randrange(8) == 0:
            net.udp(*ends, chance.choice(_sayings()[:300])[:1400] or b"x")
        for _ in range(chance.randrange(1, 12)):
            who = chance.randrange(2) if number % 3 else 0
            net.udp(ends[who], ends[1 - who], sides[who].datagram())
    counters = same([net.write(tmp_path / "any.pcap")], parts)
    assert counters["taught_flows"] > 50  # which examples are chosen changes with the signatures


def _call(chance: random.Random) -> list[tuple[int, bytes]]:
    """What the two sides of a call say: tests of the way, TURN's messages and channels, DTLS, media, anything."""
    cookie, says = b"\x21\x12\xa4\x42", []
    source = chance.randbytes(4)
    for number in range(1, chance.choice([4, 10, 31, 151])):
        kind = chance.choice(
            [b"\0\x01", b"\0\x01", b"\x01\x01", b"\x01\x01", b"\0\x11", b"\0\x03", b"\x01\x13", b"\0\x17"]
        )
        more = chance.choice([b"", b"\0\x20\0\x08" + bytes(8), b"\x80\x22\0\x04Abc1", bytes(40)])
        message = kind + struct.pack("!H", len(more)) + cookie + chance.randbytes(12) + more
        media = struct.pack("!BBHI", 0x80, 96, number, 160 * number) + source + chance.randbytes(20)
        channel = b"\x40" + chance.choice([b"\0", b"\x01"]) + b"\0\x10" + chance.randbytes(16)
        other = chance.choice([b"\x50", b"\x7f", b"\xff\x10", b"\x17\xfe\xfd", b"\x03", b""]) + chance.randbytes(24)
        says.append((chance.randrange(2), chance.choices([message, media, channel, other], [12, 1, 2, 1])[0]))
        if chance.randrange(6) == 0:
            says += [says[-1]] * chance.randrange(3)  # captured more than once
    return says


@needs_native()
@pytest.mark.parametrize("seed", range(3))
def test_calls(tmp_path: Path, parts: Parts, seed: int) -> None:
    chance, net = random.Random(f"calls {seed}"), Net()
    calls = [_call(chance) for _ in range(60)]
    for number in range(240):
        port = chance.choice([3478, 4500, 20000])
        ends = (_address(chance), 10000 + number), (_address(chance), port)
        for who, data in calls[number % len(calls)][: chance.choice([5, 20, 400])]:
            net.udp(ends[who], ends[1 - who], data)
    counters = same([net.write(tmp_path / "any.pcap")], parts)
    assert counters["taught_flows"] > 50


def _hellos() -> list[bytes]:
    """Of DTLS: clients' with and without a name, keys for media, a cookie; servers'; and what is near them."""
    names, alpn, kinds = (
        ("", "a.example", "with space"),
        ((), ("webrtc",), ("h3", "\xff")),
        ((), (14,), (14, 23, 0xFE0D)),
    )
    clients = [
        datagram(client_hello(name=name, alpn=names_of, versions=(0xFEFC, 0xFEFD), extra=extra), cookie=cookie)
        for name in names
        for names_of in alpn
        for extra in kinds
        for cookie in (b"", b"\7" * 20)
    ]
    servers = [
        datagram(server_hello(version=version, alpn=name), cookie=None)
        for version in (None, 0xFEFC)
        for name in (None, "webrtc")
    ]
    return [
        *clients,
        clients[0][:70],
        clients[4][:-3],
        datagram(client_hello(), version=0xFEFE),
        *servers,
        servers[0][:50],
    ]


@needs_native()
@pytest.mark.parametrize("seed", range(3))
def test_hellos_of_datagrams(tmp_path: Path, parts: Parts, seed: int) -> None:
    chance, net = random.Random(f"hellos {seed}"), Net()
    hellos, stun = _hellos(), b"\0\x01\0\0\x21\x12\xa4\x42" + bytes(range(12))
    media = [struct.pack("!BBHI", 0x80, 96, number, 160 * number) + b"same" + bytes(20) for number in range(9)]
    others = [stun, b"\x17\xfe\xfd\0\1" + bytes(6) + b"\0\x10" + bytes(range(16)), b"hello", *media]
    for number in range(500):
        ends = (_address(chance), 10000 + number), (_address(chance), chance.choice([443, 3478, 20000]))
        some = chance.sample(hellos, 2)
        for _ in range(chance.randrange(1, 9)):
            who = chance.randrange(2)
            net.udp(ends[who], ends[1 - who], chance.choice([*some, *some, chance.choice(others)]))
    counters = same([net.write(tmp_path / "any.pcap")], parts)
    assert counters["taught_flows"] > 50


@needs_native()
def test_requests_between_peers(tmp_path: Path, parts: Parts) -> None:
    """Lengths of requests from the middle, whole and nearly so, after what else such a connection may begin with."""
    chance, net = random.Random(4), Net()
    lengths = [9, 17, 17, 17, 26, 34, 36, 40]
    for _ in range(300):
        says: list[tuple[int, bytes]] = [(1, chance.randbytes(chance.choice([5, 300, 1448])))] * chance.randrange(3)
        for _ in range(chance.randrange(5)):
            says.append((0, chance.randbytes(chance.choice(lengths))))
            says += [(1, chance.randbytes(1448)) for _ in range(chance.choice([0, 10, 11, 12]))]
        client = (_address(chance), chance.randrange(20000, 60000))
        net.conversation(client, (_address(chance), 28400), says, syn=chance.randrange(5) == 0)
    counters = same([net.write(tmp_path / "requests.pcap")], parts)
    assert counters["flows"] > 200


@needs_native()
def test_acknowledgements_and_enciphered_reports(tmp_path: Path, parts: Parts) -> None:
    """SRT between data, one direction and both; reports of SRTCP, and some that only begin so."""
    chance, net = random.Random(12), Net()
    for flow in range(6):
        ends = (f"10.0.{flow}.1", 4000), (f"10.0.{flow}.9", 5000)
        begun_us = net.now_us
        for number in range(6):
            sent_us = net.now_us - begun_us + 90_000
            if flow % 3 < 2:
                net.udp(*ends, struct.pack("!IIII", 900 + number, 0xE0000000 + number, sent_us, 9) + b"G" * 300)
            if flow % 3:
                net.udp(*ends[::-1], struct.pack("!IIII", 0x80020000, number + 1, sent_us + 500, 8) + bytes(28))
            if flow % 3 < 2:
                net.udp(*ends, struct.pack("!IIII", 0x80060000, number + 1, sent_us + 900, 9) + bytes(4 * (flow < 3)))
        report = bytes.fromhex("80c80006") + chance.randbytes(24) + (b"\x80\0\0\2" if flow % 2 else b"\x81\0\0\2")
        net.udp((ends[0][0], 6001), (ends[1][0], 6001), report + chance.randbytes(10 if flow < 4 else 0))
    capture = net.write(tmp_path / "media.pcap")
    same([capture], parts)
    found = [(one.key.responder_port, one.verdict.service) for one in Reading([capture], parts=parts)]
    assert sum(label == (6001, "rtp") for label in found) == 3
    assert sum(service == "srt" for _, service in found) == 6


@needs_native()
def test_hellos_that_only_a_pattern_reads(tmp_path: Path, parts: Parts) -> None:
    """In the middle, after words that tell nothing, a hello is no codec's: its text is the pattern's, for each flow."""
    net = Net()
    for number in range(8):
        ends = ("10.1.0.1", 40000 + number), ("10.1.0.2", 21025)
        says = [(0, b"AAAA %d\r\n" % number), (0, client_hello(name=f"n{number}.example"))][: 1 + (number > 0)]
        net.conversation(*ends, says, syn=False)
    counters = same([net.write(tmp_path / "any.pcap")], parts)
    assert counters["taught_flows"] >= 8
