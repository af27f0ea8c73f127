"""The tracker with the real signatures and passive reader; events and answers are written down as they would come."""

from collections.abc import Callable
from ipaddress import ip_address

import pytest

from flowsonar import limits
from flowsonar.config import FlowSettings
from flowsonar.flows import make_table
from flowsonar.flows._reference_tunnels import Hop, Tunnel
from flowsonar.flows.events import Closed, CloseReason, Established, FlowEvent, Opened, Payload
from flowsonar.flows.hops import pack_hop
from flowsonar.model import (
    Answer,
    Confidence,
    Endpoint,
    Evidence,
    EvidenceKind,
    FlowKey,
    FlowRecord,
    Layer,
    Outcome,
    RecordType,
    Side,
    Transport,
    Verdict,
)
from flowsonar.passive import PassiveReader
from flowsonar.signatures import Matcher, SignatureSet, load_signatures
from flowsonar.verdicts.tracker import Tracker
from tests.flows.frames import ACK, RST, SYN, Conversation, Frame, block
from tests.protocols.hellos import client_hello, server_hello

CLIENT, SERVER = "10.0.0.2", "10.0.0.1"
MS = 1_000_000
RANDOM = bytes.fromhex("9c1f83d2e07755aa0b64f1c8de93ab3107c4e96fd2b85a1c")
"""As a datagram it could be media's first."""
SSH = (
    b"SSH-2.0-OpenSSH_9.2p1 Debian-2\r\n"
    + bytes.fromhex("000001dc0514")
    + RANDOM[:16]
    + b"\0\0\0\x24curve25519-sha256,ecdh"
)
"""Greeting and key exchange: what no other service says."""
PUTTY = b"SSH-2.0-PuTTY_Release_0.78\r\n"
OPAQUE = b"\x5c" + RANDOM[1:]
"""As a datagram it could be nothing that counts."""


class Memory:
    """A cache in a dictionary, with the store's face."""

    def __init__(self) -> None:
        self.known: dict[Endpoint, Verdict] = {}
        self.failures: list[tuple[Endpoint, Outcome | None]] = []

    def verdict(self, endpoint: Endpoint, now_s: float) -> Verdict | None:
        return self.known.get(endpoint)

    def may_ask(self, endpoint: Endpoint, now_s: float) -> bool:
        return endpoint not in {failed for failed, _ in self.failures}

    def learned(self, endpoint: Endpoint, verdict: Verdict, now_s: float) -> None:
        self.known[endpoint] = verdict

    def failed(self, endpoint: Endpoint, outcome: Outcome | None, now_s: float, verdict: Verdict | None = None) -> None:
        self.failures.append((endpoint, outcome))

    def forget(self, endpoint: Endpoint) -> None:
        del self.known[endpoint]


@pytest.fixture(scope="module")
def signatures() -> SignatureSet:
    return load_signatures()


@pytest.fixture(scope="module")
def matcher(signatures: SignatureSet) -> Matcher:
    return Matcher(signatures)


@pytest.fixture
def make(signatures: SignatureSet, matcher: Matcher) -> Callable[..., Tracker]:
    def build(**settings: object) -> Tracker:
        given = {"ask": True, "live": True, **settings}
        return Tracker(PassiveReader(matcher, signatures), signatures, **given)  # type: ignore[arg-type]

    return build


def opened(
    flow: int = 1,
    *,
    at: int = 0,
    protocol: int = 6,
    ports: tuple[int, int] = (40000, 7777),
    midstream: bool = False,
) -> Opened:
    ends = (ip_address(CLIENT).packed, ports[0], ip_address(SERVER).packed, ports[1])
    return Opened(flow, at, protocol, *ends, 0, 0, midstream)


def stands(flow: int = 1, *, at: int = 0, handshake_ns: int = 0) -> Established:
    return Established(flow, at, handshake_ns)


def payload(data: bytes, *, flow: int = 1, at: int = MS, direction: int = 0, index: int = 0) -> Payload:
    return Payload(flow, at, direction, index, 0, data, len(data), 0)


