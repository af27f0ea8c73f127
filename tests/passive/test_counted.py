from __future__ import annotations

import random

import pytest

from flowsonar.flows.events import Opened, Payload
from flowsonar.model import Confidence
from flowsonar.passive.counted import CountedFlow, counts, openvpn_streams


def opened(port: int = 51820) -> Opened:
    return Opened(1, 0, 17, bytes([10, 0, 0, 1]), 40000, bytes([10, 0, 0, 2]), port, 0, 0, False)


def wireguard(number: int, index: bytes = b"abcd") -> bytes:
    return b"\x04\0\0\0" + index + number.to_bytes(8, "little") + bytes(range(16))


def esp(number: int, index: bytes = b"\xc1\x02\x03\x04") -> bytes:
    return index + number.to_bytes(4, "big") + bytes(range(64))


def fed(datagrams: list[tuple[int, bytes]]) -> Confidence:
    flow = CountedFlow(datagrams[0][1])
    best = Confidence.UNKNOWN
    for direction, data in datagrams:
        found = flow.feed(Payload(1, 0, direction, 0, 0, data, len(data), 0))
        best = best if found is None else found.confidence
    return best


@pytest.mark.parametrize(
    ("datagrams", "expected"),
    [
        ([(0, wireguard(n)) for n in range(2)], Confidence.UNKNOWN),
        ([(0, wireguard(n)) for n in range(3)], Confidence.LIKELY),
        ([(n % 2, wireguard(n)) for n in range(6)], Confidence.CONFIRMED),
        ([(0, wireguard(5)) for n in range(6)], Confidence.UNKNOWN),
        ([(0, wireguard(n, bytes([n]) * 4)) for n in range(6)], Confidence.UNKNOWN),
        ([(n % 2, esp(n // 2 + 1)) for n in range(8)], Confidence.LIKELY),
        ([(0, esp(1000 * n)) for n in range(8)], Confidence.UNKNOWN),
    ],
)
def test_sequences(datagrams: list[tuple[int, bytes]], expected: Confidence) -> None:
    assert fed(datagrams) is expected


def test_which_flows_are_read() -> None:
    assert counts(opened(), wireguard(1))
    assert not counts(opened(), b"\x04\0\0\0" + b"\xff" * 40)
    assert not counts(opened(), esp(1))
    assert counts(opened(4500), esp(1))
    assert not counts(opened(4500), b"\0\0\0\0" + bytes(40))  # IKE's marker


def test_random_bytes_never_come_that_far() -> None:
    pick = random.Random(1)
    for _ in range(500):
        assert fed([(n % 2, b"\x04\0\0\0" + pick.randbytes(40)) for n in range(10)]) is Confidence.UNKNOWN
        assert fed([(n % 2, pick.randbytes(40)) for n in range(10)]) is Confidence.UNKNOWN


def openvpn(number: int, head: bytes = b"\x48\0\0\x01", *, rest: bytes | None = None) -> bytes:
    body = random.Random(number).randbytes(80) if rest is None else rest
    return head + number.to_bytes(4, "big") + body


@pytest.mark.parametrize(
    ("datagrams", "expected"),
    [
        ([(0, openvpn(n)) for n in (7, 8)], Confidence.UNKNOWN),
        ([(0, openvpn(n)) for n in (7, 8, 9)], Confidence.LIKELY),
        ([(n % 2, openvpn(n, b"\x49\x79\x7f\x9c")) for n in range(9)], Confidence.LIKELY),
        ([(0, openvpn(n, b"\x49\x79\x7f\x9c")) for n in range(9)], Confidence.UNKNOWN),  # any number, one direction
        ([(n % 2, openvpn(n, bytes([0x48, 0x79, 0x7F, n % 2]))) for n in range(9)], Confidence.UNKNOWN),
        ([(0, openvpn(n * 100)) for n in range(6)], Confidence.UNKNOWN),
        ([(0, openvpn(n, bytes([0x48, 0, 0, n]))) for n in range(6)], Confidence.UNKNOWN),
    ],
)
def test_data_of_openvpn(datagrams: list[tuple[int, bytes]], expected: Confidence) -> None:
    assert counts(opened(1194), datagrams[0][1])
    assert fed(datagrams) is expected


@pytest.mark.parametrize(
    "data",
    [
        openvpn(1, b"HTTP"),
        openvpn(1, b"MOVE"),
        openvpn(1, rest=bytes(80)),  # nothing of it is enciphered
        openvpn(1, rest=b"a game's words, which people can read, and more of them"),
        openvpn(1, b"\x38\0\0\0"),
        openvpn(1)[:24],
    ],
)
def test_what_is_no_data_of_openvpn(data: bytes) -> None:
    assert not counts(opened(1194), data)


def framed(data: bytes) -> bytes:
    return len(data).to_bytes(2, "big") + data


def test_streams_of_openvpn_name_one_peer() -> None:
    one, other = framed(openvpn(5, b"\x48\x9e\xbb\xd9")), framed(openvpn(9, b"\x48\x9e\xbb\xd9"))
    found = openvpn_streams(one, other)
    assert found is not None
    assert (found.service, found.confidence) == ("openvpn", Confidence.LIKELY)
    for strange in (b"", framed(openvpn(9, b"\x48\x9e\xbb\xda")), b"\xff" + other[1:], framed(openvpn(9, b"HERO"))):
        assert openvpn_streams(one, strange) is None
        assert openvpn_streams(strange, one) is None
