"""The tracker with the real signatures and passive reader; events and answers are written down as they would come."""

from collections.abc import Callable

import pytest

from flowsonar import limits
from flowsonar.config import FlowSettings
from flowsonar.flows import make_table
from flowsonar.flows._reference_tunnels import Hop, Tunnel
from flowsonar.flows.events import Closed, CloseReason, Payload
from flowsonar.flows.hops import pack_hop
from flowsonar.model import (
    Answer,
    Confidence,
    Endpoint,
    Evidence,
    EvidenceKind,
    Outcome,
    RecordType,
    Side,
    Transport,
    Verdict,
)
from flowsonar.signatures import SignatureSet
from flowsonar.verdicts.tracker import Tracker
from tests.flows.frames import ACK, RST, SYN, Conversation, Frame, block
from tests.protocols.hellos import client_hello, server_hello
from tests.verdicts.following import (
    MS,
    PUTTY,
    RANDOM,
    SERVER,
    SSH,
    Memory,
    closed,
    endpoint,
    flow_records,
    opened,
    payload,
    reply,
    stands,
)


def test_a_flow_in_a_tunnel_is_named_so_and_nobody_is_asked(make: Callable[..., Tracker]) -> None:
    tracker = make()
    outer = pack_hop(Hop(Tunnel.VXLAN, bytes([192, 0, 2, 1]), bytes([192, 0, 2, 2]), 100))
    tracker.feed([opened()._replace(outer=outer), stands(), payload(b"\x00odd"), closed()])
    assert not tracker.questions
    (record,) = [record for record in tracker.records if record.type is RecordType.FLOW]
    assert record.hops == ("vxlan 192.0.2.1 > 192.0.2.2 100",)


def test_what_shows_itself_is_not_asked(make: Callable[..., Tracker]) -> None:
    tracker = make()
    tracker.feed([opened(), stands(), payload(PUTTY), payload(SSH, direction=1)])
    tracker.due(1 << 62)
    assert not tracker.questions
    tracker.feed([closed()])
    (record,) = flow_records(tracker)
    assert (record.verdict.service, record.verdict.confidence) == ("ssh", Confidence.CONFIRMED)
    assert (record.counters.packets_toserver, record.counters.bytes_toclient) == (5, 400)
    assert record.reason == "fin"
    assert len(tracker) == 0


def test_unknown_bytes_are_asked_about_at_once_and_the_record_waits_for_the_answer(
    make: Callable[..., Tracker],
) -> None:
    tracker = make()
    tracker.feed([opened(), stands(), payload(RANDOM)])
    assert [question.endpoint for question in tracker.questions] == [endpoint()]
    assert tracker.questions[0].hints.initiator_bytes == RANDOM
    tracker.feed([closed()])
    assert not tracker.records
    tracker.answer(Answer(endpoint=endpoint(), outcome=Outcome.ANSWERED, evidence=(reply(),)), 12 * MS)
    assert [record.type for record in tracker.records] == [RecordType.VERDICT, RecordType.FLOW]
    assert all(record.verdict.service == "ssh" for record in tracker.records)
    assert tracker.records[0].verdict_ms == 12.0
    assert tracker.records[0].verdict.evidence[0].side is Side.RESPONDER
    assert len(tracker) == 0


@pytest.mark.parametrize(("port", "wait_ms"), [(7777, limits.SILENCE_WAIT_PEERS_MS), (22, limits.SILENCE_WAIT_MS)])
def test_a_quiet_flow_is_asked_about_when_its_grace_is_over(
    make: Callable[..., Tracker], port: int, wait_ms: int
) -> None:
    tracker = make()
    tracker.feed([opened(ports=(40000, port))])
    assert tracker.next_due_ns is None
    tracker.feed([stands(at=20 * MS, handshake_ns=20 * MS)])
    assert not tracker.questions
    due = tracker.next_due_ns
    assert due == (20 + wait_ms) * MS
    tracker.due(due - 1)
    assert not tracker.questions
    tracker.due(due)
    assert [question.endpoint for question in tracker.questions] == [endpoint(port)]
    assert tracker.questions[0].hints.rtt_ms == 20.0