def closed(flow: int = 1, *, at: int = 9 * MS, reason: CloseReason = CloseReason.FIN) -> Closed:
    return Closed(flow, at, reason, 0, at, 5, 4, 500, 400, 0x1B, 0x1B, 0)


def endpoint(port: int = 7777, address: str = SERVER, transport: Transport = Transport.TCP) -> Endpoint:
    return Endpoint(transport, address, port)


def reply(service: str = "ssh", confidence: Confidence = Confidence.CONFIRMED) -> Evidence:
    return Evidence(kind=EvidenceKind.REPLY, service=service, confidence=confidence, signature=f"{service}/x")


def flow_records(tracker: Tracker) -> list[FlowRecord]:
    return [record for record in tracker.records if record.type is RecordType.FLOW]


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


def test_a_quiet_flow_is_asked_about_when_its_grace_is_over(make: Callable[..., Tracker]) -> None:
    tracker = make()
    tracker.feed([opened()])
    assert tracker.next_due_ns is None
    tracker.feed([stands(at=20 * MS, handshake_ns=20 * MS)])
    assert not tracker.questions
    due = tracker.next_due_ns
    assert due == (20 + limits.SILENCE_WAIT_MS) * MS
    tracker.due(due - 1)
    assert not tracker.questions
    tracker.due(due)
    assert [question.endpoint for question in tracker.questions] == [endpoint()]
    assert tracker.questions[0].hints.rtt_ms == 20.0


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
    assert due >= limits.SILENCE_WAIT_MS * MS
    tracker.due(due)
    assert [question.endpoint.transport for question in tracker.questions] == [Transport.TCP]


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
    tracker.feed([opened(midstream=True), stands(at=20 * MS), closed(at=30 * MS)])
    tracker.due(10**12)
    assert not tracker.questions


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


def test_both_sides_of_a_datagram_flow_are_asked_one_after_the_other(make: Callable[..., Tracker]) -> None:
    tracker = make()
    udp = Transport.UDP
    tracker.feed([opened(protocol=17), payload(OPAQUE)])
    assert [question.endpoint for question in tracker.questions] == [endpoint(transport=udp)]
    tracker.questions.clear()
    tracker.answer(Answer(endpoint=endpoint(transport=udp), outcome=Outcome.SILENT), 3000 * MS)
    assert [question.endpoint for question in tracker.questions] == [endpoint(40000, CLIENT, udp)]
    tracker.answer(
        Answer(endpoint=endpoint(40000, CLIENT, udp), outcome=Outcome.ANSWERED, evidence=(reply("skype"),)), 3010 * MS
    )
    tracker.feed([closed(reason=CloseReason.IDLE)])
    (record,) = flow_records(tracker)
    assert (record.verdict.service, record.verdict.confidence) == ("skype", Confidence.CONFIRMED)
    assert record.verdict.evidence[-1].side is Side.INITIATOR


def test_what_may_be_media_gets_the_time_of_a_few_datagrams(make: Callable[..., Tracker]) -> None:
    tracker = make()
    tracker.feed([opened(protocol=17), payload(RANDOM)])
    assert not tracker.questions
    assert tracker.next_due_ns == (1 + limits.SEQUENCE_WAIT_MS) * MS
    tracker.due(tracker.next_due_ns)
    assert [question.endpoint for question in tracker.questions] == [endpoint(transport=Transport.UDP)]


def test_what_the_initiator_serves_is_likely_at_most(make: Callable[..., Tracker]) -> None:
    tracker = make()
    udp = Transport.UDP
    tracker.feed([opened(protocol=17), payload(OPAQUE)])
    tracker.answer(Answer(endpoint=endpoint(transport=udp), outcome=Outcome.SILENT), 3000 * MS)
    tracker.answer(
        Answer(endpoint=endpoint(40000, CLIENT, udp), outcome=Outcome.ANSWERED, evidence=(reply("dns"),)), 3010 * MS
    )
    tracker.feed([closed()])
    assert flow_records(tracker)[0].verdict.confidence is Confidence.LIKELY


