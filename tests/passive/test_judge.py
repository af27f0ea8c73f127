from flowsonar.model import Confidence, Side
from flowsonar.passive.flow import PassiveFlow
from flowsonar.passive.judge import Judge
from flowsonar.signatures.rules import Match

from .fakes import FakeSignatures, opened

CONFIRMED, LIKELY = Confidence.CONFIRMED, Confidence.LIKELY


def _judged(flow, side, service, confidence, *, asks=False, pattern="fake"):
    flow.count(0 if side is Side.INITIATOR else 1, b"x")
    judge = Judge(FakeSignatures())
    (found, *_) = judge(flow, side, b"x", [Match(service, f"{pattern}/fake", confidence)], asks=asks)
    return found.confidence


def test_a_client_alone_is_likely_and_confirmed_by_its_server():
    flow = PassiveFlow(opened())
    assert _judged(flow, Side.INITIATOR, "http", CONFIRMED, asks=True) is LIKELY
    assert _judged(flow, Side.RESPONDER, "http", LIKELY) is CONFIRMED


def test_a_server_that_nobody_asked_is_likely():
    flow = PassiveFlow(opened())
    assert _judged(flow, Side.RESPONDER, "ssh", CONFIRMED) is LIKELY
    assert Judge(FakeSignatures()).granted(flow).confidence is CONFIRMED


def test_over_udp_and_in_the_middle_a_server_may_begin():
    for start in (opened(protocol=17), opened(midstream=True)):
        assert _judged(PassiveFlow(start), Side.RESPONDER, "sip", CONFIRMED) is CONFIRMED


def test_a_few_bits_in_the_middle_are_a_guess_until_the_other_side_fits():
    flow = PassiveFlow(opened(midstream=True))
    assert _judged(flow, Side.INITIATOR, "game", LIKELY, asks=True, pattern="slight") is Confidence.GUESS
    assert not flow.likely
    assert _judged(flow, Side.RESPONDER, "game", LIKELY, pattern="slight") is CONFIRMED
    assert _judged(PassiveFlow(opened()), Side.INITIATOR, "game", LIKELY, asks=True, pattern="slight") is LIKELY
    udp = PassiveFlow(opened(protocol=17, midstream=True))
    assert _judged(udp, Side.INITIATOR, "game", LIKELY, asks=True, pattern="slight") is LIKELY


def test_two_requests_do_not_prove_each_other():
    for start in (opened(midstream=True), opened(protocol=17)):
        flow = PassiveFlow(start)
        assert _judged(flow, Side.INITIATOR, "table", LIKELY, asks=True, pattern="request") is LIKELY
        assert _judged(flow, Side.RESPONDER, "table", LIKELY, pattern="request") is LIKELY
        flow = PassiveFlow(start)
        assert _judged(flow, Side.INITIATOR, "table", LIKELY, asks=True, pattern="request") is LIKELY
        assert _judged(flow, Side.RESPONDER, "table", LIKELY, pattern="answer") is CONFIRMED


def test_two_greetings_are_likely():
    flow = PassiveFlow(opened())
    assert _judged(flow, Side.INITIATOR, "greets", LIKELY, asks=True, pattern="greets") is LIKELY
    assert _judged(flow, Side.RESPONDER, "greets", LIKELY, pattern="greets") is LIKELY
    assert Judge(FakeSignatures()).waits(flow)
    assert not Judge(FakeSignatures()).has_told(flow, 1)