@pytest.mark.parametrize("jump_ns", [3600_000 * MS, -3600_000 * MS])
def test_a_grace_is_as_long_where_the_clock_is_set_meanwhile(make: Callable[..., Tracker], jump_ns: int) -> None:
    tracker = make()
    tracker.feed([opened(at=7200_000 * MS), stands(at=7200_000 * MS)])
    due = tracker.next_due_ns
    assert due is not None
    tracker.clock_jumped(jump_ns)
    assert tracker.next_due_ns == due + jump_ns
    tracker.due(due + jump_ns - 1)
    assert not tracker.questions
    tracker.due(due + jump_ns)
    assert len(tracker.questions) == 1


def test_a_flow_from_the_middle_that_shows_nothing_asks_the_number_over_udp_and_waits(
    make: Callable[..., Tracker],
) -> None:
    tracker = make()
    tracker.feed([opened(midstream=True), stands(at=20 * MS)])
    assert not tracker.questions
    due = tracker.next_due_ns
    assert due is not None
    assert due < (20 + limits.SILENCE_WAIT_MS) * MS / 2
    tracker.due(due)
    assert [question.endpoint.transport for question in tracker.questions] == [Transport.UDP]
    assert tracker.questions[0].hints.candidates == ("bittorrent",)
    tracker.questions.clear()
    due = tracker.next_due_ns
    assert due is not None
    assert due >= limits.SILENCE_WAIT_MIDDLE_MS * MS
    tracker.due(due)
    assert [question.endpoint.transport for question in tracker.questions] == [Transport.TCP]
    assert tracker.questions[0].hints.candidates == ("bittorrent", "tls")


def test_the_next_connection_of_a_host_that_speaks_with_peers_is_expected_to_be_asked(
    make: Callable[..., Tracker],
) -> None:
    tracker = make(live=True)
    tracker.feed([opened()])
    assert not tracker.expected
    tracker.feed([stands(at=MS), payload(b"\x13BitTorrent protocol" + bytes(48), at=2 * MS)])
    tracker.feed([opened(2, at=3 * MS, ports=(40001, 7778)), opened(3, at=3 * MS, ports=(40002, 443))])
    tracker.feed([opened(4, at=3 * MS, ports=(40003, 7779), midstream=True)])
    assert tracker.expected == [Endpoint(Transport.TCP, SERVER, 7778)]


def test_what_is_known_by_its_number_is_asked_over_tcp_when_it_speaks(make: Callable[..., Tracker]) -> None:
    tracker = make()
    tracker.feed([opened(midstream=True), stands(at=20 * MS)])
    tracker.due(tracker.next_due_ns or 0)
    beside = tracker.questions[0].endpoint
    tracker.questions.clear()
    told = reply("bittorrent", Confidence.CONFIRMED)
    tracker.answer(Answer(endpoint=beside, outcome=Outcome.ANSWERED, evidence=(told,)), 60 * MS)
    assert tracker.records[-1].verdict.confidence is Confidence.LIKELY
    tracker.due(10**12)
    assert not tracker.questions
    tracker.feed([payload(b"\x9a\x01\xe3" * 3, at=700 * MS)])
    tracker.due(10**12)
    assert tracker.questions[0].endpoint.transport is Transport.TCP
    assert tracker.questions[0].hints.candidates[0] == "bittorrent"


def test_the_end_of_a_connection_without_a_byte_asks_nobody(make: Callable[..., Tracker]) -> None:
    tracker = make()
    end = closed(at=30 * MS)
    tracker.feed([opened(midstream=True), stands(at=20 * MS), Closed(*end[:5], 2, 1, *end[7:])])
    tracker.due(10**12)
    assert not tracker.questions


def test_what_ended_before_it_said_a_byte_is_asked_about_where_it_was_alive(make: Callable[..., Tracker]) -> None:
    tracker = make()
    tracker.feed([opened(midstream=True, ports=(40000, 6379)), stands(at=20 * MS)])
    tracker.due(limits.SILENCE_WAIT_MIDDLE_MS * MS)
    assert not tracker.questions
    tracker.due(limits.SILENCE_WAIT_MS * MS)
    assert [question.endpoint.transport for question in tracker.questions] == [Transport.TCP]
    assert tracker.questions[0].hints.candidates == ("tls",)
    other = make()
    other.feed([opened(midstream=True), stands(at=20 * MS)])
    other.feed([closed(at=700 * MS)])
    assert [question.endpoint.transport for question in other.questions] == [Transport.TCP, Transport.UDP]


