"""TLS begun in the middle of a connection, once the service is known and says that one may."""

import pytest

from flowsonar.config import BudgetSettings, Settings
from flowsonar.model import Outcome
from flowsonar.probes.dialogue import Ended
from flowsonar.signatures.catalogue import SignatureSet
from flowsonar.signatures.language import Condition, Step
from flowsonar.signatures.templates import parse_template
from tests.probes.special.peer import TlsServer
from tests.probes.world import SIGNATURES, Script, play, question, reply, same

MAIL = SIGNATURES.services["mail"]
HELLO, STARTTLS = Step(expect=Condition(pattern="^MAIL")), MAIL.starttls[0]


def catalogue(*steps: Step, announced: str = "may STARTTLS") -> SignatureSet:
    others = [one for name, one in SIGNATURES.services.items() if name != "mail"]
    return SignatureSet(
        [*others, MAIL._replace(starttls=steps, announced=announced, replies=(reply("mail", "hello", "^MAIL"),))]
    )


def tls():
    """Answers each flight of the handshake."""
    server = TlsServer()

    def answer(sent: bytes) -> bytes:
        server.feed(sent)
        return server.outgoing()

    return answer


def details(answer):
    return [one.detail for one in answer.evidence if one.service is None]


def test_what_was_said_before_is_not_said_again_and_the_certificate_is_told():
    peer = tls()
    script = Script([[b"MAIL may STARTTLS\r\n", b"READY\r\n", "silent", peer, peer]])
    answer = play(script, question("10.0.0.9:2525"), catalogue=catalogue(HELLO, STARTTLS))
    assert answer.connections == 1
    assert script.lines[:4] == [
        "<< connect for listen",
        ">> MAIL may STARTTLS|",
        "<< mail/starttls: STARTTLS|",
        ">> READY|",
    ]
    assert any("<< tls:" in line for line in script.lines)
    assert details(answer)[0].startswith("STARTTLS: TLSv1")
    assert answer.evidence[0].service == "mail"
    assert answer.evidence[0].over is None


def test_nothing_is_begun_where_nobody_says_so():
    script = Script([[b"MAIL\r\n"]])
    play(script, question("10.0.0.9:2525"), catalogue=catalogue(HELLO, STARTTLS))
    assert not [line for line in script.lines if "STARTTLS" in line]


def test_a_refusal_is_tried_once_more_from_the_beginning():
    script = Script([[b"MAIL may STARTTLS\r\n", b"NO\r\n"], [b"MAIL may STARTTLS\r\n", b"NO\r\n"]])
    answer = play(script, question("10.0.0.9:2525"), catalogue=catalogue(HELLO, STARTTLS))
    same(script, """
        << connect for listen
        >> MAIL may STARTTLS|
        << mail/starttls: STARTTLS|
        >> NO|
        >> nothing
        << connect for mail/starttls
        >> MAIL may STARTTLS|
        << mail/starttls: STARTTLS|
        >> NO|
        >> nothing
        << close
    """)  # fmt: skip
    assert details(answer) == []


def test_the_budget_holds():
    script = Script([[b"MAIL may STARTTLS\r\n", b"NO\r\n"]] * 2)
    settings = Settings(budget=BudgetSettings(max_probes=1))
    answer = play(script, question("10.0.0.9:2525"), settings, catalogue(HELLO, STARTTLS))
    assert answer.connections == 1


@pytest.mark.parametrize("before", [(), (HELLO,)])
def test_a_step_that_expects_nothing_is_followed_by_the_handshake_at_once(before):
    peer = tls()
    step = Step(send=parse_template("SSL"))
    script = Script([[b"MAIL may STARTTLS\r\n", peer, peer]])
    answer = play(script, question("10.0.0.9:2525"), catalogue=catalogue(*before, step))
    assert "STARTTLS: TLSv1" in details(answer)[0]


def test_who_greets_is_let_greet_before_a_question_on_a_new_connection():
    """Some mail servers turn away who speaks before their greeting."""
    hung_up = Ended(0.0, Outcome.CLOSED)
    script = Script(
        [
            ["silent", b"220 late\r\n421 too soon\r\n", hung_up],
            [b"220 late\r\n", "silent", b"500 no\r\n"],
        ]
    )
    play(script, question("10.0.0.9:2626"))
    again = script.lines.index("<< connect for ftp/features")
    assert script.lines[again + 1 : again + 4] == [">> 220 late|", ">> nothing", "<< ftp/features: FEAT|"]
