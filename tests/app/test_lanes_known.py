"""The same where flows are told by what others said or taught."""

import random
from pathlib import Path
from typing import Any, cast

import orjson

from flowsonar.app import Reading
from flowsonar.app.lanes import LaneTable
from flowsonar.app.parts import Parts
from flowsonar.config import FlowSettings
from flowsonar.flows.table import make_table
from flowsonar.protocols import skype
from flowsonar.signatures import cachefile
from tests.app.lanes import Net, same, written
from tests.needs import needs_native


def _table(parts: Parts) -> LaneTable:
    return cast("LaneTable", make_table(FlowSettings(capacity=16), lanes=parts.lane_tables))


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
    counters = same([net.write(tmp_path / "web.pcap")], parts)
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
    _, first = written(captures[:1], parts, lanes=True, cache=cache)
    lines, second = written(captures[1:], parts, lanes=True, cache=cache)
    assert (first["lane_flows"], second["lane_flows"]) == (0, 1)
    assert lines == written(captures[1:], parts, lanes=False)[0]
    [kept] = cache.iterdir()
    assert b"imap" in kept.read_bytes()
    assert b"secret" not in kept.read_bytes()
    _, both = written(captures, parts, lanes=True, cache=tmp_path / "other")
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
def test_what_becomes_known_later_is_not_known_before(tmp_path: Path, parts: Parts) -> None:
    """A flow of a kind that was kept comes to Python at its end, when its server has shown what it is."""
    client, server = "192.0.2.9", "198.51.100.9"
    enciphered = [(0, bytes.fromhex("8f3a51c9e27704bd66")), (1, bytes.fromhex("d10b9e4c73f8a2255b"))] * 2
    captures = []
    for later in ([], [(0, skype.LOGIN_HELLO), (1, skype.LOGIN_ANSWER)]):
        net = Net()
        net.conversation((client, 41000), (server, 40002), enciphered)
        net.conversation((client, 41001), (server, 443), later)
        captures.append(net.write(tmp_path / f"{len(later)}.pcap"))
    cache = tmp_path / "cache"
    written(captures[:1], parts, lanes=True, cache=cache)
    fast, _ = written(captures[1:], parts, lanes=True, cache=cache)
    slow, _ = written(captures[1:], parts, lanes=False)
    assert [orjson.loads(line)["app_proto"] for line in slow] == ["skype", "skype"]
    assert fast == slow


@needs_native()
def test_damaged_memory_is_no_memory(tmp_path: Path, parts: Parts) -> None:
    net = Net()
    net.conversation(("10.0.0.1", 2000), ("10.0.0.2", 22), [(1, b"SSH-2.0-OpenSSH_9.2\r\n")])
    capture = net.write(tmp_path / "one.pcap")
    table = _table(parts)
    assert table.recall(_table(parts).keep())
    written([capture], parts, lanes=True, cache=tmp_path / "cache")
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
    lines, _ = written([capture], parts, lanes=True, cache=file.parent)
    assert lines == written([capture], parts, lanes=False)[0]


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
        same([path], parts)
        details = [one.verdict.service for one in Reading([path], parts=parts)]
        assert sorted(map(str, details)) == ["None", "ftp", "ftp"]


@needs_native()
def test_flows_that_are_told_keep_their_label(tmp_path: Path, parts: Parts) -> None:
    """Nothing is kept of them: not when a call names their host, nor when they go on for longer than a record."""
    net, web = Net(), [(0, b"GET / HTTP/1.1\r\nHost: a.example\r\n\r\n"), (1, b"HTTP/1.1 200 OK\r\n\r\n")]
    invite = b"INVITE sip:b@a.example SIP/2.0\r\nContent-Type: application/sdp\r\n\r\nv=0\r\nc=IN IP4 10.0.0.9\r\n"
    for number in range(2000, 2060):
        net.conversation(("10.0.0.1", number), ("10.0.0.9", 8000), web)
        net.conversation(("10.0.0.1", number), ("10.0.0.8", 8000), web)  # whose end tells what such a flow is
    net.udp(("10.0.0.9", 5060), ("10.0.0.3", 5060), invite + b"m=audio 5004 RTP/AVP 0\r\n")
    for _ in range(30):
        net.now_us += 70_000_000
        for number in range(2000, 2060):
            net.tcp(("10.0.0.1", number), ("10.0.0.9", 8000), 0x10, 1037, 5019, b"")
    counters = same([net.write(tmp_path / "any.pcap")], parts)
    assert counters["taught_flows"] == 120


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
        same(captures, parts)
        labels = [str(one.verdict.service) for one in Reading(captures, parts=parts)]
        assert sorted(labels) == ["None", "tinc", "tinc"]
