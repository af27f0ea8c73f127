"""What payload the table reports; on both implementations."""

import pytest

from flowsonar import limits
from flowsonar.flows.events import Closed, CloseReason, Payload
from tests.flows.conftest import Make
from tests.flows.frames import ACK, FIN, SECOND, SYN, Conversation
from tests.flows.tables import STUN, datagram, feed, of


def test_payload_budgets(make: Make) -> None:
    table, talk = make(), Conversation()
    talk.handshake()
    for number in range(10):
        talk.segment(0, ACK, b"%d" % number)
    events = of(Payload, feed(table, talk.frames))
    assert [(event.index, event.offset, event.data) for event in events] == [(0, 0, b"0"), (1, 1, b"1"), (2, 2, b"2")]
    assert len(events) == limits.PAYLOAD_PACKETS_TCP
    frames = [datagram(b"q", back=bool(number % 2)) for number in range(30)]
    assert len(of(Payload, feed(table, frames))) == 2 * limits.PAYLOAD_PACKETS_UDP


def test_long_payloads_are_cut(make: Make) -> None:
    table = make()
    (_, payload) = feed(table, [datagram(b"x" * 3000)])
    assert isinstance(payload, Payload)
    assert (payload.data, payload.wire_length) == (b"x" * limits.PAYLOAD_BYTES, 3000)
    assert table.counters()["payloads_cut"] == 1


def test_retransmissions_are_left_out(make: Make) -> None:
    table, talk = make(), Conversation(client_start=2**32 - 3)  # the numbers wrap inside
    talk.handshake()
    talk.segment(0, ACK, b"hello")
    talk.segment(0, ACK, b"hello", at=2**32 - 2)
    talk.segment(0, ACK, b"o", at=2)  # keep-alive
    talk.segment(0, ACK, b"lo world", at=1)
    talk.segment(0, ACK, b"!", at=9)
    events = of(Payload, feed(table, talk.frames))
    assert [(event.index, event.offset, event.data) for event in events] == [
        (0, 0, b"hello"),
        (1, 3, b"lo world"),
        (2, 11, b"!"),
    ]


def test_reordered_segments_are_not_retransmissions(make: Make) -> None:
    table, talk = make(), Conversation()
    talk.handshake()
    talk.segment(0, ACK, b"world", at=1007)
    talk.segment(0, ACK, b"hello ", at=1001)
    talk.segment(0, ACK, b"hello ", at=1001)
    events = of(Payload, feed(table, talk.frames))
    assert [(event.offset, event.data) for event in events] == [(6, b"world"), (0, b"hello ")]


def test_bytes_from_before_the_first_one_seen_are_trimmed(make: Make) -> None:
    table, talk = make(), Conversation()
    talk.segment(0, ACK, b"cdef", at=1003)
    talk.segment(0, ACK, b"abcdefgh", at=1001)
    events = of(Payload, feed(table, talk.frames))
    assert [(event.offset, event.data, event.wire_length) for event in events] == [(0, b"cdef", 4), (0, b"cdefgh", 8)]


def test_a_stream_that_lost_its_place_goes_on(make: Make) -> None:
    table, talk = make(), Conversation()
    talk.handshake()
    talk.segment(0, ACK, b"ab")
    talk.segment(0, ACK, b"cd", at=1001 + 2**30)
    talk.segment(0, ACK, b"ef", at=1003 + 2**30)
    events = of(Payload, feed(table, talk.frames))
    assert [(event.offset, event.data) for event in events] == [(0, b"ab"), (2, b"cd"), (4, b"ef")]
    assert table.counters()["tcp_lost_place"] == 1


def test_payload_with_syn_and_with_fin(make: Make) -> None:
    table, talk = make(), Conversation()
    talk.segment(0, SYN, b"early")  # RFC 7413
    talk.segment(1, SYN | ACK)
    talk.segment(0, FIN | ACK, b"late")
    talk.segment(1, FIN | ACK)
    talk.segment(0, ACK)
    events = feed(table, talk.frames)
    assert [(event.offset, event.data) for event in of(Payload, events)] == [(0, b"early"), (5, b"late")]
    (closed,) = of(Closed, table.expire(talk.time_ns + 5 * SECOND))
    assert closed.reason == CloseReason.FIN


