"""The fast lane writes what the reference says: the same records of the same captures, with it and without it."""

import random
import struct
from functools import cache
from ipaddress import IPv4Address
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, cast

import pytest

from flowsonar import _native
from flowsonar.app import Reading
from flowsonar.app.lanes import LaneTable, lanes_wanted
from flowsonar.app.parts import Parts
from flowsonar.config import FlowSettings, Settings
from flowsonar.flows.table import make_table
from flowsonar.model import FlowRecord
from flowsonar.outputs.decode import records
from flowsonar.outputs.eve import encode
from flowsonar.signatures import cachefile, load_signatures
from tests.app.rows import row
from tests.needs import CORPUS, needs_corpus, needs_native
from tests.protocols.hellos import client_hello, datagram, server_hello

SKYPE = CORPUS / "skype" / "SkypeIRC.cap"


@pytest.fixture(scope="module")
def parts() -> Parts:
    return Parts.load(Settings())


def _records(
    captures: list[Path], parts: Parts, *, lanes: bool, cache: Path | None = None
) -> tuple[list[bytes], dict[str, int]]:
    reading = Reading(captures, parts=parts, cache=cache)
    lines: list[bytes] = []
    if lanes:
        for ended in reading.lines():
            for one in ended:
                lines += one.splitlines(keepends=True) if isinstance(one, bytes) else [encode(one)]
    else:
        lines = [encode(record) for record in reading]
    return lines, reading.counters


def _same(captures: list[Path], parts: Parts) -> dict[str, int]:
    """Compare what the fast lane writes when it knows nothing, and when it was taught before, with the reference."""
    slow, _ = _records(captures, parts, lanes=False)
    rows = [row(record) for record in Reading(captures, parts=parts)]
    with TemporaryDirectory() as folder:
        fast, counters = _records(captures, parts, lanes=True, cache=Path(folder))
        taught, again = _records(captures, parts, lanes=True, cache=Path(folder))
        whole = Reading(captures, parts=parts, cache=Path(folder)).lines(whole=True)
        assert [row(record) for ended in whole for record in records(ended)] == rows
    for lines in (fast, taught):
        assert len(lines) == len(slow)
        for one, other in zip(lines, slow, strict=True):
            assert one == other
    assert again["lane_flows"] >= counters["lane_flows"]
    assert counters["flows"] == sum(b'"reason":"active"' not in line for line in fast)
    return {**counters, "taught_flows": again["lane_flows"]}


# -- captures made here -----------------------------------------------------------------------------------------


class Net:
    """Writes a capture packet by packet; the clock goes on by itself."""

    def __init__(self) -> None:
        self._packets: list[bytes] = []
        self.now_us = 1_700_000_000_000_000

    def packet(self, protocol: int, source: str, destination: str, body: bytes) -> None:
        ends = IPv4Address(source).packed + IPv4Address(destination).packed
        head = struct.pack("!BBHHHBBH", 0x45, 0, 20 + len(body), 0, 0, 64, protocol, 0)
        data = head + ends + body
        seconds, rest = divmod(self.now_us, 1_000_000)
        self._packets.append(struct.pack("<IIII", seconds, rest, len(data), len(data)) + data)
        self.now_us += 777

    def udp(self, source: tuple[str, int], destination: tuple[str, int], data: bytes) -> None:
        body = struct.pack("!HHHH", source[1], destination[1], 8 + len(data), 0) + data
        self.packet(17, source[0], destination[0], body)

    def tcp(
        self, source: tuple[str, int], destination: tuple[str, int], flags: int, sequence: int, ack: int, data: bytes
    ) -> None:
        head = struct.pack("!HHIIBBHHH", source[1], destination[1], sequence, ack, 0x50, flags, 65535, 0, 0)
        self.packet(6, source[0], destination[0], head + data)

    def conversation(
        self, client: tuple[str, int], server: tuple[str, int], says: list[tuple[int, bytes]], *, syn: bool = True
    ) -> None:
        """Segments in turn: who (0 the client) and what."""
        ends = (client, server)
        numbers = [1000, 5000]
        if syn:
            self.tcp(client, server, 0x02, 999, 0, b"")
            self.tcp(server, client, 0x12, 4999, 1000, b"")
        for who, data in says:
            self.tcp(ends[who], ends[1 - who], 0x18, numbers[who], numbers[1 - who], data)
            numbers[who] += len(data)

    def write(self, path: Path) -> Path:
        head = struct.pack("<IHHiIII", 0xA1B2C3D4, 2, 4, 0, 0, 65535, 101)
        path.write_bytes(head + b"".join(self._packets))
        return path


