"""Interfaces, fragments, and what a full table gives up; on both implementations."""

from collections.abc import Sequence

from flowsonar import limits
from flowsonar.flows.events import Closed, CloseReason, Established, FlowEvent, Opened, Payload
from tests.flows.conftest import Make
from tests.flows.frames import ACK, CLIENT, RST, SECOND, START, SYN, Conversation, Frame, ethernet, ipv4, tcp, udp
from tests.flows.tables import datagram, feed, of


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