def test_a_flow_from_the_middle_asks_the_side_that_serves(make: Callable[..., Tracker]) -> None:
    tracker = make()
    tracker.feed([opened(midstream=True, ports=(22, 51234)), stands(), payload(RANDOM)])
    assert [question.endpoint for question in tracker.questions] == [endpoint(22, CLIENT)]


def test_outside_the_scope_nothing_is_asked(make: Callable[..., Tracker]) -> None:
    tracker = make(permits=lambda _: "outside the scope")
    tracker.feed([opened(), stands(), payload(RANDOM)])
    tracker.due(1 << 62)
    assert not tracker.questions
    assert tracker.counts["questions_not_permitted"] == 1


def test_own_probe_traffic_is_left_out(make: Callable[..., Tracker]) -> None:
    def own(key: FlowKey) -> bool:
        return key.initiator_port == 40000

    tracker = make(own=own)
    tracker.feed([opened(), stands(), payload(RANDOM), closed()])
    assert not tracker.records
    assert tracker.releases == [1]
    assert tracker.counts["own_flows"] == 1
    assert tracker.counts["flows"] == 0


def test_a_known_endpoint_labels_the_flow_at_its_first_packet(make: Callable[..., Tracker]) -> None:
    cache = Memory()
    cache.known[endpoint()] = Verdict(service="ssh", confidence=Confidence.CONFIRMED, product="OpenSSH")
    tracker = make(cache=cache)
    tracker.feed([opened(), stands(), payload(RANDOM)])
    tracker.due(1 << 62)
    (record,) = tracker.records
    assert (record.verdict.service, record.verdict.product, record.verdict_ms) == ("ssh", "OpenSSH", 0.0)
    assert not tracker.questions


def test_the_flows_own_bytes_drop_a_cached_verdict(make: Callable[..., Tracker]) -> None:
    cache = Memory()
    cache.known[endpoint()] = Verdict(service="redis", confidence=Confidence.CONFIRMED)
    tracker = make(cache=cache)
    tracker.feed([opened(), stands(), payload(PUTTY), payload(SSH, direction=1), closed()])
    assert tracker.counts["cache_contradicted"] == 1
    assert flow_records(tracker)[0].verdict.service == "ssh"
    assert cache.known.get(endpoint(), Verdict()).service != "redis"


def test_answers_and_silence_are_remembered(make: Callable[..., Tracker]) -> None:
    cache = Memory()
    tracker = make(cache=cache)
    tracker.feed([opened(), stands(), payload(RANDOM)])
    tracker.answer(Answer(endpoint=endpoint(), outcome=Outcome.ANSWERED, evidence=(reply(),)), 5 * MS)
    assert cache.known[endpoint()].service == "ssh"
    tracker.feed([opened(2, ports=(40001, 8888)), stands(2), payload(RANDOM, flow=2)])
    tracker.answer(Answer(endpoint=endpoint(8888), outcome=Outcome.SILENT), 5 * MS)
    assert cache.failures == [(endpoint(8888), Outcome.SILENT)]


@pytest.mark.parametrize("outcome", [Outcome.CANCELLED, Outcome.NOT_PERMITTED])
def test_what_was_not_asked_is_not_held_against_the_endpoint(make: Callable[..., Tracker], outcome: Outcome) -> None:
    cache = Memory()
    tracker = make(cache=cache)
    tracker.feed([opened(), stands(), payload(RANDOM)])
    tracker.answer(Answer(endpoint=endpoint(), outcome=outcome), 5 * MS)
    assert not cache.failures


