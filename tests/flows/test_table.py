"""What the flow table does, on both implementations."""

import threading
from collections.abc import Sequence
from typing import TypeVar

import pytest

from flowsonar import limits
from flowsonar.config import FlowSettings
from flowsonar.errors import ConfigError
from flowsonar.flows.events import Closed, CloseReason, Established, FlowEvent, Opened, Payload
from flowsonar.flows.table import FlowTable, make_table
from flowsonar.model import Block
from tests.flows.conftest import Make
from tests.flows.frames import (
    ACK,
    CLIENT,
    FIN,
    PSH,
    RST,
    SECOND,
    SERVER,
    START,
    SYN,
    Conversation,
    Frame,
    block,
    ethernet,
    ipv4,
    tcp,
    udp,
)
from tests.needs import needs_native


def feed(table: FlowTable, frames: Sequence[Frame]) -> list[FlowEvent]:
    return table.feed(block(frames))


T = TypeVar("T")


def of(kind: type[T], events: list[FlowEvent]) -> list[T]:
    return [event for event in events if isinstance(event, kind)]


STUN = b"\0\x01\0\0\x21\x12\xa4\x42" + bytes(range(12))
"""A request without attributes (RFC 8489 section 5)."""


def datagram(payload: bytes = b"x", port: int = 1000, *, back: bool = False, time_ns: int = START) -> Frame:
    if back:
        return Frame(ethernet(ipv4(udp(payload, 53, port), 17, SERVER, CLIENT)), time_ns)
    return Frame(ethernet(ipv4(udp(payload, port, 53), 17)), time_ns)


def test_a_datagram_opens_a_flow(make: Make) -> None:
    table = make()
    opened, payload = feed(table, [datagram(b"query")])
    assert opened == Opened(1 << 32, START, 17, CLIENT, 1000, SERVER, 53, 0, 0, False)
    assert payload == Payload(1 << 32, START, 0, 0, 0, b"query", 5, 0)
    assert type(opened) is Opened
    assert len(table) == 1


def test_both_directions_are_one_flow(make: Make) -> None:
    table = make()
    events = feed(table, [datagram(b"a"), datagram(b"bc", back=True, time_ns=START + 5)])
    events += table.finish()
    assert [payload.direction for payload in of(Payload, events)] == [0, 1]
    (closed,) = of(Closed, events)
    assert closed == Closed(1 << 32, START + 5, CloseReason.END, START, START + 5, 1, 1, 29, 30, 0, 0, 0)
    assert len(table) == 0


def test_the_larger_address_may_be_the_initiator(make: Make) -> None:
    (opened, *_) = feed(make(), [datagram(back=True)])
    assert isinstance(opened, Opened)
    assert (opened.initiator, opened.initiator_port) == (SERVER, 53)


def test_handshake_goodbye_and_linger(make: Make) -> None:
    table, talk = make(), Conversation()
    talk.handshake()
    talk.segment(0, PSH | ACK, b"GET /")
    talk.segment(1, PSH | ACK, b"200 OK")
    talk.goodbye()
    talk.segment(1, ACK)  # late: no ghost
    events = feed(table, talk.frames)
    assert [type(event) for event in events] == [Opened, Established, Payload, Payload]
    opened, established, request, reply = events
    assert established == Established(1 << 32, START + 1_000_000, 1_000_000)
    assert type(established) is Established
    assert isinstance(opened, Opened)
    assert (opened.initiator, opened.midstream) == (CLIENT, False)
    assert isinstance(request, Payload)
    assert (request.data, request.offset, request.handshake_ns) == (b"GET /", 0, 1_000_000)
    assert isinstance(reply, Payload)
    assert (reply.direction, reply.data, reply.offset) == (1, b"200 OK", 0)
    assert table.expire(talk.time_ns + 4 * SECOND) == []
    (closed,) = table.expire(talk.time_ns + 5 * SECOND)
    assert isinstance(closed, Closed)
    assert closed.reason == CloseReason.FIN
    assert (closed.packets_toserver, closed.packets_toclient) == (5, 4)
    assert (closed.tcp_flags_toserver, closed.tcp_flags_toclient) == (SYN | ACK | PSH | FIN,) * 2
    assert closed.handshake_ns == 1_000_000


def test_a_half_closed_flow_stays(make: Make) -> None:
    table, talk = make(), Conversation()
    talk.handshake()
    talk.segment(0, FIN | ACK)
    talk.segment(1, ACK)
    feed(table, talk.frames)
    assert table.expire(talk.time_ns + 60 * SECOND) == []
    (closed,) = table.finish()
    assert isinstance(closed, Closed)
    assert closed.reason == CloseReason.END


