import random

from flowsonar.probes.steps import Steps
from flowsonar.signatures.matcher import Reply
from tests.probes.world import SIGNATURES, TCP


def steps(name: str) -> Steps:
    return Steps(SIGNATURES.probe(name), SIGNATURES.services, random.Random(1))


def said(data: bytes) -> Reply:
    return Reply(probe="x", step=0, data=data, transport=TCP, sent={}, message=b"")


def test_what_was_heard_is_known_in_later_steps():
    three = steps("skype/tcp")
    assert (three.number, three.first) == (0, True)
    three.heard(said(b"one"), {"peer": "7"})
    assert (three.number, three.first, three.previous) == (1, False, [b"one"])
    assert three.known == {"peer": b"7"}
    three.skip(said(b"two"))
    three.heard(said(b"three"), {})
    assert three.step is None


def test_steps_to_tls_come_first_where_the_probe_wants_them():
    mail = steps("mail/inside")
    assert len(mail.steps) == 2
    assert not mail.turns_to_tls
    assert not mail.secured
    mail.heard(said(b"READY"), {})
    assert mail.turns_to_tls
    assert mail.secured
