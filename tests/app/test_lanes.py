"""The fast lane writes what the reference says: the same records of recorded captures, with it and without it."""

import random
import struct
from pathlib import Path

import pytest

from flowsonar import _native
from flowsonar.app import Reading
from flowsonar.app.lanes import lanes_wanted
from flowsonar.app.parts import Parts
from flowsonar.model import FlowRecord
from tests.app.lanes import Net, same
from tests.needs import CORPUS, needs_corpus, needs_native

SKYPE = CORPUS / "skype" / "SkypeIRC.cap"


@needs_native()
@needs_corpus()
def test_skype_entangles_flows(parts: Parts) -> None:
    same([SKYPE], parts)


@needs_native()
@needs_corpus()
@pytest.mark.parametrize("part", range(2))
def test_recorded_captures(parts: Parts, part: int) -> None:
    captures = sorted(path for path in (CORPUS / "ndpi" / "pcap").iterdir() if path.stat().st_size < 400_000)
    same(captures[part::16], parts)


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
    same(captures, parts)


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
    counters = same([net.write(tmp_path / "all.pcap")], parts)
    assert counters["taught_flows"] > 250


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
