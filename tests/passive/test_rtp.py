"""RTP over several packets; look-alikes never come that far."""

from __future__ import annotations

import random

import pytest

from flowsonar.flows.events import Payload
from flowsonar.model import Confidence
from flowsonar.passive.rtp import RtpFlow


def packet(number: int, *, source: int = 0x7C1071E2, step: int = 160, kind: int = 0) -> bytes:
    time = number * step
    return bytes([0x80, kind]) + (number & 0xFFFF).to_bytes(2, "big") + time.to_bytes(4, "big") + source.to_bytes(
        4, "big"
    ) + b"\xd5" * 160  # fmt: skip


def fed(flow: RtpFlow, datagrams: list[tuple[int, bytes]], *, after_stun: bool = False) -> Confidence:
    best = Confidence.UNKNOWN
    for direction, data in datagrams:
        found = flow.feed(Payload(1, 0, direction, 0, 0, data, len(data), 0), after_stun=after_stun)
        if found is not None:
            assert found.service == "rtp"
            best = found.confidence
    return best


@pytest.mark.parametrize(
    ("datagrams", "expected"),
    [
        ([(0, packet(1))], Confidence.UNKNOWN),
        ([(0, packet(1)), (0, packet(2))], Confidence.UNKNOWN),
        ([(0, packet(1)), (0, packet(2)), (0, packet(3))], Confidence.LIKELY),
        ([(0, packet(n)) for n in range(5)], Confidence.LIKELY),
        ([(0, packet(65533 + n)) for n in range(5)], Confidence.LIKELY),
        ([(0, packet(n)) for n in (1, 3, 4, 9, 10)], Confidence.LIKELY),  # some were lost
        ([(0, packet(1)), (0, packet(1)), (0, packet(2)), (0, packet(3))], Confidence.LIKELY),  # captured twice
        ([(n % 2, packet(n // 2, source=n % 2 + 9)) for n in range(6)], Confidence.CONFIRMED),
        ([(0, packet(n, source=n)) for n in range(5)], Confidence.UNKNOWN),
        ([(0, packet(7)) for n in range(5)], Confidence.UNKNOWN),  # the same again and again
        ([(0, packet(100 * n)) for n in range(5)], Confidence.UNKNOWN),
        ([(0, packet(n, step=1 << 24)) for n in range(5)], Confidence.UNKNOWN),
        ([(0, packet(n, kind=48)) for n in range(5)], Confidence.UNKNOWN),
    ],
)
def test_packets(datagrams: list[tuple[int, bytes]], expected: Confidence) -> None:
    assert fed(RtpFlow(), datagrams) is expected


def test_three_packets_are_enough_after_stun() -> None:
    assert fed(RtpFlow(), [(0, packet(n)) for n in range(3)], after_stun=True) is Confidence.CONFIRMED


def test_control_packets_that_speak_of_each_other() -> None:
    sender = bytes.fromhex("80c80006 5d931534 dd3ac170 4d614df8 00007d00 000000c8 00007d00")
    receiver = bytes.fromhex("81c90007 01932db4 5d931534 00000001 0000bf8b 00000006 c1704d61 0004051c")
    assert fed(RtpFlow(), [(0, sender), (1, receiver)]) is Confidence.CONFIRMED
    assert fed(RtpFlow(), [(0, sender)] * 2) is Confidence.UNKNOWN
    assert fed(RtpFlow(), [(0, sender)] * 3) is Confidence.LIKELY


def test_random_bytes_that_begin_like_it_are_not_it() -> None:
    pick = random.Random(1)
    for _ in range(1000):
        datagrams = [(n % 2, bytes([0x80 | pick.randrange(64)]) + pick.randbytes(60)) for n in range(10)]
        assert fed(RtpFlow(), datagrams) is Confidence.UNKNOWN


def test_a_control_packet_with_its_source_s_name_is_likely_alone() -> None:
    report = bytes.fromhex("80c80006 5d931534 dd3ac170 4d614df8 00007d00 000000c8 00007d00")
    name = bytes.fromhex("81ca0002 5d931534 0103") + b"la"
    assert fed(RtpFlow(), [(0, report)]) is Confidence.UNKNOWN
    assert fed(RtpFlow(), [(0, report + name)]) is Confidence.LIKELY
    assert fed(RtpFlow(), [(0, report + name)] * 5) is Confidence.LIKELY


def test_a_sender_s_report_with_the_time_of_day_is_likely_alone() -> None:
    report = bytes.fromhex("80c80006 7c1071e2 ee8ad0f0 4d614df8 00007d00 000000c8 00007d00")
    flow, now_s = RtpFlow(), 0xEE8AD0F0 - 2_208_988_800
    assert flow.feed(Payload(1, (now_s - 86_400) * 10**9, 0, 0, 0, report, len(report), 0)) is None
    found = flow.feed(Payload(1, (now_s + 3_600) * 10**9, 0, 0, 0, report, len(report), 0))
    assert found is not None
    assert found.confidence is Confidence.LIKELY


SEALED = bytes.fromhex("80c80006 83c92ea2 48418abf ff720529 69184ac5 c3cc9216 4f463d18 80000002 b6c4a728c4db3ce03b3e")


@pytest.mark.parametrize(
    ("data", "expected"),
    [
        (SEALED, Confidence.LIKELY),
        (SEALED[:28] + bytes(16) + SEALED[28:], Confidence.LIKELY),  # a description follows, enciphered as well
        (SEALED[:28] + bytes(16) + SEALED[28:32], Confidence.LIKELY),  # the tag stands before the trailer
        (SEALED[:28] + b"\0" + SEALED[29:], Confidence.UNKNOWN),  # not enciphered: then the time of day is wrong
        (SEALED[:29] + b"\x01" + SEALED[30:], Confidence.UNKNOWN),
        (b"\x81" + SEALED[1:], Confidence.UNKNOWN),  # a block for a source that is not there
        (SEALED[:-1], Confidence.UNKNOWN),
    ],
)
def test_one_enciphered_report(data: bytes, expected: Confidence) -> None:
    assert fed(RtpFlow(), [(0, data)]) is expected


def test_maps_of_message_pack_that_count_up_are_not_it() -> None:
    # OpenDHT's questions: a map whose first value is a map of 1, 2, 3 entries, where RTP has a marker and its numbers.
    maps = [bytes.fromhex(f"85a161{0x81 + number:02x}a26964c41458ed9c634a55e499") for number in range(5)]
    flow = RtpFlow()
    assert fed(flow, [(0, data) for data in maps]) is Confidence.UNKNOWN
    assert fed(flow, [(1, data) for data in maps]) is Confidence.UNKNOWN
