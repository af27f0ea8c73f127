"""When the table ends flows; on both implementations."""

import pytest

from flowsonar.flows.events import Closed, CloseReason, Opened, Payload
from tests.flows.conftest import Make
from tests.flows.frames import ACK, RST, SECOND, START, Conversation
from tests.flows.tables import datagram, feed, of


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