def _table(parts: Parts) -> LaneTable:
    return cast("LaneTable", make_table(FlowSettings(capacity=16), lanes=parts.lane_tables))


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
    counters = _same([net.write(tmp_path / "any.pcap")], parts)
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
    counters = _same([net.write(tmp_path / "any.pcap")], parts)
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
    counters = _same([net.write(tmp_path / "any.pcap")], parts)
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
    counters = _same([net.write(tmp_path / "any.pcap")], parts)
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
    counters = _same([net.write(tmp_path / "requests.pcap")], parts)
    assert counters["flows"] > 200


@needs_native()
def test_later_flows_of_a_known_kind_stay_in_the_fast_lane(tmp_path: Path, parts: Parts) -> None:
    net = Net()
    for number in range(400):  # several blocks: what one teaches, the next ones know
        client = "10.0.0.1", 2000 + number
        net.conversation(
            client,
            ("10.0.0.2", 8000),
            [
                (0, b"GET /%d HTTP/1.1\r\nHost: h%d.example\r\n\r\n" % (number, number)),
                (1, b"HTTP/1.1 200 OK\r\nServer: nginx/1.18.0\r\n\r\n" + b"x" * 900),
            ],
        )
        net.conversation(client, ("10.0.0.3", 9000), [(0, b"\x01\x02" * 10)])
        net.conversation(client, ("10.0.0.4", 22), [])
        net.now_us += 1_000_000
    counters = _same([net.write(tmp_path / "web.pcap")], parts)
    assert counters["lane_flows"] > 600


@needs_native()
def test_what_one_capture_taught_the_next_one_knows(tmp_path: Path, parts: Parts) -> None:
    """Peers' words are not in what is kept, and what they were is still told."""
    captures = []
    for port in (2000, 3000):
        net = Net()
        says = [(1, b"* OK [CAPABILITY IMAP4rev1] secret.example Dovecot (Debian) ready.\r\n"), (0, b"a NOOP\r\n")]
        net.conversation(("10.0.0.1", port), ("10.0.0.2", 2143), says)
        captures.append(net.write(tmp_path / f"{port}.pcap"))
    cache = tmp_path / "cache"
    _, first = _records(captures[:1], parts, lanes=True, cache=cache)
    lines, second = _records(captures[1:], parts, lanes=True, cache=cache)
    assert (first["lane_flows"], second["lane_flows"]) == (0, 1)
    assert lines == _records(captures[1:], parts, lanes=False)[0]
    [kept] = cache.iterdir()
    assert b"imap" in kept.read_bytes()
    assert b"secret" not in kept.read_bytes()
    _, both = _records(captures, parts, lanes=True, cache=tmp_path / "other")
    assert both["lane_flows"] == 1  # within a run too


def _known_by_heart(table: LaneTable, data: bytes) -> None:
    """What the patterns met in another table is looked up: they make no step anew, and say the same."""
    again: Any = table
    ports = (40001, 22)
    said = again.holding(False, data, *ports, True)
    assert said
    assert table.lane_counts()["lane_steps"] == 0
    assert again.holding(False, b"RFB 003.008\n", *ports, True) != said
    assert table.lane_counts()["lane_steps"] > 0