def test_a_question_that_was_put_blindly_learns_what_the_flow_says_meanwhile(make: Callable[..., Tracker]) -> None:
    tracker = make()
    tracker.feed([opened(), stands(at=20 * MS)])
    due = tracker.next_due_ns
    assert due is not None
    tracker.due(due)
    hints = tracker.questions[0].hints
    assert hints.initiator_bytes == b""
    tracker.feed([payload(RANDOM, at=due + MS)])
    assert hints.initiator_bytes == RANDOM[: limits.EVIDENCE_BYTES]
    assert hints.first_speaker is Side.INITIATOR
    tracker.feed([payload(b"later", direction=1, at=due + 2 * MS)])
    assert hints.responder_bytes == b""  # the planner must not see the question change under it for ever


def test_what_a_flow_shows_of_an_endpoint_ends_the_asking_of_it(make: Callable[..., Tracker]) -> None:
    tracker = make(cache=Memory())
    tracker.feed([opened(1), stands(1), payload(RANDOM), closed(1)])
    assert [question.endpoint for question in tracker.questions] == [endpoint()]
    tracker.feed([opened(2), stands(2), payload(PUTTY, flow=2), payload(SSH, flow=2, direction=1, at=5 * MS)])
    assert tracker.withdrawn == [endpoint()]
    (record,) = flow_records(tracker)
    assert (record.flow_id, record.verdict.service) == (1, "ssh")
    assert record.verdict.evidence[0].kind is EvidenceKind.ENDPOINT
    tracker.answer(Answer(endpoint=endpoint(), outcome=Outcome.CANCELLED), 9 * MS)
    assert tracker.flow(1) is None


def test_what_looks_enciphered_and_nobody_knows_is_a_class_of_its_own(make: Callable[..., Tracker]) -> None:
    told: list[Verdict] = []
    tracker = make(decided=lambda _number, _key, verdict: told.append(verdict))
    tracker.feed([opened(), stands(), payload(RANDOM)])
    tracker.answer(Answer(endpoint=endpoint(), outcome=Outcome.CLOSED), 3 * MS)
    tracker.feed([closed()])
    (record,) = flow_records(tracker)
    assert record.verdict.encrypted
    assert (record.verdict.service, record.verdict.confidence) == (None, Confidence.UNKNOWN)
    assert "closed" in record.verdict.evidence[0].detail
    assert [verdict.encrypted for verdict in told] == [True]
    other = make()
    other.feed([opened(), stands(), payload(b"what may this be, who knows it?")])
    other.answer(Answer(endpoint=endpoint(), outcome=Outcome.CLOSED), 3 * MS)
    other.feed([closed()])
    assert not flow_records(other)[0].verdict.encrypted


def test_nobody_who_may_be_asked_tells(make: Callable[..., Tracker]) -> None:
    tracker = make(permits=lambda _endpoint: "out of scope")
    tracker.feed([opened(), stands(), payload(RANDOM), payload(RANDOM[::-1], direction=1, at=2 * MS)])
    tracker.feed([closed()])
    (record,) = flow_records(tracker)
    assert record.verdict.encrypted
    assert "both directions" in record.verdict.evidence[0].detail


def test_a_server_that_says_tls_is_asked_on_for_what_is_inside(make: Callable[..., Tracker]) -> None:
    tracker = make(cache=Memory())
    tracker.feed([opened(), stands(), payload(client_hello())])
    assert [question.endpoint for question in tracker.questions] == [endpoint()]
    tracker.feed([payload(server_hello(), direction=1, at=5 * MS)])
    flow = tracker.flow(1)
    assert flow is not None
    assert (flow.verdict.service, flow.verdict.confidence) == ("tls", Confidence.CONFIRMED)
    assert tracker.withdrawn == []


