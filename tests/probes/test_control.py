"""Hosts where everything answers, by tables."""

import random

import pytest

from flowsonar.model import Answer, Confidence, Endpoint, Evidence, EvidenceKind, Outcome, Transport
from flowsonar.probes import control
from flowsonar.probes.control import Controls

HTTP = Evidence(kind=EvidenceKind.REPLY, service="http", confidence=Confidence.CONFIRMED, probe="http/get")
REDIS = HTTP._replace(service="redis")


def answer(port: int, *evidence: Evidence, outcome: Outcome = Outcome.ANSWERED, stood: bool = True) -> Answer:
    endpoint = Endpoint(Transport.TCP, "10.0.0.1", port)
    return Answer(endpoint=endpoint, outcome=outcome, evidence=evidence, connections=1, rtt_ms=1.0 if stood else None)


def found_out(*answers: Answer) -> control.Host:
    host = Controls().begin("10.0.0.1")
    for one in answers:
        Controls.answered(host, one, 5.0)
    return host


EVERYTHING = found_out(answer(61001, HTTP), answer(61002, HTTP))
SILENT = found_out(answer(61001, outcome=Outcome.SILENT), answer(61002, outcome=Outcome.CLOSED))
NORMAL = found_out(answer(61001, outcome=Outcome.REFUSED))
LUCKY = found_out(answer(61001, HTTP), answer(61002, outcome=Outcome.REFUSED))
FILTERED = found_out(answer(61001, outcome=Outcome.SILENT, stood=False))


@pytest.mark.parametrize(
    ("host", "given", "confidence", "marked"),
    [
        (EVERYTHING, answer(80, HTTP), Confidence.GUESS, True),
        (EVERYTHING, answer(6379, REDIS), Confidence.CONFIRMED, False),
        (EVERYTHING, answer(81, outcome=Outcome.SILENT), None, True),
        (EVERYTHING, answer(82, outcome=Outcome.REFUSED), None, False),
        (SILENT, answer(80, HTTP), Confidence.CONFIRMED, False),
        (SILENT, answer(81, outcome=Outcome.CLOSED), None, True),
        (NORMAL, answer(80, HTTP), Confidence.CONFIRMED, False),
        (NORMAL, answer(81, outcome=Outcome.SILENT), None, False),
        (LUCKY, answer(80, HTTP), Confidence.CONFIRMED, False),
        (FILTERED, answer(80, HTTP), Confidence.CONFIRMED, False),
    ],
)
def test_an_answer_is_taken_for_what_it_is_worth(host, given, confidence, marked):
    weighed = Controls.weighed(host, given)
    assert any(piece.signature == "everything-answers" for piece in weighed.evidence) is marked
    assert [piece.confidence for piece in weighed.evidence if piece.service] == ([confidence] if confidence else [])


def test_a_host_is_asked_again_after_a_while_and_memory_is_bounded(monkeypatch):
    monkeypatch.setattr(control, "HOSTS", 3)
    controls = Controls()
    host = controls.begin("10.0.0.1")
    assert controls.host("10.0.0.1", 99.0) is host
    Controls.answered(host, answer(61001, outcome=Outcome.REFUSED), 100.0)
    assert controls.host("10.0.0.1", 101.0) is host
    assert controls.host("10.0.0.1", 100.0 + control.FORGET_S + 1) is None
    for number in range(9):
        controls.begin(f"10.0.0.{number}")
    assert len(controls._hosts) == 3


def test_a_control_connection_goes_only_where_it_may():
    pick = random.Random(1)
    endpoint = Controls.port("10.0.0.1", pick, lambda _: None)
    assert endpoint is not None
    assert control.PORTS[0] <= endpoint.port <= control.PORTS[1]
    assert Controls.port("10.0.0.1", pick, lambda _: "excluded") is None
