"""Spent beside needed."""

from flowsonar.model import Answer, Confidence, Endpoint, Evidence, EvidenceKind, Outcome, Transport
from flowsonar.probes.thrift import Thrift, report
from tests.probes.world import SIGNATURES


def answer(probe: str | None, connections: int, confidence: Confidence = Confidence.CONFIRMED) -> Answer:
    evidence = ()
    if probe is not None:
        service = probe.partition("/")[0]
        evidence = (Evidence(kind=EvidenceKind.REPLY, service=service, confidence=confidence, probe=probe),)
    return Answer(
        endpoint=Endpoint(Transport.TCP, "10.0.0.1", 1), outcome=Outcome.ANSWERED, evidence=evidence,
        connections=connections,
    )  # fmt: skip


def test_a_dialogue_of_three_connections_needs_three():
    thrift = Thrift(SIGNATURES.probe)
    for one in (answer("http/get", 1), answer("http/get", 3), answer("skype/tcp", 4), answer("listen", 1)):
        thrift.answered(one)
    thrift.answered(answer(None, 5))
    thrift.answered(answer("http/get", 2, Confidence.GUESS))
    assert thrift.counts == {
        "identified": 4, "identified_first": 2, "spent": 9, "spent_needed": 6, "spent_in_vain": 7,
    }  # fmt: skip
    lines = "\n".join(report(thrift.counts))
    assert "4 identified with 9" in lines
    assert "1.50 times" in lines


def test_a_report_of_nothing():
    assert "nothing identified" in report(Thrift(SIGNATURES.probe).counts)[0]