def test_a_flow_that_shows_what_it_is_waits_for_no_answer(make: Callable[..., Tracker]) -> None:
    tracker = make()
    tracker.feed([opened(midstream=True), stands(), payload(RANDOM)])
    assert [question.endpoint for question in tracker.questions] == [endpoint(), endpoint(transport=Transport.UDP)]
    request = bytes.fromhex("0000000d 06 00000017 0001c000 00004000")
    piece = bytes.fromhex("00004009 07 00000017 0001c000") + RANDOM
    tracker.feed([payload(request, at=5 * MS, index=1), payload(piece, direction=1, at=6 * MS)])
    assert tracker.withdrawn == [endpoint()]
    tracker.feed([closed()])
    (record,) = flow_records(tracker)
    assert (record.verdict.service, record.verdict.confidence) == ("bittorrent", Confidence.CONFIRMED)


def test_a_flow_that_was_there_before_the_answer_inherits_it_when_it_speaks(make: Callable[..., Tracker]) -> None:
    tracker = make(cache=Memory())
    tracker.feed([opened(midstream=True), stands(), payload(RANDOM), opened(2, midstream=True), stands(2)])
    proof = Evidence(
        kind=EvidenceKind.REPLY, service="bittorrent", confidence=Confidence.LIKELY, probe="bittorrent/mse",
        signature="bittorrent/mse",
    )  # fmt: skip
    tracker.answer(Answer(endpoint=endpoint(), outcome=Outcome.ANSWERED, evidence=(proof,), final=False), 3 * MS)
    tracker.feed([payload(RANDOM, flow=2, at=4 * MS)])
    flow = tracker.flow(2)
    assert flow is not None
    assert (flow.verdict.service, flow.verdict.confidence) == ("bittorrent", Confidence.LIKELY)
    tracker.feed([opened(3, midstream=True), stands(3)])
    tracker.answer(Answer(endpoint=endpoint(), outcome=Outcome.ANSWERED, evidence=(reply("bittorrent"),)), 5 * MS)
    asked = len(tracker.questions)
    tracker.feed([payload(RANDOM, flow=3, at=6 * MS)])
    third = tracker.flow(3)
    assert third is not None
    assert (third.verdict.service, third.verdict.confidence) == ("bittorrent", Confidence.CONFIRMED)
    assert len(tracker.questions) == asked


def test_media_that_is_sent_back_is_media_still(make: Callable[..., Tracker]) -> None:
    tracker = make()
    media = [
        bytes.fromhex(f"80000{number:03x}0000{160 * number:04x}cafe0001") + bytes(range(160)) for number in range(4)
    ]
    tracker.feed([opened(protocol=17), stands()])
    tracker.feed([payload(data, at=20 * MS * place, index=place) for place, data in enumerate(media)])
    flow = tracker.flow(1)
    assert flow is not None
    assert (flow.verdict.service, flow.verdict.confidence) == ("rtp", Confidence.LIKELY)
    tracker.due(900 * MS)
    where = endpoint(transport=Transport.UDP)
    assert flow.waiting == where
    tracker.answer(Answer(endpoint=where, outcome=Outcome.ANSWERED, evidence=(reply("echo"),)), 990 * MS)
    assert (flow.verdict.service, flow.verdict.confidence) == ("rtp", Confidence.LIKELY)
    tracker.feed([payload(data, at=1000 * MS + place, direction=1, index=place) for place, data in enumerate(media)])
    assert (flow.verdict.service, flow.verdict.confidence) == ("rtp", Confidence.CONFIRMED)


def test_what_a_number_answers_over_udp_labels_the_tcp_flows_that_look_like_it(make: Callable[..., Tracker]) -> None:
    cache = Memory()
    tracker = make(cache=cache)
    tracker.feed([opened(midstream=True), stands(), payload(RANDOM)])
    beside = tracker.questions[1]
    assert (beside.endpoint, beside.hints.candidates) == (endpoint(transport=Transport.UDP), ("bittorrent",))
    assert beside.hints.beside
    told = Answer(endpoint=beside.endpoint, outcome=Outcome.ANSWERED, evidence=(reply("bittorrent"),))
    tracker.answer(told, 2 * MS)
    flow = tracker.flow(1)
    assert flow is not None
    assert (flow.verdict.service, flow.verdict.confidence) == ("bittorrent", Confidence.LIKELY)
    tracker.answer(Answer(endpoint=endpoint(), outcome=Outcome.SILENT), 9 * MS)
    assert (flow.verdict.service, flow.verdict.confidence) == ("bittorrent", Confidence.LIKELY)


