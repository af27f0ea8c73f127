"""Flows that another flow announces, and those beside an encrypted control connection: whose they are."""

from collections.abc import Callable

import pytest

from flowsonar import limits
from flowsonar.flows.events import FlowEvent, Opened
from flowsonar.model import Answer, Confidence, EvidenceKind, Layer, Outcome, Verdict
from flowsonar.verdicts.tracker import Tracker
from tests.verdicts.following import MS, RANDOM, Memory, closed, endpoint, flow_records, opened, payload, reply, stands


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