def test_an_ftp_data_connection_is_announced(make: Callable[..., Tracker]) -> None:
    tracker = make()
    tracker.feed(
        [
            opened(),
            stands(),
            payload(b"220 (vsFTPd 3.0.5)\r\n", direction=1),
            payload(b"PASV\r\n", at=2 * MS),
            payload(b"227 Entering Passive Mode (10,0,0,1,156,64).\r\n", direction=1, index=1, at=3 * MS),
            opened(2, at=4 * MS, ports=(40001, 156 * 256 + 64)),
            stands(2, at=4 * MS),
            payload(RANDOM, flow=2, at=5 * MS),
        ]
    )
    tracker.due(1 << 62)
    tracker.feed([closed(2)])
    data = next(record for record in flow_records(tracker) if record.flow_id == 2)
    assert (data.verdict.service, data.verdict.confidence) == ("ftp", Confidence.CONFIRMED)
    assert data.verdict.evidence[0].kind is EvidenceKind.ANNOUNCED
    assert all(question.endpoint.port != 156 * 256 + 64 for question in tracker.questions)


def test_an_announcement_that_comes_late_labels_the_flow(make: Callable[..., Tracker]) -> None:
    """Packets of two interfaces are not in one order."""
    tracker = make()
    tracker.feed(
        [
            opened(2, ports=(40001, 40000)),
            stands(2),
            opened(),
            stands(),
            payload(b"220 (vsFTPd 3.0.5)\r\n", direction=1),
        ]
    )
    tracker.feed([payload(b"229 Entering Extended Passive Mode (|||40000|).\r\n", direction=1, index=1, at=3 * MS)])
    tracker.feed([closed(2)])
    assert [record.verdict.service for record in flow_records(tracker)] == ["ftp"]


def test_a_control_connection_that_the_cache_labels_announces_too(make: Callable[..., Tracker]) -> None:
    """Seen to the client only, with a long reply before the announcement."""
    cache = Memory()
    cache.known[endpoint()] = Verdict(service="ftp", confidence=Confidence.CONFIRMED)
    tracker = make(cache=cache)
    features = b"211-Features:\r\n EPRT\r\n EPSV\r\n PASV\r\n211 End\r\n"
    tracker.feed(
        [
            opened(),
            stands(),
            payload(b"220 (vsFTPd 3.0.5)\r\n", direction=1),
            payload(features, direction=1, index=1, at=2 * MS),
            payload(b"227 Entering Passive Mode (10,0,0,1,156,64).\r\n", direction=1, index=2, at=3 * MS),
            opened(2, at=4 * MS, ports=(40001, 156 * 256 + 64)),
            stands(2, at=4 * MS),
            closed(2),
        ]
    )
    data = next(record for record in flow_records(tracker) if record.flow_id == 2)
    assert (data.verdict.service, data.verdict.confidence) == ("ftp", Confidence.CONFIRMED)
    assert not tracker.questions


DATA = 39999
HELLO = bytes.fromhex("160303002d0100002903031e" + "5a" * 31 + "00" + "0002c02f" + "0100")


PORT_TOLD = bytes.fromhex("1703030050") + bytes(80)


def auth_tls() -> list[FlowEvent]:
    return [
        opened(),
        stands(),
        payload(b"220 (vsFTPd 3.0.5)\r\n", direction=1),
        payload(b"AUTH TLS\r\n", at=2 * MS),
        payload(b"234 Proceed with negotiation.\r\n", direction=1, index=1, at=3 * MS),
        payload(PORT_TOLD, direction=1, index=2, at=4 * MS),
    ]


def data_connection(flow: int = 2, *, port: int = DATA) -> list[FlowEvent]:
    return [opened(flow, at=4 * MS, ports=(40001, port)), stands(flow, at=4 * MS)]


def asked_beside(tracker: Tracker) -> list[int]:
    """Ports asked but for the control connection's, which has not said all yet."""
    return [question.endpoint.port for question in tracker.questions if question.endpoint != endpoint()]


def refuse_a_second_one(tracker: Tracker) -> None:
    """The port is left alone for a second; then it takes no further connection."""
    tracker.due(limits.DATA_PORT_WAIT_MS * MS)
    assert not asked_beside(tracker)
    tracker.due(1 << 62)
    assert asked_beside(tracker) == [DATA]
    tracker.answer(Answer(endpoint=endpoint(DATA), outcome=Outcome.REFUSED), 1010 * MS)