def test_one_datagram_without_an_answer_is_not_held_against_the_number(make: Callable[..., Tracker]) -> None:
    cache = Memory()
    tracker = make(cache=cache)
    tracker.feed([opened(midstream=True), stands(), payload(RANDOM)])
    tracker.answer(Answer(endpoint=endpoint(transport=Transport.UDP), outcome=Outcome.SILENT), 2 * MS)
    tracker.answer(Answer(endpoint=endpoint(), outcome=Outcome.SILENT), 9 * MS)
    assert [where for where, *_ in cache.failures] == [endpoint()]


def test_what_a_dialogue_proves_before_its_end_labels_the_flow_until_the_answer_replaces_it(
    make: Callable[..., Tracker],
) -> None:
    tracker = make()
    tracker.feed([opened(), stands(), payload(RANDOM)])
    piece = Evidence(
        kind=EvidenceKind.REPLY, service="bittorrent", confidence=Confidence.LIKELY, probe="bittorrent/mse",
        signature="bittorrent/mse", data=b"x",
    )  # fmt: skip
    early = Answer(endpoint=endpoint(), outcome=Outcome.ANSWERED, evidence=(piece,), final=False)
    tracker.answer(early, 3 * MS)
    record = tracker.records[-1]
    assert (record.verdict.service, record.verdict.confidence) == ("bittorrent", Confidence.LIKELY)
    tracker.answer(Answer(endpoint=endpoint(), outcome=Outcome.SILENT), 9 * MS)
    flow = tracker.flow(1)
    assert flow is not None
    assert flow.verdict.service is None
    tracker.answer(early, 10 * MS)  # nobody waits for it any more
    assert flow.verdict.service is None


@pytest.mark.parametrize("reason", list(CloseReason))
@pytest.mark.parametrize("sent", [[], [payload(RANDOM)]], ids=["SYNs", "SYNs with data"])
def test_connections_that_nobody_accepted_are_not_asked_about(
    make: Callable[..., Tracker], reason: CloseReason, sent: list[Payload]
) -> None:
    """A port scan that passes by is not repeated, whatever the table has to say of its flows but `Established`."""
    tracker = make()
    tracker.feed([opened(), *sent, closed(reason=CloseReason.ACTIVE)])
    tracker.due(1 << 62)
    tracker.feed([closed(reason=reason)])
    tracker.due(1 << 63)
    assert not tracker.questions
    assert tracker.counts["questions"] == 0


def test_a_port_scan_that_passes_by_is_not_repeated(make: Callable[..., Tracker]) -> None:
    """Through the table: of a hundred ports that are scanned, one accepts."""
    frames: list[Frame] = []
    for port in range(1000, 1100):
        talk = Conversation(port=port)
        talk.segment(0, SYN)
        talk.segment(0, SYN, at=1000)
        if port % 2:
            talk.segment(1, RST | ACK)
        elif port == 1042:
            talk.segment(1, SYN | ACK)
            talk.segment(0, RST)
        frames += talk.frames
    tracker, table = make(), make_table(FlowSettings(capacity=128))
    tracker.feed(table.feed(block(frames)))
    tracker.due(1 << 62)
    tracker.feed(table.finish())
    tracker.due(1 << 63)
    assert [question.hints.rtt_ms for question in tracker.questions] == [1.0]
    assert tracker.counts["flows"] == 100


def test_data_within_a_syn_is_asked_about_once_the_connection_stands(make: Callable[..., Tracker]) -> None:
    tracker = make()
    tracker.feed([opened(), payload(RANDOM)])
    assert not tracker.questions
    tracker.feed([stands(at=2 * MS, handshake_ns=2 * MS)])
    assert [question.endpoint for question in tracker.questions] == [endpoint()]
    assert tracker.questions[0].hints.initiator_bytes == RANDOM


