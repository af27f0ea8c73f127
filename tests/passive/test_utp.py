"""uTP picked up in the middle: clock, numbers and acknowledgements must go together."""

from __future__ import annotations

import random
import struct

import pytest

from flowsonar.flows.events import Opened, Payload
from flowsonar.model import Confidence
from flowsonar.passive import PassiveReader
from flowsonar.passive.utp import UtpFlow
from flowsonar.protocols import utp
from flowsonar.signatures import Matcher, load_signatures

US = 1000


def datagram(kind: int, connection: int, sent_us: int, sequence: int, acknowledges: int, rest: bytes = b"") -> bytes:
    head = struct.pack("!BBHIIIHH", kind << 4 | 1, 0, connection, sent_us % (1 << 32), 1, 65536, sequence, acknowledges)
    return head + (rest or b"x" * 30 * (kind == utp.DATA))


def fed(datagrams: list[tuple[int, int, bytes]]) -> Confidence:
    """Each is direction, time in microseconds, bytes."""
    flow, best = UtpFlow(), Confidence.UNKNOWN
    for direction, at_us, data in datagrams:
        found = flow.feed(Payload(1, at_us * US, direction, 0, 0, data, len(data), 0))
        best = best if found is None else found.confidence
    return best


TO = [(0, 40_000 * n, datagram(utp.DATA, 8, 4_294_960_000 + 40_000 * n, 100 + n, 7)) for n in range(3)]
BACK = [(1, 5_000 + 40_000 * n, datagram(utp.STATE, 7, 1_000 + 40_000 * n, 7, 100 + n)) for n in range(3)]


@pytest.mark.parametrize(
    ("datagrams", "expected"),
    [
        (TO[:1], Confidence.UNKNOWN),
        (TO[:2], Confidence.LIKELY),
        ([TO[0], BACK[0]], Confidence.LIKELY),
        ([TO[0], BACK[0], TO[1]], Confidence.CONFIRMED),
        ([TO[0], TO[0]], Confidence.UNKNOWN),  # the same again: nothing went on
        ([TO[0], (0, 9_000_000, TO[1][2])], Confidence.UNKNOWN),  # its clock is not ours
        ([TO[0], (0, 40_000, datagram(utp.DATA, 9, 4_294_960_000 + 40_000, 101, 7))], Confidence.UNKNOWN),
        ([TO[0], (0, 40_000, datagram(utp.DATA, 8, 4_294_960_000 + 40_000, 20_101, 7))], Confidence.UNKNOWN),
        ([TO[0], (1, 5_000, datagram(utp.STATE, 9_000, 1_000, 7, 100))], Confidence.UNKNOWN),
        ([TO[0], (1, 5_000, datagram(utp.STATE, 7, 1_000, 7, 9_000))], Confidence.UNKNOWN),
        (
            [(0, 0, datagram(utp.SYN, 7, 5, 1, 0)), (1, 9, datagram(utp.STATE, 7, 9, 700, 1))],
            Confidence.LIKELY,
        ),
    ],
)
def test_sequences(datagrams: list[tuple[int, int, bytes]], expected: Confidence) -> None:
    assert fed(datagrams) is expected


def test_random_datagrams_that_begin_like_it_prove_nothing() -> None:
    pick = random.Random(3)
    for _ in range(300):
        told = [(n % 2, 40_000 * n, b"\x01\x00" + pick.randbytes(60)) for n in range(10)]
        assert fed(told) is Confidence.UNKNOWN


def test_the_reader_takes_it_from_the_middle_and_leaves_media_alone() -> None:
    signatures = load_signatures()
    reader = PassiveReader(Matcher(signatures, engine="re2"), signatures)
    flow = reader.open(Opened(1, 0, 17, bytes([10, 0, 0, 1]), 40000, bytes([10, 0, 0, 2]), 50000, 0, 0, False))
    found = [
        reader.payload(flow, Payload(1, at * US, side, 0, 0, data, len(data), 0))
        for side, at, data in [TO[0], BACK[0], TO[1]]
    ]
    assert [(piece.service, piece.confidence) for one in found for piece in one.evidence][-1] == (
        "bittorrent",
        Confidence.CONFIRMED,
    )
    media = reader.open(Opened(2, 0, 17, bytes([10, 0, 0, 1]), 40002, bytes([10, 0, 0, 2]), 50002, 0, 0, False))
    stun = bytes.fromhex("0101000c2112a442") + bytes(24)
    reader.payload(media, Payload(2, 0, 1, 0, 0, stun, len(stun), 0))
    last = Confidence.UNKNOWN
    for number in range(6):
        rtp = struct.pack("!BBHII", 0x80, 0, 900 + number, 160 * number, 0x1234) + bytes(160)
        for piece in reader.payload(media, Payload(2, 20_000 * number * US, 0, number, 0, rtp, len(rtp), 0)).evidence:
            assert piece.service == "rtp"
            last = piece.confidence
    assert last is not Confidence.UNKNOWN
