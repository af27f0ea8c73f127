"""The state of a flow."""

from flowsonar.model import Confidence, Evidence, EvidenceKind, Side, Transport
from flowsonar.passive.flow import PassiveFlow

from .fakes import opened


def _evidence(service, confidence):
    return Evidence(kind=EvidenceKind.PAYLOAD, service=service, confidence=confidence)


def test_a_new_flow_shares_what_is_empty():
    one, other = PassiveFlow(opened()), PassiveFlow(opened())
    one.note(_evidence("ssh", Confidence.LIKELY))
    one.count(1, b"x" * 300)
    assert other.services == {}
    assert other.firsts == (b"", b"")
    assert one.firsts == (b"", b"x" * 256)


def test_hints_name_candidates_best_first():
    flow = PassiveFlow(opened())
    flow.note(_evidence("ftp", Confidence.GUESS))
    flow.note(_evidence("ssh", Confidence.LIKELY))
    flow.note(_evidence("ftp", Confidence.CONFIRMED))
    flow.note(_evidence(None, Confidence.CONFIRMED))
    flow.count(0, b"hello")
    hints = flow.hints(Side.INITIATOR)
    assert hints.candidates == ("ftp", "ssh")
    assert hints.initiator_bytes == b"hello"
    assert hints.side is Side.INITIATOR
    assert hints.first_speaker is Side.INITIATOR
    assert flow.likely


def test_counting():
    flow = PassiveFlow(opened(protocol=17))
    assert [flow.count(1, b"a"), flow.count(1, b"b"), flow.count(0, b"c")] == [0, 1, 0]
    assert flow.counts == (1, 2)
    assert flow.firsts == (b"c", b"a")
    assert flow.first_speaker == 1
    assert flow.transport is Transport.UDP