def test_what_a_segment_acknowledges_is_told(make: Make) -> None:
    table, talk = make(), Conversation()
    talk.segment(0, SYN, b"early")
    talk.segment(1, SYN | ACK)
    talk.segment(0, ACK, b"a")
    talk.segment(1, ACK, b"three")
    talk.segment(0, ACK, b"b")
    early, one, three, two = of(Payload, feed(table, talk.frames))
    assert early.acknowledges == 0
    assert two.acknowledges - one.acknowledges == len(three.data)


def test_follow_and_release(make: Make) -> None:
    table, talk = make(), Conversation()
    talk.handshake()
    for _ in range(5):
        talk.segment(0, ACK, b"x")
    (opened, *_) = feed(table, talk.frames)
    talk.frames.clear()
    table.follow(opened.flow)
    talk.segment(0, ACK, b"short")
    talk.segment(0, ACK, b"l" * (limits.FOLLOWED_BYTES + 1))
    talk.segment(1, ACK, b"back")
    assert [event.data for event in of(Payload, feed(table, talk.frames))] == [b"short", b"back"]
    talk.frames.clear()
    table.release(opened.flow)
    talk.segment(0, ACK, b"short")
    talk.segment(1, ACK, b"within the budget, but released")
    assert feed(table, talk.frames) == []
    table.follow(12345)  # no such flow
    table.release(2**64 - 1)


def test_a_prefix_makes_a_flow_followed(make: Make) -> None:
    table, talk, other = make(follow=(b"220", b"EHLO")), Conversation(), Conversation(port=2000)
    talk.segment(1, ACK, b"220 ready")
    other.segment(1, ACK, b"221 no")
    for _ in range(10):
        talk.segment(0, ACK, b"NOOP")
        other.segment(0, ACK, b"NOOP")
    assert len(of(Payload, feed(table, talk.frames))) == 11
    assert len(of(Payload, feed(table, other.frames))) == 1 + limits.PAYLOAD_PACKETS_TCP


@pytest.mark.parametrize(
    ("first", "followed"),
    [
        (STUN, True),
        (b"\x01\x01\0\x04" + STUN[4:] + bytes(4), True),
        (STUN + b"x", False),  # longer than it says
        (STUN[:4] + bytes(4) + STUN[8:], False),  # without the cookie
        (b"\x04" + STUN[1:], False),
        (STUN[:19], False),
    ],
)
def test_a_call_is_followed_from_its_first_message(make: Make, first: bytes, followed: bool) -> None:
    table = make()
    events = feed(table, [datagram(first)] + [datagram(b"more")] * 20)
    assert len(of(Payload, events)) == (21 if followed else limits.PAYLOAD_PACKETS_UDP)


def test_following_ends(make: Make) -> None:
    table = make()
    (opened, *_) = feed(table, [datagram()])
    table.follow(opened.flow)
    events = feed(table, [datagram(b"%d" % number) for number in range(limits.FOLLOWED_DATAGRAMS + 9)])
    assert len(events) == limits.FOLLOWED_DATAGRAMS
    assert table.counters()["follows_ended"] == 1


def test_a_snapped_payload_counts_its_wire_length(make: Make) -> None:
    table, talk = make(), Conversation()
    talk.handshake()
    talk.segment(0, ACK, b"a" * 1000)
    talk.segment(0, ACK, b"b" * 1000)
    frames = [frame._replace(data=frame.data[:60], wire=len(frame.data)) for frame in talk.frames]
    events = feed(table, frames)
    assert [(event.offset, event.data, event.wire_length) for event in of(Payload, events)] == [
        (0, b"a" * 6, 1000),
        (1000, b"b" * 6, 1000),
    ]
    (closed,) = of(Closed, table.finish())
    assert closed.bytes_toserver == 40 * 2 + 1040 * 2
