"""What was learned from sessions is said again, and a session takes over when anything else happens."""

import random
from functools import partial

import pytest

from flowsonar.config import Settings
from flowsonar.model import Confidence, Outcome
from flowsonar.probes.brief import Brief, Briefs
from flowsonar.probes.dialogue import Close, Closed, Connect, Connected, Ended, Received, Send, Sent, TimedOut, Wait
from flowsonar.probes.session import Session
from flowsonar.signatures.catalogue import SignatureSet
from flowsonar.signatures.language import Speaker
from tests.probes.world import matcher, probe, question, reply, signature

WEB = SignatureSet(
    [
        signature("web", probes=(probe("web", "get", r"GET\r\n", rarity=1),), replies=(reply("web", "ok", "^OK"),)),
        signature("shell", speaks_first=Speaker.SERVER, replies=(reply("shell", "hello", "^SHELL"),)),
    ]
)
MATCHER = type(matcher())(WEB, engine="re2")


def conversation(briefs: Briefs, said: list[bytes | None], *, rtt_s: float = 0.0001):
    """Run one: what comes at each wait; None is silence. Returns the answer and what was done."""
    asked = question("10.0.0.9:4444")
    session = partial(
        Session, asked, signatures=WEB, matcher=MATCHER, settings=Settings(), now_s=0.0, pick=random.Random(1)
    )
    notes = []
    brief = briefs.brief(asked, (), now_s=0.0, session=session, note=notes.append)
    assert isinstance(brief, Brief)
    talk, coming, done, now_s = brief.talk(), iter(said), [], 0.0
    try:
        command = next(talk)
        while True:
            now_s += 0.001
            done.append(type(command).__name__)
            match command:
                case Connect():
                    event = Connected(now_s, rtt_s, "10.0.0.1", 50000)
                case Send():
                    event = Sent(now_s)
                case Close():
                    event = Closed(now_s)
                case Wait():
                    data = next(coming, b"")
                    if data is None:
                        now_s += command.seconds
                    event = TimedOut(now_s) if data is None else Received(now_s, data) if data else Ended(
                        now_s, Outcome.CLOSED
                    )  # fmt: skip
                case _:
                    raise AssertionError(command)
            command = talk.send(event)
    except StopIteration as stop:
        return stop.value, done


@pytest.mark.parametrize(
    ("said", "service"), [([None, b"OK one\r\n"], "web"), ([b"SHELL\r\n"], "shell")], ids=["answers", "greets"]
)
def test_the_second_conversation_goes_like_the_first_and_needs_no_session(said, service):
    briefs = Briefs(WEB, MATCHER)
    first, done = conversation(briefs, said)
    assert briefs.counts["brief"] == 0
    again, same = conversation(briefs, said)
    assert briefs.counts["brief"] == 1
    assert same == done
    assert again.evidence == first.evidence
    assert [(piece.service, piece.confidence) for piece in again.evidence] == [(service, Confidence.CONFIRMED)]
    assert (again.outcome, again.connections, again.bytes_sent) == (first.outcome, 1, first.bytes_sent)


def test_another_reply_of_the_same_patterns_is_shown_as_what_it_is():
    briefs = Briefs(WEB, MATCHER)
    conversation(briefs, [None, b"OK one\r\n"])
    answer, _ = conversation(briefs, [None, b"OK two\r\n"])
    assert briefs.counts["brief"] == 1
    assert (answer.evidence[0].data, "two" in answer.evidence[0].detail) == (b"OK two\r\n", True)


@pytest.mark.parametrize("said", [[b"SHELL\r\n"], [None, b"what\r\n", None], [None, b""]])
def test_a_session_goes_on_where_anything_else_happens(said):
    alone, _ = conversation(Briefs(WEB, MATCHER), [*said, *[None] * 20])
    briefs = Briefs(WEB, MATCHER)
    conversation(briefs, [None, b"OK\r\n"])
    answer, _ = conversation(briefs, [*said, *[None] * 20])
    assert briefs.counts["brief"] == 0
    assert [piece.service for piece in answer.evidence] == [piece.service for piece in alone.evidence]
    assert answer.outcome is alone.outcome


def test_a_long_path_is_for_a_session():
    briefs = Briefs(WEB, MATCHER)
    conversation(briefs, [None, b"OK\r\n"])
    conversation(briefs, [None, b"OK\r\n"], rtt_s=0.08)
    assert briefs.counts["brief"] == 0


@pytest.mark.parametrize("asked", [question("10.0.0.9:4444", candidates=("web",)), question("10.0.0.9:4444/udp")])
def test_what_a_flow_showed_and_datagrams_are_for_a_session(asked):
    assert Briefs(WEB, MATCHER).brief(asked, (), now_s=0.0, session=lambda: None, note=print) is None


def test_what_replies_say_is_remembered_as_far_as_the_bytes_decide(monkeypatch):
    briefs = Briefs(WEB, MATCHER)
    conversation(briefs, [None, b"OK one\r\n"])
    conversation(briefs, [None, b"OK two\r\n"])
    scanned = []
    monkeypatch.setattr(MATCHER, "reply", lambda given: scanned.append(given) or [])
    again, _ = conversation(briefs, [None, b"OK two\r\n"])
    assert (scanned, again.evidence[0].data, briefs.counts["brief"]) == ([], b"OK two\r\n", 2)


def test_what_depends_on_who_asked_is_looked_at_each_time(monkeypatch):
    monkeypatch.setattr(MATCHER, "is_anyones", lambda _given: False)
    briefs = Briefs(WEB, MATCHER)
    for _ in range(3):
        conversation(briefs, [None, b"OK one\r\n"])
    scanned = []
    monkeypatch.setattr(MATCHER, "reply", lambda given: scanned.append(given) or [])
    conversation(briefs, [None, b"OK one\r\n"])
    assert scanned
