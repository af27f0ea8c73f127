"""The second conversation of a kind goes without a session, and comes to what a session would say."""

import random

from flowsonar.config import Settings
from flowsonar.model import Answer, Question
from flowsonar.probes.brief import Briefs
from flowsonar.probes.session import Session
from tests.probes.world import SIGNATURES, Script, matcher, question

MATCHER = matcher()


def ask(briefs: Briefs, script: Script, asked: Question) -> Answer:
    def session() -> Session:
        return Session(
            asked,
            signatures=SIGNATURES,
            matcher=MATCHER,
            settings=Settings(),
            now_s=script.now_s,
            pick=random.Random(7),
        )

    brief = briefs.brief(asked, (), now_s=script.now_s, session=session, note=lambda _evidence: None)
    assert brief is not None
    talk = brief.talk()
    try:
        command = next(talk)
        for _ in range(10_000):
            command = talk.send(script.do(command))
    except StopIteration as stop:
        answer: Answer = stop.value
        return answer
    raise AssertionError("a conversation without end")


def test_what_went_once_goes_again_without_a_session():
    briefs = Briefs(SIGNATURES, MATCHER)
    first = ask(briefs, Script([[b"SSH-2.0-one x\r\n"]]), question("10.0.0.9:4444"))
    assert briefs.counts["brief"] == 0
    second = ask(briefs, Script([[b"SSH-2.0-one y\r\n"]]), question("10.0.0.8:4444"))
    assert briefs.counts["brief"] == 1
    assert [one.service for one in second.evidence] == [one.service for one in first.evidence] == ["ssh"]
    assert second.evidence[0].data == b"SSH-2.0-one y\r\n"
    assert (second.connections, second.outcome) == (first.connections, first.outcome)


def test_anything_else_is_a_sessions_matter():
    briefs = Briefs(SIGNATURES, MATCHER)
    ask(briefs, Script([[b"SSH-2.0-one x\r\n"]]), question("10.0.0.9:4444"))
    other = ask(briefs, Script([[b"* OK ready\r\n"]]), question("10.0.0.8:4444"))
    assert "imap" in [one.service for one in other.evidence]
    assert briefs.counts["brief"] == 0


def test_a_flow_that_showed_something_and_datagrams_are_not_for_it():
    briefs = Briefs(SIGNATURES, MATCHER)
    for asked in (question("10.0.0.9:4444/udp"), question("10.0.0.9:4444", candidates=("http",))):
        assert briefs.brief(asked, (), now_s=0.0, session=lambda: None, note=lambda _: None) is None  # type: ignore[arg-type,return-value]
