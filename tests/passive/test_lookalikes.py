"""Datagrams that begin, count or measure like a call's or a tunnel's and are none: nothing is believed of them."""

from __future__ import annotations

import random
import struct
from collections.abc import Callable, Iterator

import pytest

from flowsonar.passive import PassiveReader
from flowsonar.signatures.loader import load_signatures
from flowsonar.signatures.matcher import Matcher

from .fakes import Conversation

CALLS_AND_TUNNELS = {
    "rtp",
    "stun",
    "turn",
    "dtls",
    "sip",
    "iax2",
    "openvpn",
    "wireguard",
    "ipsec",
    "ike",
    "l2tp",
    "t38",
}
FLOWS = 100
DATAGRAMS = 6

Kind = Callable[[random.Random], Iterator[bytes]]


def noise(chance: random.Random) -> Iterator[bytes]:
    """Nothing but random bytes."""
    while True:
        yield chance.randbytes(chance.randrange(8, 1200))


def media_by_its_first_bits(chance: random.Random) -> Iterator[bytes]:
    while True:
        yield bytes([0x80 | chance.randrange(64)]) + chance.randbytes(chance.randrange(11, 300))


def media_of_another_source_each(chance: random.Random) -> Iterator[bytes]:
    for number in range(DATAGRAMS):
        yield b"\x80\x60" + struct.pack(">HI", number, number * 160) + chance.randbytes(164)


def media_that_jumps(chance: random.Random) -> Iterator[bytes]:
    for number in range(DATAGRAMS):
        yield b"\x80\x60" + struct.pack(">HI", number * 977, number * 160) + b"\x01\x02\x03\x04" + chance.randbytes(160)


def report_of_the_wrong_length(chance: random.Random) -> Iterator[bytes]:
    while True:
        yield b"\x80\xc8\x00\x06" + chance.randbytes(chance.choice((12, 20, 40)))


def stun_without_its_cookie(chance: random.Random) -> Iterator[bytes]:
    while True:
        size = 4 * chance.randrange(1, 20)
        yield b"\x00\x01" + size.to_bytes(2, "big") + chance.randbytes(16 + size)


def cookie_elsewhere(chance: random.Random) -> Iterator[bytes]:
    while True:
        yield b"\x21\x12\xa4\x42" + chance.randbytes(40)


def wireguard_of_other_lengths(chance: random.Random) -> Iterator[bytes]:
    for kind in (1, 2, 4, 4, 4, 4):
        yield kind.to_bytes(4, "little") + chance.randbytes(chance.choice((40, 100, 140, 150)))


def counter_after_four(chance: random.Random) -> Iterator[bytes]:
    for number in range(DATAGRAMS):
        yield b"\x04\0\0\0" + number.to_bytes(4, "little") + chance.randbytes(60)


def openvpn_by_its_first_byte(chance: random.Random) -> Iterator[bytes]:
    for kind in (0x38, 0x40, 0x28, 0x20, 0x48, 0x48):
        yield bytes([kind]) + chance.randbytes(chance.choice((13, 25, 41, 53, 85)))


def game_with_letters_and_numbers(chance: random.Random) -> Iterator[bytes]:
    for number in range(DATAGRAMS):
        yield b"HERO" + number.to_bytes(4, "big") + chance.randbytes(64)


def reliable_datagrams(chance: random.Random) -> Iterator[bytes]:
    """KCP: conversation, command, fragment, window, time, number, what was had, length."""
    conversation = chance.randrange(1 << 32)
    for number in range(DATAGRAMS):
        head = struct.pack("<IBBHIIII", conversation, 81, 0, 128, 1000 + number * 20, number, number, 40)
        yield head + chance.randbytes(40)


def quic_s_short_headers(chance: random.Random) -> Iterator[bytes]:
    identifier = chance.randbytes(8)
    while True:
        yield bytes([0x40 | chance.randrange(64)]) + identifier + chance.randbytes(chance.randrange(20, 1200))


def time(chance: random.Random) -> Iterator[bytes]:
    while True:
        yield bytes([chance.choice((0x23, 0x24, 0x1B))]) + chance.randbytes(47)


def sync(chance: random.Random) -> Iterator[bytes]:
    """A game's lock step as Factorio's: a type, a number, and what looks random."""
    for number in range(DATAGRAMS):
        yield bytes([0x46]) + number.to_bytes(2, "little") + chance.randbytes(chance.randrange(10, 500))


KINDS = (
    noise, media_by_its_first_bits, media_of_another_source_each, media_that_jumps, report_of_the_wrong_length,
    stun_without_its_cookie, cookie_elsewhere, wireguard_of_other_lengths, counter_after_four, reliable_datagrams,
    openvpn_by_its_first_byte, game_with_letters_and_numbers, quic_s_short_headers, time, sync,
)  # fmt: skip
PORTS = ((40000, 30000), (5004, 6004), (4500, 40000))
CASES = [
    (kind, ports)
    for kind in KINDS
    for ports in PORTS
    if kind is not game_with_letters_and_numbers or 4500 not in ports  # ESP's own port, and ESP looks like that
]


@pytest.fixture(scope="module")
def real(tmp_path_factory: pytest.TempPathFactory) -> PassiveReader:
    signatures = load_signatures()
    return PassiveReader(Matcher(signatures, cache=tmp_path_factory.mktemp("cache")), signatures)


@pytest.mark.parametrize(("kind", "ports"), CASES)
def test_no_call_and_no_tunnel(real: PassiveReader, kind: Kind, ports: tuple[int, int]) -> None:
    believed = []
    for seed in range(FLOWS):
        talk = Conversation(real, protocol=17, client_port=ports[0], server_port=ports[1])
        sides = kind(random.Random(seed)), kind(random.Random(~seed))
        for _ in range(DATAGRAMS):
            for direction in (0, 1):
                data = next(sides[direction], None)
                if data is not None:
                    talk.send(data, direction)
        believed += [
            (one.service, one.signature)
            for one in talk.close().evidence
            if one.service in CALLS_AND_TUNNELS and one.confidence.rank >= 2
        ]
    assert believed == []
