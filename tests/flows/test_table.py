"""Which flows the table makes of packets, and how it is called; on both implementations."""

import threading

import pytest

from flowsonar.config import FlowSettings
from flowsonar.errors import ConfigError
from flowsonar.flows.events import Closed, CloseReason, Established, Opened, Payload
from flowsonar.flows.table import make_table
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
    block,
)
from tests.flows.tables import datagram, feed, of
from tests.needs import needs_native


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