def data_label(tracker: Tracker) -> tuple[object, ...]:
    (record,) = [record for record in flow_records(tracker) if record.flow_id == 2]
    verdict = record.verdict
    return verdict.service, verdict.over, verdict.confidence.value


@pytest.mark.parametrize(
    ("said", "over"),
    [
        ([], None),
        ([payload(RANDOM, flow=2, at=5 * MS)], None),
        ([payload(RANDOM, flow=2, at=5 * MS, direction=1)], None),
        ([payload(HELLO, flow=2, at=5 * MS)], "tls"),
    ],
    ids=["silent", "upload", "download", "inside TLS"],
)
def test_a_data_connection_beside_an_encrypted_control_connection_is_asked_late(
    make: Callable[..., Tracker], said: list[FlowEvent], over: str | None
) -> None:
    tracker = make()
    tracker.feed([*auth_tls(), *data_connection(), *said])
    refuse_a_second_one(tracker)
    tracker.feed([closed(2)])
    assert data_label(tracker) == ("ftp", over, "likely")


def test_another_program_between_the_same_hosts_answers_for_itself(make: Callable[..., Tracker]) -> None:
    """Its time fits, but its port takes the question."""
    tracker = make()
    tracker.feed([*auth_tls(), *data_connection(), payload(HELLO, flow=2, at=5 * MS)])
    tracker.due(1 << 62)
    inside = reply("smtp")._replace(over=Layer.TLS)
    tracker.answer(Answer(endpoint=endpoint(DATA), outcome=Outcome.ANSWERED, evidence=(inside,)), 1100 * MS)
    tracker.feed([closed(2)])
    assert data_label(tracker) == ("smtp", "tls", "confirmed")


def test_a_control_connection_inside_tls_is_followed(make: Callable[..., Tracker]) -> None:
    """So that a flow is taken for its data only where it has just spoken, and not after it said that it ends."""
    end = bytes.fromhex("1703030013") + bytes(19)
    for said, asked in (
        ([], [DATA]),
        ([payload(PORT_TOLD, at=890 * MS, index=2, direction=1)], []),
        ([payload(end, at=890 * MS)], [DATA]),
    ):
        tracker = make()
        tracker.feed([*auth_tls(), *said])
        assert 1 in tracker.follows
        assert 1 not in tracker.releases
        tracker.feed(
            [opened(2, at=900 * MS, ports=(40001, DATA)), stands(2, at=900 * MS), payload(HELLO, flow=2, at=901 * MS)]
        )
        assert asked_beside(tracker) == asked


def test_the_same_without_asking(make: Callable[..., Tracker]) -> None:
    tracker = make(ask=False, live=False)
    tracker.feed([*auth_tls(), *data_connection(), payload(HELLO, flow=2, at=5 * MS), closed(2)])
    assert data_label(tracker) == ("tls", None, "likely")


@pytest.mark.parametrize(
    "events",
    [
        [*auth_tls(), *data_connection(port=6379), payload(RANDOM, flow=2, at=5 * MS)],
        [
            *(*auth_tls(), *data_connection()),
            payload(RANDOM, flow=2, at=5 * MS),
            payload(RANDOM[::-1], flow=2, at=5 * MS, direction=1),
        ],
        [*auth_tls(), closed(at=4 * MS), *data_connection(), payload(RANDOM, flow=2, at=5 * MS)],
    ],
    ids=["to a service's port", "both sides speak", "after the control connection"],
)
def test_what_is_no_data_connection_is_asked_about(make: Callable[..., Tracker], events: list[FlowEvent]) -> None:
    tracker = make()
    tracker.feed(events)
    (port,) = [event.responder_port for event in events if isinstance(event, Opened) and event.flow == 2]
    assert asked_beside(tracker) == [port]