@needs_native()
def test_damaged_memory_is_no_memory(tmp_path: Path, parts: Parts) -> None:
    net = Net()
    net.conversation(("10.0.0.1", 2000), ("10.0.0.2", 22), [(1, b"SSH-2.0-OpenSSH_9.2\r\n")])
    capture = net.write(tmp_path / "one.pcap")
    table = _table(parts)
    assert table.recall(_table(parts).keep())
    _records([capture], parts, lanes=True, cache=tmp_path / "cache")
    [file] = (tmp_path / "cache").iterdir()
    kept = cachefile.load(file.parent, file.name)
    assert kept is not None
    assert _table(parts).recall(kept)
    chance = random.Random(1)
    for size in (0, 3, 27, 40, len(kept) // 2, len(kept) - 1):
        assert not _table(parts).recall(kept[:size])
    for _ in range(200):
        at = chance.randrange(len(kept))
        _table(parts).recall(kept[:at] + chance.randbytes(1) + kept[at + 1 :])
    assert not table.recall(kept + kept) or table.keep()
    known = _table(parts)
    assert known.recall(kept)
    _known_by_heart(known, b"SSH-2.0-OpenSSH_9.2\r\n")
    file.write_bytes(b"no memory at all" * 9)
    lines, _ = _records([capture], parts, lanes=True, cache=file.parent)
    assert lines == _records([capture], parts, lanes=False)[0]


@needs_native()
def test_every_protocol_has_its_community_id(tmp_path: Path, parts: Parts) -> None:
    net = Net()
    for protocol in range(256):
        if protocol not in {4, 41, 44, 47, 97, 137}:  # what is inside is not here
            net.packet(protocol, "10.0.0.1", "10.0.0.2", bytes(40))
    for kind in (*range(20), 30, 128, 129, 255):
        for code in range(3):
            ends = f"10.1.{kind}.{1 + code % 2}", f"10.1.{kind}.{2 - code % 2}"
            net.packet(1, *ends, bytes((kind, code)) + b"\0\0\x12\x34\0\x01" + bytes(20))
    counters = _same([net.write(tmp_path / "all.pcap")], parts)
    assert counters["taught_flows"] > 250


@needs_native()
def test_ftp_data_flows_are_announced(tmp_path: Path, parts: Parts) -> None:
    """The data connection, which says nothing that is known, comes before or after the reply that announces it."""
    for early in (False, True):
        net = Net()
        server, client = "10.0.0.9", "10.0.0.1"
        data = [(1, b"some file's bytes"), (1, b"and more of them")]
        control = [
            (1, b"220 (vsFTPd 3.0.3)\r\n"), (0, b"USER anonymous\r\n"), (1, b"331 Please specify the password.\r\n"),
            (0, b"PASS x\r\n"), (1, b"230 Login successful.\r\n"), (0, b"PASV\r\n"),
        ]  # fmt: skip
        reply = (1, b"227 Entering Passive Mode (10,0,0,9,156,64).\r\n")
        net.conversation((client, 3000), (server, 2121), control)
        if early:
            net.conversation((client, 3001), (server, 40000), data)
        numbers = (1000 + sum(len(d) for w, d in control if not w), 5000 + sum(len(d) for w, d in control if w))
        net.tcp((server, 2121), (client, 3000), 0x18, numbers[1], numbers[0], reply[1])
        if not early:
            net.conversation((client, 3001), (server, 40000), data)
        net.conversation((client, 3002), (server, 40001), data)
        path = net.write(tmp_path / f"ftp{early}.pcap")
        _same([path], parts)
        details = [one.verdict.service for one in Reading([path], parts=parts)]
        assert sorted(map(str, details)) == ["None", "ftp", "ftp"]


@needs_native()
def test_flows_that_are_told_keep_their_label(tmp_path: Path, parts: Parts) -> None:
    """Nothing is kept of them: not when a call names their host, nor when they go on for longer than a record."""
    net, web = Net(), [(0, b"GET / HTTP/1.1\r\nHost: a.example\r\n\r\n"), (1, b"HTTP/1.1 200 OK\r\n\r\n")]
    invite = b"INVITE sip:b@a.example SIP/2.0\r\nContent-Type: application/sdp\r\n\r\nv=0\r\nc=IN IP4 10.0.0.9\r\n"
    for number in range(2000, 2060):
        net.conversation(("10.0.0.1", number), ("10.0.0.9", 8000), web)
    net.udp(("10.0.0.9", 5060), ("10.0.0.3", 5060), invite + b"m=audio 5004 RTP/AVP 0\r\n")
    for _ in range(5):
        net.now_us += 500_000_000
        for number in range(2000, 2060):
            net.tcp(("10.0.0.1", number), ("10.0.0.9", 8000), 0x10, 1037, 5019, b"")
    counters = _same([net.write(tmp_path / "any.pcap")], Parts.load(Settings(flows=FlowSettings(idle_timeout_s=900))))
    assert counters["taught_flows"] == 60


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
    _same([capture], parts)
    found = [(one.key.responder_port, one.verdict.service) for one in Reading([capture], parts=parts)]
    assert sum(label == (6001, "rtp") for label in found) == 3
    assert sum(service == "srt" for _, service in found) == 6


@needs_native()
def test_what_a_connection_names_is_not_learned_of_others(tmp_path: Path, parts: Parts) -> None:
    """Datagrams that say nothing: those beside a connection have its name, those of other hosts none."""
    chance = random.Random(11)
    for early in (False, True):
        net = Net()
        client, server = "10.0.0.1", "10.0.0.9"
        if early:
            net.udp((client, 24000), (server, 24001), chance.randbytes(60) + b"!" * 20)
        net.conversation((client, 23000), (server, 24001), [(0, b"0 alpha 17\n"), (1, b"0 beta 17\n")])
        for _ in range(12):
            net.udp((client, 24000), (server, 24001), chance.randbytes(60) + b"!" * 20)
        others = Net()
        for _ in range(12):
            others.udp(("10.0.1.1", 24000), ("10.0.1.9", 24001), chance.randbytes(60) + b"!" * 20)
        captures = [net.write(tmp_path / f"tinc{early}.pcap"), others.write(tmp_path / f"others{early}.pcap")]
        _same(captures, parts)
        labels = [str(one.verdict.service) for one in Reading(captures, parts=parts)]
        assert sorted(labels) == ["None", "tinc", "tinc"]


# -- recorded captures ------------------------------------------------------------------------------------------


@needs_native()
@needs_corpus()
def test_skype_entangles_flows(parts: Parts) -> None:
    _same([SKYPE], parts)


@needs_native()
@needs_corpus()
@pytest.mark.parametrize("part", range(2))
def test_recorded_captures(parts: Parts, part: int) -> None:
    captures = sorted(path for path in (CORPUS / "ndpi" / "pcap").iterdir() if path.stat().st_size < 400_000)
    _same(captures[part::16], parts)


def _disturbed(capture: Path, chance: random.Random) -> bytes:
    """A pcap with packets left out, repeated, in another order, cut and changed."""
    data = capture.read_bytes()
    order = {b"\xd4\xc3\xb2\xa1": "<", b"\xa1\xb2\xc3\xd4": ">"}[data[:4]]
    packets, at = [], 24
    while at + 16 <= len(data):
        captured = struct.unpack_from(order + "I", data, at + 8)[0]
        packets.append(data[at : at + 16 + captured])
        at += 16 + captured
    out: list[bytes] = []
    for packet in packets[:4000]:
        changed = bytearray(packet)
        match chance.randrange(24):
            case 0:
                continue
            case 1:
                out.append(packet)
            case 2:
                keep = chance.randrange(len(packet) - 15)
                changed = changed[: 16 + keep]
                struct.pack_into(order + "I", changed, 8, keep)
            case 3 | 4 if len(packet) > 80:
                for _ in range(chance.randrange(1, 4)):
                    changed[chance.randrange(58, len(packet))] ^= 1 << chance.randrange(8)
        out.append(bytes(changed))
        if chance.randrange(12) == 0 and len(out) > 1:
            out[-1], out[-2] = out[-2], out[-1]
    return data[:24] + b"".join(out)


@needs_native()
@needs_corpus()
@pytest.mark.parametrize("what", ["quic", "gquic", "rtp", "tls", "sip", "dns", "http"])
def test_recorded_captures_disturbed(tmp_path: Path, parts: Parts, what: str) -> None:
    chance = random.Random(what)
    names = sorted((CORPUS / "ndpi" / "pcap").glob(f"*{what}*.pcap"))
    known = [one for one in names if one.read_bytes()[:4] in (b"\xd4\xc3\xb2\xa1", b"\xa1\xb2\xc3\xd4")]
    captures = []
    for capture in chance.sample(known, min(12, len(known))):
        for turn in range(2):
            captures.append(tmp_path / f"{turn}-{capture.name}")
            captures[-1].write_bytes(_disturbed(capture, chance))
    _same(captures, parts)


def test_switched_off(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, parts: Parts) -> None:
    monkeypatch.setenv("FLOWSONAR_LANES", "skip")
    assert not lanes_wanted()
    net = Net()
    net.conversation(("10.0.0.1", 2000), ("10.0.0.2", 22), [])
    path = net.write(tmp_path / "one.pcap")
    [record] = [one for ended in Reading([path], parts=parts).lines() for one in ended]
    assert isinstance(record, FlowRecord)


def test_wanted_where_there_is_the_core(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("FLOWSONAR_LANES", raising=False)
    assert lanes_wanted() == (_native.core is not None)