def test_a_reset_closes(make: Make) -> None:
    table, talk = make(), Conversation()
    talk.segment(0, SYN)
    talk.segment(1, RST | ACK)
    feed(table, talk.frames)
    (closed,) = table.expire(talk.time_ns + 6 * SECOND)
    assert isinstance(closed, Closed)
    assert closed.reason == CloseReason.RST


def test_the_receiver_of_a_syn_ack_is_the_initiator(make: Make) -> None:
    table, talk = make(), Conversation()
    talk.segment(1, SYN | ACK)
    talk.segment(1, ACK, b"hello")
    opened, established, payload = feed(table, talk.frames)
    assert established == Established(opened.flow, START, 0)
    assert isinstance(opened, Opened)
    assert (opened.initiator, opened.responder_port, opened.midstream) == (CLIENT, 80, False)
    assert isinstance(payload, Payload)
    assert (payload.direction, payload.offset, payload.handshake_ns) == (1, 0, 0)


def test_midstream(make: Make) -> None:
    table, talk = make(), Conversation()
    talk.segment(1, ACK, b"middle")
    talk.segment(0, ACK)
    opened, established, payload = feed(table, talk.frames)
    assert established == Established(opened.flow, START, 0)
    assert isinstance(opened, Opened)
    assert (opened.initiator, opened.midstream) == (SERVER, True)
    assert isinstance(payload, Payload)
    assert (payload.direction, payload.offset) == (0, 0)


def test_a_new_connection_on_closed_ports_is_a_new_flow(make: Make) -> None:
    table, first = make(), Conversation()
    first.handshake()
    first.goodbye()
    second = Conversation(client_start=9000)
    second.time_ns = first.time_ns
    second.segment(0, SYN)
    events = feed(table, [*first.frames, *second.frames])
    assert [type(event) for event in events] == [Opened, Established, Closed, Opened]
    assert events[2].flow == events[0].flow
    assert events[3].flow != events[0].flow
    (closed,) = of(Closed, events)
    assert closed.reason == CloseReason.FIN


def test_a_repeated_syn_is_not_a_new_flow(make: Make) -> None:
    table, talk = make(), Conversation()
    for _ in range(3):
        talk.segment(0, SYN, at=1000)
        talk.time_ns += 3 * SECOND
    talk.segment(1, RST | ACK)
    talk.segment(0, SYN, at=1000)
    assert len(of(Opened, feed(table, talk.frames))) == 1


def test_another_syn_after_silence_is_a_new_flow(make: Make) -> None:
    table, talk = make(), Conversation()
    talk.handshake()
    talk.segment(0, SYN, at=77)
    assert len(of(Opened, feed(table, talk.frames))) == 1
    again = Conversation(client_start=77_000)
    again.time_ns = talk.time_ns + SECOND
    again.segment(0, SYN)
    closed, opened = feed(table, again.frames)
    assert isinstance(closed, Closed)
    assert closed.reason == CloseReason.IDLE
    assert isinstance(opened, Opened)


def test_identifiers_are_never_used_twice(make: Make) -> None:
    table = make(capacity=2)
    frames = [datagram(port=port) for port in range(1, 50)]
    flows = [event.flow for event in of(Opened, feed(table, frames))]
    assert len(set(flows)) == len(flows) == 49


# -- connections that stand ---------------------------------------------------------------------------------------