def test_a_data_connection_that_comes_before_its_control_connection_is_known_waits(
    make: Callable[..., Tracker],
) -> None:
    """Implicit TLS: the control connection is only TLS until its endpoint has answered."""
    inside = reply("ftp")._replace(over=Layer.TLS)
    for ends_early in (False, True):
        tracker = make()
        tracker.feed([opened(), stands(), payload(HELLO)])
        tracker.feed([*data_connection(), payload(HELLO, flow=2, at=5 * MS)])
        if ends_early:
            tracker.feed([closed(2)])
        tracker.due(16 * MS)
        assert [question.endpoint for question in tracker.questions] == [endpoint()]
        tracker.answer(Answer(endpoint=endpoint(), outcome=Outcome.ANSWERED, evidence=(inside,)), 20 * MS)
        tracker.due(30 * MS)
        assert len(tracker.questions) == 1
        refuse_a_second_one(tracker)
        if not ends_early:
            tracker.feed([closed(2)])
        assert data_label(tracker) == ("ftp", "tls", "likely")


def test_the_answer_may_come_before_anybody_would_be_asked(make: Callable[..., Tracker]) -> None:
    tracker = make()
    tracker.feed([opened(), stands(), payload(HELLO), *data_connection()])
    inside = reply("ftp")._replace(over=Layer.TLS)
    tracker.answer(Answer(endpoint=endpoint(), outcome=Outcome.ANSWERED, evidence=(inside,)), 5 * MS)
    tracker.feed([payload(HELLO, flow=2, at=6 * MS), closed(2)])
    refuse_a_second_one(tracker)
    assert data_label(tracker) == ("ftp", "tls", "likely")


def test_data_is_left_alone_after_its_control_connection_has_ended(make: Callable[..., Tracker]) -> None:
    tracker = make()
    tracker.feed([*auth_tls(), *data_connection(), payload(HELLO, flow=2, at=5 * MS), closed(at=6 * MS), closed(2)])
    refuse_a_second_one(tracker)
    assert data_label(tracker) == ("ftp", "tls", "likely")


def test_it_waits_only_so_long(make: Callable[..., Tracker]) -> None:
    tracker = make()
    tracker.feed([opened(), stands(), payload(HELLO), *data_connection(), payload(HELLO, flow=2, at=5 * MS)])
    for now in range(10, 400, 10):
        tracker.due(now * MS)
    assert [question.endpoint.port for question in tracker.questions] == [7777, DATA]


def test_what_turns_out_to_be_no_ftp_is_asked_about(make: Callable[..., Tracker]) -> None:
    tracker = make()
    tracker.feed([opened(), stands(), payload(HELLO), *data_connection(), payload(HELLO, flow=2, at=5 * MS)])
    tracker.answer(Answer(endpoint=endpoint(), outcome=Outcome.ANSWERED, evidence=(reply("http"),)), 20 * MS)
    tracker.due(30 * MS)
    assert [question.endpoint.port for question in tracker.questions] == [7777, DATA]


def test_a_flow_that_waits_at_the_end_is_recorded(make: Callable[..., Tracker]) -> None:
    tracker = make()
    tracker.feed([opened(), stands(), payload(HELLO), *data_connection(), payload(HELLO, flow=2, at=5 * MS)])
    tracker.feed([closed(2)])
    assert not flow_records(tracker)
    tracker.stop_asking()
    assert data_label(tracker) == ("tls", None, "likely")


def test_beside_a_control_connection_in_clear_the_announcement_is_waited_for(make: Callable[..., Tracker]) -> None:
    tracker = make(interfaces=("a", "b"))
    tracker.feed([opened(), stands(), payload(b"220 (vsFTPd 3.0.5)\r\n", direction=1)])
    tracker.feed([*data_connection(), payload(RANDOM, flow=2, at=5 * MS)])
    tracker.due(20 * MS)
    assert not asked_beside(tracker)
    tracker.feed([payload(b"229 ok (|||39999|)\r\n", direction=1, index=1, at=21 * MS)])
    tracker.due(1 << 62)
    tracker.feed([closed(2)])
    assert not asked_beside(tracker)
    assert data_label(tracker) == ("ftp", None, "confirmed")


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
