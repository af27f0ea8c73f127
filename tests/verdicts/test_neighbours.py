"""Which flows ask the same number over UDP, and what they learn."""

from __future__ import annotations

import pytest

from flowsonar import limits
from flowsonar.model import Answer, Confidence, Endpoint, Hints, Outcome, Transport, Verdict
from flowsonar.signatures.catalogue import SignatureSet
from flowsonar.signatures.loader import load_signatures
from flowsonar.verdicts.neighbours import Neighbours

TCP, UDP = Transport.TCP, Transport.UDP
PEER = Endpoint(TCP, "10.0.0.9", 26881)
SUSPECT = Hints(candidates=("bittorrent", "tls"))
KNOWN = Verdict(service="bittorrent", confidence=Confidence.CONFIRMED, product="libtorrent")


@pytest.fixture(scope="module")
def signatures() -> SignatureSet:
    return load_signatures()


@pytest.fixture
def neighbours(signatures: SignatureSet) -> Neighbours:
    return Neighbours(signatures)


def _answer(outcome: Outcome = Outcome.ANSWERED) -> Answer:
    return Answer(endpoint=PEER._replace(transport=UDP), outcome=outcome)


def test_one_question_serves_all_flows(neighbours: Neighbours) -> None:
    question = neighbours.question(1, PEER, SUSPECT)
    assert question is not None
    assert question.endpoint == PEER._replace(transport=UDP)
    assert question.hints.candidates == ("bittorrent",)
    assert neighbours.question(2, PEER, SUSPECT) is None
    assert neighbours.asks(question.endpoint)
    flows, evidence = neighbours.answered(_answer(), KNOWN)
    assert flows == [1, 2]
    assert evidence is not None
    assert (evidence.service, evidence.confidence, evidence.product) == ("bittorrent", Confidence.LIKELY, "libtorrent")
    assert neighbours.answered(_answer(), KNOWN) == ([], None)


@pytest.mark.parametrize(
    ("endpoint", "hints"),
    [
        (PEER, Hints()),
        (PEER, Hints(candidates=("tls", "bittorrent"))),
        (PEER, Hints(candidates=("dns",))),
        (PEER._replace(transport=UDP), SUSPECT),
    ],
    ids=["nothing shown", "rather TLS", "no peers", "UDP itself"],
)
def test_nobody_else_is_asked(neighbours: Neighbours, endpoint: Endpoint, hints: Hints) -> None:
    assert neighbours.question(1, endpoint, hints) is None


@pytest.mark.parametrize(
    "verdict",
    [Verdict(), Verdict(service="dns", confidence=Confidence.CONFIRMED), KNOWN._replace(confidence=Confidence.GUESS)],
    ids=["silence", "another service", "a guess"],
)
def test_other_answers_tell_nothing(neighbours: Neighbours, verdict: Verdict) -> None:
    neighbours.question(1, PEER, SUSPECT)
    assert neighbours.answered(_answer(), verdict) == ([1], None)


def test_what_waits_is_bounded(neighbours: Neighbours, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits, "QUESTIONS_WAITING", 1)
    monkeypatch.setattr(limits, "FLOWS_WAITING_PER_ENDPOINT", 2)
    for flow in range(5):
        neighbours.question(flow, PEER, SUSPECT)
    assert neighbours.question(9, PEER._replace(port=1), SUSPECT) is None
    assert neighbours.answered(_answer(), KNOWN)[0] == [0, 1]