def established(make: Make, *segments: tuple[int, int]) -> list[int]:
    """Numbers of the segments (direction, flags) at which the conversation was established."""
    talk = Conversation()
    for direction, kind in segments:
        talk.segment(direction, kind)
    return [(event.time_ns - START) // 1_000_000 for event in of(Established, feed(make(), talk.frames))]


@pytest.mark.parametrize(
    ("segments", "expected"),
    [
        pytest.param([(0, SYN), (0, SYN), (0, SYN)], [], id="never answered"),
        pytest.param([(0, SYN), (1, RST | ACK), (0, SYN), (1, RST | ACK)], [], id="refused"),
        pytest.param([(0, SYN), (1, RST | ACK), (1, SYN | ACK), (0, ACK)], [2], id="refused, then accepted"),
        pytest.param([(0, SYN), (0, RST)], [], id="taken back"),
        pytest.param([(0, SYN), (1, SYN | ACK | RST)], [], id="SYN-ACK-RST"),
        pytest.param([(0, SYN), (1, SYN | ACK), (0, RST)], [1], id="SYN scan of an open port"),
        pytest.param([(0, SYN), (1, SYN | ACK), (0, ACK), (1, SYN | ACK), (0, ACK)], [1], id="once"),
        pytest.param([(0, SYN), (0, SYN), (0, ACK), (0, PSH | ACK)], [2], id="initiator's direction alone"),
        pytest.param([(0, SYN), (1, PSH | ACK)], [1], id="SYN-ACK lost in the capture"),
        pytest.param([(0, SYN), (0, SYN | ACK)], [], id="the initiator's own SYN-ACK"),
        pytest.param([(0, SYN), (1, SYN), (0, SYN | ACK), (1, SYN | ACK)], [3], id="simultaneous open"),
        pytest.param([(1, SYN | ACK), (0, ACK)], [0], id="SYN not seen"),
        pytest.param([(0, ACK), (1, ACK)], [0], id="midstream"),
        pytest.param([(0, RST), (1, ACK)], [], id="midstream reset"),
        pytest.param([(0, FIN | ACK)], [0], id="midstream end"),
        pytest.param([(0, FIN), (0, 0), (0, FIN | PSH)], [], id="FIN, null and Xmas scan"),
    ],
)
def test_established(make: Make, segments: list[tuple[int, int]], expected: list[int]) -> None:
    assert established(make, *segments) == expected


def test_only_tcp_is_established(make: Make) -> None:
    assert of(Established, feed(make(), [datagram(), datagram(back=True)])) == []


def test_the_handshake_is_timed_from_the_last_syn(make: Make) -> None:
    table, talk = make(), Conversation()
    talk.segment(0, SYN, at=1000)
    talk.time_ns += SECOND
    talk.segment(0, SYN)
    talk.segment(1, SYN | ACK)
    assert of(Established, feed(table, talk.frames)) == [Established(1 << 32, START + SECOND + 2_000_000, 1_000_000)]


def test_each_reuse_of_the_ports_is_established_anew(make: Make) -> None:
    table, first, second = make(), Conversation(), Conversation(client_start=9000, server_start=70_000)
    first.handshake()
    first.goodbye()
    second.time_ns = first.time_ns
    second.handshake()
    events = feed(table, [*first.frames, *second.frames])
    assert [event.flow for event in of(Established, events)] == [event.flow for event in of(Opened, events)]


# -- time -------------------------------------------------------------------------------------------------------


def test_idle_flows_end_by_packet_time(make: Make) -> None:
    table = make(idle_s=10)
    feed(table, [datagram(port=1), datagram(port=2, time_ns=START + SECOND)])
    events = feed(table, [datagram(port=3, time_ns=START + 10 * SECOND)])
    assert [type(event) for event in events] == [Closed, Opened, Payload]
    (closed,) = of(Closed, events)
    assert (closed.reason, closed.last_ns, closed.time_ns) == (CloseReason.IDLE, START, START + 10 * SECOND)
    assert len(table.expire(START + 11 * SECOND)) == 1
    assert len(table) == 1


def test_a_packet_keeps_a_flow(make: Make) -> None:
    table = make(idle_s=10)
    feed(table, [datagram(time_ns=START + second * SECOND) for second in range(0, 60, 9)])
    assert table.expire(START + 63 * SECOND) == []
    assert len(table.expire(START + 64 * SECOND)) == 1


def test_what_is_due_first_ends_first(make: Make) -> None:
    table, talk = make(idle_s=6), Conversation()
    talk.segment(0, RST)
    feed(table, [datagram(port=2, time_ns=START - 2 * SECOND), *talk.frames, datagram(port=3, time_ns=START)])
    reasons = [event.reason for event in of(Closed, table.expire(START + 60 * SECOND))]
    assert reasons == [CloseReason.IDLE, CloseReason.RST, CloseReason.IDLE]


def test_of_two_due_at_once_the_closed_one_ends_first(make: Make) -> None:
    table, talk = make(idle_s=5), Conversation()
    talk.segment(0, RST)
    feed(table, [datagram(), *talk.frames])
    reasons = [event.reason for event in of(Closed, table.expire(START + 5 * SECOND))]
    assert reasons == [CloseReason.RST, CloseReason.IDLE]


def test_long_flows_get_interim_records(make: Make) -> None:
    table = make(idle_s=100, active_s=60)
    frames = [datagram(b"", time_ns=START + second * SECOND) for second in range(0, 130, 10)]
    interim = of(Closed, feed(table, frames))
    assert [event.reason for event in interim] == [CloseReason.ACTIVE] * 2
    assert [event.packets_toserver for event in interim] == [6, 12]
    (closed,) = of(Closed, table.finish())
    assert closed.packets_toserver == 13
    assert closed.flow == interim[0].flow


def test_time_that_goes_back_stands_still(make: Make) -> None:
    table = make(idle_s=10)
    frames = [datagram(b""), datagram(b"", time_ns=START - 5 * SECOND), datagram(b"", time_ns=START + 9 * SECOND)]
    feed(table, frames)
    (closed,) = table.expire(START + 19 * SECOND)
    assert isinstance(closed, Closed)
    assert (closed.first_ns, closed.last_ns) == (START, START + 9 * SECOND)
    assert table.counters()["clock_steps"] == 0


def test_packets_that_expire_ran_ahead_of_keep_their_times(make: Make) -> None:
    table, talk = make(), Conversation()
    talk.handshake()
    talk.segment(0, ACK, b"x")
    table.expire(START + SECOND)
    opened, _, payload = feed(table, talk.frames)
    assert opened.time_ns == START
    assert isinstance(payload, Payload)
    assert (payload.time_ns, payload.handshake_ns) == (START + 3_000_000, 1_000_000)
    assert table.counters()["clock_steps"] == 0


def test_a_clock_that_was_set_back_does_not_stop_expiry(make: Make) -> None:
    table = make(idle_s=10)
    feed(table, [datagram(port=1)])
    past = START - 5 * 3600 * SECOND
    events = feed(table, [datagram(port=2, time_ns=past), datagram(port=3, time_ns=past + 10 * SECOND)])
    assert len(of(Closed, events)) == 2
    assert table.counters()["clock_steps"] == 1
    assert events[0].time_ns == past


@pytest.mark.parametrize("time_ns", [1, 2**62, 2**63, 2**64 - 1])
def test_any_time_is_survived(make: Make, time_ns: int) -> None:
    table = make()
    events = feed(table, [datagram(), datagram(time_ns=time_ns), datagram(), datagram(time_ns=time_ns)])
    events += table.expire(time_ns)
    events += table.finish()
    assert len(of(Opened, events)) == len(of(Closed, events))


def test_a_time_of_zero_is_none(make: Make) -> None:
    table = make()
    assert feed(table, [datagram(), datagram(time_ns=0)])[-1].time_ns == START
    assert table.counters()["clock_steps"] == 0


# -- payload ----------------------------------------------------------------------------------------------------


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


# -- interfaces, fragments, bounds ------------------------------------------------------------------------------


def test_a_direction_belongs_to_one_interface(make: Make) -> None:
    table = make()
    frames = [datagram(), datagram(back=True)]
    feed(table, [frame._replace(interface=number) for frame in frames for number in (3, 4)])
    assert table.counters()["frames_other_interface"] == 2
    (closed,) = of(Closed, table.finish())
    assert (closed.packets_toserver, closed.packets_toclient) == (1, 1)


def fragments(identification: int = 7, order: Sequence[int] = (0, 1, 2), time_ns: int = START) -> list[Frame]:
    whole = udp(b"z" * 40)
    parts = [
        ipv4(whole[at : at + 16], 17, identification=identification, fragment=(0x2000 if at < 32 else 0) | at // 8)
        for at in (0, 16, 32)
    ]
    return [Frame(ethernet(parts[number]), time_ns) for number in order]


def test_fragments_count_to_the_flow_of_the_first(make: Make) -> None:
    table = make()
    opened, payload = feed(table, fragments())
    assert isinstance(opened, Opened)
    assert (opened.initiator_port, opened.responder_port) == (1000, 53)
    assert isinstance(payload, Payload)
    assert (payload.data, payload.wire_length) == (b"z" * 40, 40)
    (closed,) = of(Closed, table.finish())
    assert (closed.packets_toserver, closed.bytes_toserver) == (3, 48 + 3 * 20)


def test_fragments_without_a_first_are_counted(make: Make) -> None:
    table = make()
    assert feed(table, fragments(order=(1, 2))) == []
    feed(table, fragments(8, order=(0,)))
    feed(table, fragments(8, order=(1,), time_ns=START + 31 * SECOND))
    assert table.counters()["frames_orphan_fragment"] == 3


def test_the_fragment_table_is_bounded(make: Make) -> None:
    table = make()
    frames = [fragments(number, order=(0,))[0] for number in range(5000)]
    feed(table, frames)
    assert table.counters()["fragments_displaced"] == 5000 - 4096
    feed(table, [fragments(number, order=(1,))[0] for number in (904, 4999, 0, 903)])
    assert table.counters()["frames_orphan_fragment"] == 2


def test_a_full_table_evicts_the_oldest(make: Make) -> None:
    table = make(capacity=3)
    events = feed(table, [datagram(b"", port=port) for port in (1, 2, 3, 1, 4)])
    (closed,) = of(Closed, events)
    assert (closed.reason, closed.flow) == (CloseReason.EVICTED, events[1].flow)
    assert [type(event) for event in events][3:] == [Closed, Opened]
    assert table.counters()["flows_evicted"] == 1
    assert len(table) == 3


def test_a_full_table_gives_up_closed_flows_first(make: Make) -> None:
    table, talk = make(capacity=2), Conversation()
    talk.segment(0, RST)
    (_, closed, _) = feed(table, [datagram(b"", port=1), *talk.frames, datagram(b"", port=2)])[1:]
    assert isinstance(closed, Closed)
    assert closed.reason == CloseReason.RST
    assert table.counters()["flows_evicted"] == 0


def syn(port: int, time_ns: int = START) -> Frame:
    talk = Conversation(port=port)
    talk.time_ns = time_ns
    talk.segment(0, SYN)
    return talk.frames[0]


def answered(port: int, time_ns: int = START) -> list[Frame]:
    talk = Conversation(port=port)
    talk.time_ns = time_ns
    talk.handshake()
    return talk.frames


def evicted(events: list[FlowEvent]) -> list[int]:
    """Ports of the flows that were evicted."""
    ports = {event.flow: event.initiator_port for event in of(Opened, events)}
    assert all(event.reason == CloseReason.EVICTED for event in of(Closed, events))
    return [ports[event.flow] for event in of(Closed, events)]


def test_a_full_table_gives_up_what_nobody_answered_before_what_is_older(make: Make) -> None:
    table = make(capacity=4)
    frames = [
        datagram(b"", port=1),
        *answered(2),
        syn(3, START + SECOND),
        datagram(b"", port=4, time_ns=START + SECOND),
    ]
    events = feed(table, [*frames, syn(5, START + 2 * SECOND + 1)])
    assert evicted(events) == [3]
    counters = table.counters()
    assert (counters["flows_evicted"], counters["flows_evicted_halfopen"]) == (0, 1)


def test_a_syn_that_may_still_be_answered_is_kept(make: Make) -> None:
    table = make(capacity=4)
    frames = [
        datagram(b"", port=1),
        *answered(2),
        syn(3, START + SECOND),
        datagram(b"", port=4, time_ns=START + SECOND),
    ]
    events = feed(table, [*frames, syn(5, START + 2 * SECOND)])
    assert evicted(events) == [1]
    counters = table.counters()
    assert (counters["flows_evicted"], counters["flows_evicted_halfopen"]) == (1, 0)


def test_the_oldest_of_all_may_be_half_open(make: Make) -> None:
    table = make(capacity=4)
    frames = [syn(1), datagram(b"", port=2, time_ns=START + 1), *answered(3, START + 1), syn(4, START + 2)]
    assert evicted(feed(table, [*frames, datagram(b"", port=5, time_ns=START + 9_000_000)])) == [1]


def test_a_flood_of_syns_does_not_push_out_connections(make: Make) -> None:
    """Faster than half-open flows get old."""
    table = make(capacity=64)
    talks = [frame for port in range(1, 21) for frame in answered(port)]
    flood = [syn(1000 + number, START + SECOND + number) for number in range(5000)]
    events = feed(table, [*talks, *flood])
    assert min(evicted(events)) >= 1000
    assert table.counters()["flows_evicted"] == 0
    assert table.counters()["flows_evicted_halfopen"] == 5000 - 44
    assert len(table) == 64


def test_a_syn_ack_opens_a_flow_that_was_evicted_anew(make: Make) -> None:
    table, talk = make(capacity=1), Conversation(port=7)
    talk.handshake()
    events = feed(table, [talk.frames[0], syn(8), *talk.frames[1:]])
    assert evicted(events) == [7, 8]
    again = of(Opened, events)[-1]
    assert (again.initiator, again.initiator_port, again.midstream) == (CLIENT, 7, False)
    assert [event.flow for event in of(Established, events)] == [again.flow]


def test_half_open_flows_end_sooner(make: Make) -> None:
    table = make()
    frames = [syn(1), syn(2), syn(3), *answered(4), syn(2, START + 20 * SECOND)]
    ports = {event.flow: event.initiator_port for event in of(Opened, feed(table, frames))}
    due = START + round(limits.HALF_OPEN_TIMEOUT_S * SECOND)
    assert table.expire(due - 1) == []
    assert [ports[event.flow] for event in of(Closed, table.expire(due))] == [1, 3]
    assert [ports[event.flow] for event in of(Closed, table.expire(due + 20 * SECOND))] == [2]
    (closed,) = of(Closed, table.expire(due + 90 * SECOND + 2_000_000))
    assert (ports[closed.flow], closed.reason) == (4, CloseReason.IDLE)


def test_half_open_flows_do_not_outlive_the_others(make: Make) -> None:
    table = make(idle_s=5)
    feed(table, [datagram(), syn(1)])
    assert len(table.expire(START + 5 * SECOND)) == 2


def test_many_flows_at_once(make: Make) -> None:
    table = make(capacity=20_000)
    frames = [datagram(port=port) for port in range(1, 12_001)]
    events = feed(table, frames)
    assert [type(event) for event in events] == [Opened, Payload] * 12_000
    assert [event.flow & 0xFFFFFFFF for event in events[::2]] == list(range(12_000))
    assert len(of(Closed, table.expire(START + 121 * SECOND))) == 12_000


def test_a_packet_to_itself(make: Make) -> None:
    table = make()
    frame = Frame(ethernet(ipv4(tcp(SYN | ACK, 1, 1, b"land", 9, 9), 6, CLIENT, CLIENT)))
    _, payload = feed(table, [frame, frame])
    assert isinstance(payload, Payload)
    assert payload.direction == 0
    (closed,) = of(Closed, table.finish())
    assert closed.packets_toserver == 2


# -- the call ---------------------------------------------------------------------------------------------------


def test_frames_beyond_the_data_are_counted(make: Make) -> None:
    table = make()
    whole = block([datagram(), datagram()])
    feed(table, [])
    assert len(table.feed(Block(whole.data[:-1], whole.frames))) == 2
    counters = table.counters()
    assert (counters["frames"], counters["packets"], counters["frames_bad_entry"]) == (2, 1, 1)


@pytest.mark.parametrize("kind", [bytes, bytearray, memoryview])
def test_any_buffer_will_do(make: Make, kind: type) -> None:
    whole = block([datagram()])
    assert len(make().feed(Block(kind(whole.data), whole.frames))) == 2


def test_half_an_entry_is_an_error(make: Make) -> None:
    with pytest.raises(ValueError, match="whole number"):
        make().feed(Block(b"", b"x"))


def test_frames_are_packets_and_drops(make: Make) -> None:
    table = make()
    bad = [Frame(b"x"), Frame(ethernet(b"", 0x0806)), Frame(b"", linktype=999), Frame(ethernet(b"\x45"), wire=99)]
    feed(table, [datagram(), *bad, *fragments(order=(1,))])
    counters = table.counters()
    assert counters["frames"] == 6
    assert counters["frames"] == counters["packets"] + sum(
        value for name, value in counters.items() if name.startswith("frames_")
    )
    assert counters["bytes"] == 43 + 1 + 14 + 0 + 99 + 50


def test_wrong_settings() -> None:
    for settings in (
        FlowSettings(capacity=0),
        FlowSettings(capacity=2**30),
        FlowSettings(idle_timeout_s=0),
        FlowSettings(active_timeout_s=float("nan")),
    ):
        with pytest.raises(ConfigError):
            make_table(settings)
    for follow in ((b"",), (b"x" * 65,), (b"x",) * 33):
        with pytest.raises(ConfigError):
            make_table(FlowSettings(), follow=follow)
    with pytest.raises(ConfigError, match="16 bytes"):
        make_table(FlowSettings(), seed=b"short")


@needs_native()
def test_the_best_there_is_is_native() -> None:
    assert type(make_table(FlowSettings(capacity=1))).__module__ == "flowsonar._native._core"


@needs_native()
def test_two_threads_do_not_meet_inside() -> None:
    table = make_table(FlowSettings(capacity=64), native=True)
    frames = block([datagram(port=port) for port in range(1, 3000)])
    failures: list[BaseException] = []

    def work() -> None:
        try:
            for _ in range(20):
                table.feed(frames)
        except RuntimeError as error:
            failures.append(error)

    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    fed = table.counters()["frames"]
    assert fed % 2999 == 0
    assert fed == 80 * 2999 or failures
