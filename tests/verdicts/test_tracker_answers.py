"""What becomes of flows by questions, answers and the cache: sides, scope, what is remembered."""

from collections.abc import Callable

import pytest

from flowsonar import limits
from flowsonar.flows.events import CloseReason
from flowsonar.model import Answer, Confidence, FlowKey, Outcome, Side, Transport, Verdict
from flowsonar.verdicts.tracker import Tracker
from tests.verdicts.following import (
    CLIENT,
    MS,
    OPAQUE,
    PUTTY,
    RANDOM,
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
