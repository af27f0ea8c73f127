"""What follows what over UDP."""

from flowsonar.probes.moves import Ask, Listen, Seen, Stop
from flowsonar.probes.planner import Planner
from tests.probes.world import SIGNATURES, question

PLANNER = Planner(SIGNATURES, max_probes=5, timeout_s=3.0)
DNS, SKYPE = SIGNATURES.probe("dns/root"), SIGNATURES.probe("skype/udp")
PLENTY = Planner(SIGNATURES, max_probes=1, timeout_s=3.0, max_unanswered=40)


def seen(**values) -> Seen:
    return Seen(**{"rtt_s": 0.001, **values})


def test_a_datagram_is_repeated_once_after_a_while():
    state = seen(
        spent=3, silences=3, elapsed_s=0.5, tried=[(probe, None) for probe in SIGNATURES.probes(DNS.transport)]
    )
    move = PLANNER.next(question("10.0.0.9:53/udp"), state)
    assert isinstance(move, Listen)
    state.elapsed_s = 1.2
    assert isinstance(PLANNER.next(question("10.0.0.9:53/udp"), state), Ask)
    state.patient = True
    assert isinstance(PLANNER.next(question("10.0.0.9:53/udp"), state), Stop)


def test_a_probe_that_needs_a_second_look_is_put_again():
    asked = question("10.0.0.9:53/udp")
    assert PLANNER.next(asked, seen(spent=1, again=SKYPE, heard=11)).probe is SKYPE
    assert PLANNER.next(asked, seen(spent=5, again=SKYPE, repeats=3, heard=11)) == Stop("out of datagrams")


def test_the_first_datagrams_are_waited_for_and_the_others_follow_within_milliseconds():
    asked = question("10.0.0.9:4000/udp")
    first = PLANNER.next(asked, seen())
    third = PLANNER.next(asked, seen(spent=2, tried=[(DNS, None), (SKYPE, None)]))
    assert first.seconds > 0.05 > 0.01 > third.seconds


def test_who_answers_gets_fewer_than_who_says_nothing():
    asked = question("10.0.0.9:4000/udp")
    assert isinstance(PLENTY.next(asked, seen(spent=2, tried=[(DNS, None)])), Ask)
    assert isinstance(PLENTY.next(asked, seen(spent=2, heard=3, candidates=["skype"], tried=[(DNS, None)])), Stop)


def test_beside_another_question_one_datagram_is_enough():
    asked = question("10.0.0.9:4000/udp", candidates=("skype",), beside=True)
    assert PLANNER.next(asked, seen()).probe is SKYPE
    assert isinstance(PLANNER.next(asked, seen(spent=1, tried=[(SKYPE, None)])), Stop)