def test_a_connection_that_does_not_concern_us_is_no_trouble(make: Callable[..., Tracker]) -> None:
    tracker = make(own=lambda _: True)
    tracker.feed([opened(), stands(), stands(2)])
    assert tracker.next_due_ns is None
    assert len(tracker) == 0


def test_a_connection_that_was_reset_at_once_is_not_asked_about(make: Callable[..., Tracker]) -> None:
    tracker = make()
    tracker.feed([opened(), stands(), closed(reason=CloseReason.RST)])
    tracker.due(1 << 62)
    assert not tracker.questions
    assert len(flow_records(tracker)) == 1


def test_a_tls_hello_is_looked_into(make: Callable[..., Tracker], signatures: SignatureSet) -> None:
    tracker = make()
    hello = next(
        example for example in signatures.services["tls"].examples if example.side is Side.INITIATOR and example.matches
    )
    tracker.feed([opened(), stands(), payload(hello.data)])
    assert [question.endpoint for question in tracker.questions] == [endpoint()]
    inside = Evidence(kind=EvidenceKind.REPLY, service="http", over="tls", confidence=Confidence.CONFIRMED)  # type: ignore[arg-type]
    tracker.answer(Answer(endpoint=endpoint(), outcome=Outcome.ANSWERED, evidence=(inside,)), 5 * MS)
    tracker.feed([closed()])
    assert (flow_records(tracker)[0].verdict.service, flow_records(tracker)[0].verdict.over) == ("http", "tls")


def test_flows_of_one_endpoint_share_one_question(make: Callable[..., Tracker]) -> None:
    tracker = make()
    for flow in (1, 2, 3):
        tracker.feed([opened(flow, ports=(40000 + flow, 7777)), stands(flow), payload(RANDOM, flow=flow)])
    assert len(tracker.questions) == 1
    tracker.answer(Answer(endpoint=endpoint(), outcome=Outcome.ANSWERED, evidence=(reply(),)), 5 * MS)
    tracker.feed([closed(flow) for flow in (1, 2, 3)])
    assert [record.verdict.service for record in flow_records(tracker)] == ["ssh"] * 3


def test_questions_are_bounded(make: Callable[..., Tracker], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("flowsonar.limits.QUESTIONS_WAITING", 3)
    tracker = make()
    for flow in range(10):
        tracker.feed([opened(flow, ports=(40000, 2000 + flow)), stands(flow), payload(RANDOM, flow=flow)])
    assert len(tracker.questions) == 3
    assert tracker.counts["questions_dropped"] == 7


def test_the_active_timeout_gives_a_record_and_the_flow_goes_on(make: Callable[..., Tracker]) -> None:
    tracker = make()
    tracker.feed([opened(), stands(), payload(PUTTY), payload(SSH, direction=1), closed(reason=CloseReason.ACTIVE)])
    tracker.feed([closed(reason=CloseReason.IDLE)])
    assert [record.reason for record in flow_records(tracker)] == ["active", "idle"]


def test_after_stop_asking_flows_end_with_what_is_known(make: Callable[..., Tracker]) -> None:
    tracker = make()
    tracker.feed([opened(), stands(), payload(RANDOM)])
    tracker.answer(Answer(endpoint=endpoint(), outcome=Outcome.CANCELLED), 5 * MS)
    tracker.stop_asking()
    tracker.feed([opened(2, ports=(40001, 9999)), stands(2), payload(RANDOM, flow=2), closed(2), closed(1)])
    assert len(flow_records(tracker)) == 2
    assert len(tracker) == 0


def test_who_wants_to_know_is_told_the_moment_a_label_is_decided_or_taken_back(make: Callable[..., Tracker]) -> None:
    told: list[tuple[int, int, str | None]] = []
    memory = Memory()
    memory.known[endpoint()] = Verdict(service="http", confidence=Confidence.CONFIRMED)
    tracker = make(
        cache=memory, decided=lambda flow, key, verdict: told.append((flow, key.responder_port, verdict.service))
    )
    tracker.feed([opened()])
    assert told == [(1, 7777, "http")]
    assert [(number, verdict.service) for number, _, verdict in tracker.labelled()] == [(1, "http")]
    tracker.feed([stands(), payload(PUTTY), payload(SSH, direction=1), closed()])
    assert told[-1] == (1, 7777, "ssh")
