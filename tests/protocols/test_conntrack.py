"""Messages as Linux 6 sent them for a connection over loopback, and what is made of broken ones."""

import struct

import pytest

from flowsonar.errors import MalformedError
from flowsonar.protocols.conntrack import DUMP, Change, Tracked, messages


def attribute(kind: int, data: bytes) -> bytes:
    return struct.pack("=HH", 4 + len(data), kind) + data + b"\0" * (-len(data) % 4)


def ends(source: bytes, destination: bytes, protocol: int, first: int, second: int, kinds: tuple[int, int]) -> bytes:
    low = 1 if len(source) == 4 else 3
    ip = attribute(low, source) + attribute(low + 1, destination)
    ports = attribute(kinds[0], first.to_bytes(2)) + attribute(kinds[1], second.to_bytes(2 if kinds[1] == 3 else 1))
    return attribute(0x8001, ip) + attribute(0x8002, attribute(1, bytes([protocol])) + ports)


def message(kind: int, flags: int, *attributes: bytes, sequence: int = 0) -> bytes:
    body = b"\x02\0\0\0" + b"".join(attributes)
    return struct.pack("=IHHII", 16 + len(body), kind, flags, sequence, 0) + body


A, B, C = bytes([10, 0, 0, 1]), bytes([10, 0, 0, 2]), bytes([192, 168, 7, 3])
ORIGINAL = attribute(0x8001, ends(A, B, 6, 40000, 80, (2, 3)))
REPLY = attribute(0x8002, ends(C, A, 6, 8080, 40000, (2, 3)))  # a forwarded port: the server is behind it
STATUS = attribute(3, (0x18E).to_bytes(4))
COUNTERS = attribute(0x8009, attribute(1, (3).to_bytes(8)) + attribute(2, (180).to_bytes(8)))
BACK = attribute(0x800A, attribute(1, (2).to_bytes(8)) + attribute(2, (120).to_bytes(8)))
STATE = attribute(0x8004, attribute(0x8001, attribute(1, b"\x03")))
IDENTITY = attribute(12, (77).to_bytes(4))
WHOLE = message(0x100, 0, ORIGINAL, REPLY, STATUS, COUNTERS, BACK, STATE, IDENTITY)


def test_a_connection() -> None:
    assert list(messages(WHOLE)) == [
        Tracked(Change.UPDATE, 77, 6, A, 40000, C, 8080, True, 3, 3, 2, 180, 120),
    ]


@pytest.mark.parametrize(
    ("kind", "flags", "sequence", "change"),
    [
        (0x100, 0x600, 0, Change.NEW),
        (0x100, 0, 0, Change.UPDATE),
        (0x102, 0, 0, Change.DESTROY),
        (0x100, 2, 1, Change.KNOWN),
    ],
)
def test_what_happened(kind: int, flags: int, sequence: int, change: Change) -> None:
    (tracked,) = messages(message(kind, flags, ORIGINAL, REPLY, IDENTITY, sequence=sequence))
    assert tracked.change is change
    assert not tracked.replied


def test_several_in_one_datagram_until_the_end_of_a_dump() -> None:
    assert len(list(messages(WHOLE + WHOLE + message(3, 0) + WHOLE))) == 2


def test_icmp_has_identifier_and_type_as_ports() -> None:
    v6 = bytes(15) + b"\1"
    original = attribute(0x8001, ends(v6, v6, 58, 9, 128, (7, 8)))
    reply = attribute(0x8002, ends(v6, v6, 58, 9, 129, (7, 8)))
    (tracked,) = messages(message(0x100, 0x600, original, reply))
    assert (tracked.protocol, tracked.initiator_port, tracked.responder_port) == (58, 9, 128)


def test_other_messages_are_passed_over() -> None:
    assert list(messages(message(0x200, 0, ORIGINAL) + message(0x100, 0, ORIGINAL))) == []
    assert list(messages(b"")) == []
    assert list(messages(DUMP)) == []


def test_cut_anywhere_it_is_nothing_or_malformed() -> None:
    for length in range(len(WHOLE)):
        try:
            assert list(messages(WHOLE[:length])) == []
        except MalformedError:
            continue


def test_lying_lengths_are_malformed() -> None:
    short = message(0x100, 0x600, struct.pack("=HH", 2, 1))
    without = message(0x100, 0x600, attribute(0x8001, b""), attribute(0x8002, b""))
    for wrong in (short, without):
        with pytest.raises(MalformedError):
            list(messages(wrong))
