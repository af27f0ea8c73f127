"""Evidence from matches."""

from flowsonar.model import Confidence, EvidenceKind, Side
from flowsonar.passive import evidence
from flowsonar.signatures.matcher import Match


def _match(service, specificity, confidence=Confidence.CONFIRMED, soft=False):
    return Match(service, f"{service}/x", confidence, specificity=specificity, soft=soft)


def test_the_most_specific_wins_and_equals_stay():
    winners = evidence.winners([_match("a", 30), _match("b", 30), _match("a", 30), _match("c", 10)])
    assert [one.service for one in winners] == ["a", "b"]


def test_a_match_becomes_evidence():
    one = evidence.from_match(_match("ssh", 30), Side.RESPONDER, b"x" * 1000)
    assert (one.kind, one.service, one.signature, one.side) == (EvidenceKind.PAYLOAD, "ssh", "ssh/x", Side.RESPONDER)
    assert len(one.data) == 256


def test_at_most_likely():
    one = evidence.from_match(_match("ssh", 30), Side.INITIATOR, b"")
    assert evidence.at_most_likely(one).confidence is Confidence.LIKELY
    guess = evidence.from_match(_match("ssh", 30, Confidence.GUESS), Side.INITIATOR, b"")
    assert evidence.at_most_likely(guess) is guess


def test_joined():
    assert evidence.joined("", "b") == "b"
    assert evidence.joined("a", "b") == "a; b"
