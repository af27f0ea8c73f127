"""SRT picked up in the middle: clock, numbers and receivers must go together."""

from __future__ import annotations

import struct

import pytest

from flowsonar.flows.events import Opened, Payload
from flowsonar.model import Confidence
from flowsonar.passive import PassiveReader
from flowsonar.passive.srt import SrtFlow
from flowsonar.signatures import Matcher, load_signatures

Said = tuple[int, int, bytes]
"""Direction, time in microseconds, bytes."""


def control(kind: int, number: int, sent_us: int, socket: int) -> bytes:
    return struct.pack("!HHIII", 0x8000 | kind, 0, number, sent_us % (1 << 32), socket) + bytes(28 if kind == 2 else 4)


def fed(datagrams: list[Said]) -> Confidence:
    flow, best = SrtFlow(), Confidence.UNKNOWN
    for direction, at_us, data in datagrams:
        found = flow.feed(Payload(1, at_us * 1000, direction, 0, 0, data, len(data), 0))
        best = best if found is None else found.confidence
    return best


ACKS: list[Said] = [(1, 10_000 * n, control(2, 70 + n, 4_294_960_000 + 10_000 * n, 8)) for n in range(3)]
BACKS: list[Said] = [(0, 1_000 + 10_000 * n, control(6, 70 + n, 500 + 10_000 * n, 9)) for n in range(3)]
DATA: Said = (0, 0, bytes.fromhex("5f1990ff e000007b 00605113 13eaacb3") + b"G" * 1316)


@pytest.mark.parametrize(
    ("datagrams", "expected"),
    [
        (ACKS[:1], Confidence.UNKNOWN),
        (ACKS[:2], Confidence.LIKELY),
        (BACKS[:2], Confidence.LIKELY),
        ([DATA, ACKS[0], BACKS[0]], Confidence.LIKELY),
        ([ACKS[0], BACKS[0], DATA, ACKS[1]], Confidence.CONFIRMED),
        ([BACKS[0], ACKS[0]], Confidence.UNKNOWN),  # the answer comes after
        ([ACKS[0], BACKS[1]], Confidence.UNKNOWN),  # another number
        ([ACKS[0], ACKS[0]], Confidence.UNKNOWN),  # the same again
        ([ACKS[0], (1, 9_000_000, ACKS[1][2])], Confidence.UNKNOWN),  # its clock is not ours
        ([ACKS[0], (1, 10_000, control(2, 71, 4_294_960_000 + 10_000, 7))], Confidence.UNKNOWN),  # to another
        ([ACKS[0], (1, 10_000, control(2, 69, 4_294_960_000 + 10_000, 8))], Confidence.UNKNOWN),
    ],
)
def test_sequences(datagrams: list[Said], expected: Confidence) -> None:
    assert fed(datagrams) is expected


def test_the_reader_takes_it_from_the_middle() -> None:
    signatures = load_signatures()
    reader = PassiveReader(Matcher(signatures, engine="re2"), signatures)
    flow = reader.open(Opened(1, 0, 17, bytes([10, 0, 0, 1]), 40000, bytes([10, 0, 0, 2]), 50000, 0, 0, False))
    found = [
        reader.payload(flow, Payload(1, at * 1000, side, 0, 0, data, len(data), 0))
        for side, at, data in [DATA, ACKS[0], BACKS[0], ACKS[1]]
    ]
    told = [(piece.service, piece.confidence) for one in found for piece in one.evidence]
    assert told == [("srt", Confidence.LIKELY), ("srt", Confidence.CONFIRMED)]
