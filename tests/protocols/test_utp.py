"""uTP's header: whole, cut at every length, with extensions, and what only looks like it."""

from __future__ import annotations

import struct

import pytest

from flowsonar.protocols import utp


def datagram(
    kind: int = utp.DATA, *, extension: int = 0, connection: int = 7, sent_us: int = 9, rest: bytes = b"payload"
) -> bytes:
    return struct.pack("!BBHIIIHH", kind << 4 | 1, extension, connection, sent_us, 1, 65536, 20, 30) + rest


def test_an_answer_of_stun_is_none() -> None:
    attribute = bytes.fromhex("0020 0008 0001a147 5e12a443")
    stun = bytes.fromhex("0101 0030 2112a442") + bytes(range(12)) + attribute + bytes(40)
    assert utp.parse(stun) is None
    assert utp.parse(stun[:4] + b"time" + stun[8:]) is not None


def test_a_header_is_read() -> None:
    assert utp.parse(datagram()) == utp.Header(utp.DATA, 7, 9, 65536, 20, 30, 7)


@pytest.mark.parametrize(
    ("data", "payload"),
    [
        (datagram(utp.STATE, rest=b""), 0),
        (datagram(utp.SYN, extension=2, rest=bytes.fromhex("0008 0000000000000000")), 0),
        (datagram(utp.STATE, extension=1, rest=bytes.fromhex("0004 ffffffff")), 0),
        (datagram(utp.DATA, extension=1, rest=bytes.fromhex("0004 ffffffff") + b"x" * 9), 9),
        (datagram(utp.FIN, extension=3, rest=bytes.fromhex("0004 00000000")), 0),
        (datagram(utp.STATE, extension=2, rest=bytes.fromhex("0108 0000000000000000 0004 00000000")), 0),
    ],
)
def test_extensions(data: bytes, payload: int) -> None:
    header = utp.parse(data)
    assert header is not None
    assert header.payload == payload
    assert all(utp.parse(data[:length]) is None for length in range(utp.HEADER_BYTES))


@pytest.mark.parametrize(
    "data",
    [
        datagram(utp.DATA, rest=b""),
        datagram(utp.STATE, rest=b"no payload in it"),
        datagram(utp.STATE, extension=1, rest=bytes.fromhex("0003 ffffff")),
        datagram(utp.STATE, extension=1, rest=b""),
        datagram(utp.STATE, extension=1, rest=bytes.fromhex("0104 ffffffff") * 9),
        datagram(5),
        datagram(utp.DATA, extension=4),
        b"\x02" + datagram()[1:],
        bytes.fromhex("0101000c2112a442") + bytes(24),  # STUN's response
    ],
)
def test_what_is_not_utp(data: bytes) -> None:
    assert utp.parse(data) is None


def test_a_datagram_that_was_cut_has_its_length_on_the_wire() -> None:
    header = utp.parse(datagram()[:20], 1400)
    assert header is not None
    assert header.payload == 1380
