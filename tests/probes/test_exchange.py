"""Moves on one connection, by script; whole conversations are in test_session and, on sockets, in test_prober."""

import pytest

from flowsonar import limits
from flowsonar.model import Outcome
from flowsonar.probes.dialogue import Ended
from flowsonar.probes.exchange import Exchange, packed
from flowsonar.probes.moves import Heard, Seen, TlsState
from flowsonar.probes.replies import Asked, Judge
from flowsonar.signatures.templates import Message
from tests.probes.world import SIGNATURES, Script, matcher, question

CLOSED = Ended(0, Outcome.CLOSED)


def run(talk, script):
    try:
        command = next(talk)
        while True:
            command = talk.send(script.do(command))
    except StopIteration as stop:
        return stop.value


def exchange(script, asked=None) -> Exchange:
    one = Judge(matcher(), SIGNATURES, (), lambda _evidence: None)
    return Exchange(asked or question(), one, Seen(), timeout_s=3.0, now_s=script.now_s)


def hear(moves, seconds=0.5):
    script = Script([moves])
    one = exchange(script)
    line = run(one.open(None, "http/get"), script)
    asked = Asked("http/get", 0, Message(b"GET /\r\n", one.facts(line).sent()))
    script.sent = b"GET /\r\n"
    began = script.now_s
    reply = run(one.hear(line, asked, seconds), script)
    return one, reply, script.now_s - began


@pytest.mark.parametrize(
    ("moves", "data", "closed", "last"),
    [
        (["silent"], b"", False, Heard.SILENT),
        ([CLOSED], b"", True, Heard.CLOSED),
        ([b"what\r\n", "silent"], b"what\r\n", False, Heard.STRANGE),
        ([b"wh", b"at\r\n", CLOSED], b"what\r\n", True, Heard.STRANGE),
        ([b"HTTP/1.1 200 OK\r\n", b"never read"], b"HTTP/1.1 200 OK\r\n", False, Heard.KNOWN),
        (["unacknowledged", b"-ERR\r\n", "silent"], b"-ERR\r\n", False, Heard.KNOWN),
        (["unacknowledged", "unacknowledged", "silent", b"-ERR\r\n", "silent"], b"-ERR\r\n", False, Heard.KNOWN),
    ],
)
def test_one_reply(moves, data, closed, last):
    one, reply, _ = hear(moves)
    assert (reply.data, reply.closed, one.seen.last) == (data, closed, last)


def test_a_reply_is_over_soon_after_its_last_line_end():
    _, _, took = hear([b"what\r\n", "silent"])
    assert took < 0.02


def test_what_is_delivered_late_is_waited_for_no_longer_than_any():
    _, reply, took = hear(["unacknowledged", "silent", "silent"], seconds=0.06)
    assert reply.data == b""
    assert took == pytest.approx(0.06 + 0.02 + 0.06)
    _, reply, took = hear(["unacknowledged"] * 100)
    assert (reply.data, took) == (b"", pytest.approx(0.5 + 1.0))


def test_a_reply_is_cut_at_its_bound():
    _, reply, _ = hear([b"x" * 60_000] * 100)
    assert len(reply.data) == limits.REPLY_BYTES


def test_a_drip_is_judged_by_what_came_in_time():
    _, reply, took = hear([b"x"] * 10_000)
    assert took < 1.1
    assert len(reply.data) > 500


def test_judging_a_growing_reply_is_linear():
    calls = []
    script = Script([[b"x"] * 5000])
    one = exchange(script)
    whole = one._judge.enough
    one._judge.enough = lambda asked, data, **more: calls.append(len(data)) or whole(asked, data, **more)
    line = run(one.open(None, "http/get"), script)
    run(one.hear(line, Asked("http/get", 0, Message(b"G", {})), 0.5), script)
    assert len(calls) <= 14
    assert sum(calls) < 4 * max(calls)


def test_a_connection_that_never_stood_costs_one_and_fails():
    script = Script([[Ended(0, Outcome.REFUSED, "refused")]])
    one = exchange(script)
    assert run(one.open(None, "listen"), script) is None
    assert (one.connections, one.failed.outcome) == (1, Outcome.REFUSED)


def test_broken_tls_is_told_from_no_tls():
    for data, garbled in ((b"\x16\x03\x03\x00\x05\x05\x00\x00\x01\x00", True), (b"220 hello\r\n", False)):
        script = Script([[data, CLOSED]])
        one = exchange(script)
        line = run(one.open(None, "tls"), script)
        client = run(one.secure(line, None, ()), script)
        assert not client.done
        assert one.seen.tls is TlsState.FAILED
        assert bool(one.garbled) is garbled


def test_a_hello_is_waited_for_longer_where_the_flow_shows_records():
    took = []
    for shown in ({}, {"midstream": True, "candidates": ("tls",)}):
        script = Script([["silent"]])
        one = exchange(script, question(**shown))
        line = run(one.open(None, "tls"), script)
        run(one.secure(line, None, ()), script)
        took.append(line.now_s)
    assert took[1] - took[0] > 1.0


def test_messages_say_where_they_come_from():
    script = Script([["silent"]])
    one = exchange(script, question("[fd00::9]:80", server_name="www.example"))
    line = run(one.open(None, "x"), script)
    facts = one.facts(line)
    assert facts.text("target.host") == b"www.example"
    assert facts.prober_address == packed("10.0.0.1")
    assert len(facts.target_address) == 16


@pytest.mark.parametrize(("text", "size"), [("10.0.0.1", 4), ("fd00::1", 16), ("::ffff:10.0.0.1", 4)])
def test_packed(text, size):
    assert len(packed(text)) == size
