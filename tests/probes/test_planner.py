"""The planner by tables: what the flow showed and what was answered, and the move that follows."""

import random

import pytest

from flowsonar.model import Confidence, Layer, Side
from flowsonar.probes.moves import Ask, Heard, Listen, Secure, Seen, Spread, Stop, TlsState
from flowsonar.probes.planner import Planner
from tests.probes.world import SIGNATURES, question

PLANNER = Planner(SIGNATURES, max_probes=5, timeout_s=3.0)
HELLO = bytes.fromhex("1603010200010001fc0303")
NOISE = random.Random(5).randbytes(600)
GET, FEAT = SIGNATURES.probe("http/get"), SIGNATURES.probe("ftp/features")
PING = SIGNATURES.probe("redis/ping")


def seen(**values) -> Seen:
    return Seen(**{"rtt_s": 0.001, **values})


def name(move) -> str:
    match move:
        case Ask(probe=probe, fresh=fresh, over=over):
            return f"{probe.id}{' fresh' if fresh else ''}{' in ' + over if over else ''}"
        case Listen(over=over):
            return "listen" + (f" in {over}" if over else "")
        case Secure():
            return "secure"
        case Spread(number=number, over=over):
            return f"{number} at a time" + (f" in {over}" if over else "")
        case Stop(why=why):
            return f"stop: {why}"


@pytest.mark.parametrize(
    ("asked", "move"),
    [
        (question(), "listen"),
        (question(first_speaker=Side.INITIATOR), "http/get fresh"),
        (question(first_speaker=Side.INITIATOR, midstream=True), "listen"),
        (question(first_speaker=Side.INITIATOR, side=Side.INITIATOR), "listen"),
        (question(first_speaker=Side.RESPONDER), "listen"),
        (question("10.0.0.9:80"), "http/get fresh"),
        (question("10.0.0.9:21"), "listen"),
        (question("10.0.0.9:80", candidates=("ftp",)), "listen"),
        (question("10.0.0.9:22", candidates=("redis",)), "redis/ping fresh"),
        (question("10.0.0.9:443"), "secure"),
        (question("10.0.0.9:443", initiator_bytes=b"GET / HTTP/1.0\r\n", candidates=("http",)), "http/get fresh"),
        (question("10.0.0.9:80", initiator_bytes=HELLO), "secure"),
        (question(candidates=("tls",)), "secure"),
        (question(alpn=("h2",)), "secure"),
        (question(midstream=True, responder_bytes=NOISE), "secure"),
        (question(midstream=True, initiator_bytes=NOISE, responder_bytes=NOISE[:8]), "secure"),
        (question(midstream=True, initiator_bytes=b"a line of text\r\n" * 9, responder_bytes=NOISE), "listen"),
        (question(midstream=True, responder_bytes=NOISE[:16]), "listen"),
        (question(first_speaker=Side.INITIATOR, initiator_bytes=NOISE), "http/get fresh"),
        (question("10.0.0.9:53/udp"), "dns/root"),
        (question("10.0.0.9:1234/udp", candidates=("skype",)), "skype/udp"),
        (question("[fd00::9]:1234/udp", candidates=("skype",)), "dns/root"),
    ],
)
def test_first_move(asked, move):
    assert name(PLANNER.next(asked, seen())) == move


def test_words_in_clear_are_not_what_an_encrypted_flow_is():
    asked, found = (
        question(midstream=True, responder_bytes=NOISE),
        {"best": Confidence.CONFIRMED, "best_service": "http"},
    )
    assert name(PLANNER.next(asked, seen(**found))) == "secure"
    assert name(PLANNER.next(asked, seen(**found, tls=TlsState.FAILED))) == "stop: identified"
    assert name(PLANNER.next(asked, seen(**found, tls=TlsState.OPEN))) != "stop: identified"
    within = [(GET, Layer.TLS)]
    assert name(PLANNER.next(asked, seen(**found, tls=TlsState.OPEN, tried=within))) == "stop: identified"
    assert name(PLANNER.next(question(midstream=True), seen(**found))) == "stop: identified"
    silent = question(midstream=True, candidates=("redis", "tls"))
    assert name(PLANNER.next(silent, seen(**found, tried=[(PING, None)]))) == "secure"  # what did not ask it for
    assert name(PLANNER.next(silent, seen(**found, tried=[(PING, None), (GET, None)]))) == "stop: identified"
    assert (
        name(PLANNER.next(question(candidates=("redis",)), seen(**found, tried=[(PING, None)]))) == "stop: identified"
    )
    found["best_service"] = "ssh"  # which encrypts by itself, and is never inside TLS
    assert name(PLANNER.next(asked, seen(**found))) == "stop: identified"


def test_prior_knowledge_goes_before_the_general_order_but_after_what_the_flow_shows():
    asked = question(first_speaker=Side.INITIATOR)
    assert name(PLANNER.next(asked, seen(), ("redis",))) == "redis/ping fresh"
    asked = question("10.0.0.9:53", first_speaker=Side.INITIATOR)
    assert name(PLANNER.next(asked, seen(), ("redis",))) == "dns/root-tcp fresh"


@pytest.mark.parametrize(
    ("state", "move"),
    [
        (seen(best=Confidence.CONFIRMED), "stop: identified"),
        (seen(elapsed_s=2.99), "stop: out of time"),
        (seen(spent=5), "stop: out of connections"),
        (seen(spent=1, open=True, listened_s={None: 0.1}), "http/get"),
        (seen(spent=1, open=False, listened_s={None: 0.1}), "http/get fresh"),
        (seen(spent=1, tls=TlsState.SUGGESTED, tried=[(GET, None)]), "secure"),
        (seen(spent=5, open=True, tls=TlsState.SUGGESTED, tried=[(GET, None)]), "stop: out of connections"),
        (seen(spent=1, last=Heard.CLOSED, tried=[(GET, None)], listened_s={None: 0.1}), "secure"),
        (seen(spent=2, tls=TlsState.OPEN, open=True, over=Layer.TLS), "listen in tls"),
        (seen(spent=2, tls=TlsState.OPEN, open=True, over=Layer.TLS, alpn="http/1.1"), "http/get in tls"),
        (seen(spent=2, tls=TlsState.OPEN, last=Heard.CLOSED), "secure"),
        (seen(spent=2, tls=TlsState.OPEN, last=Heard.CLOSED, alpn_offered=True), "listen in tls"),
        (seen(spent=2, tls=TlsState.OPEN, open=True, over=Layer.TLS, alpn="h2"), "http/http2 in tls"),
        (seen(spent=2, tls=TlsState.OPEN, open=True, over=Layer.TLS, alpn="imap"), "listen in tls"),
        (
            seen(spent=1, open=True, said=True, candidates=["redis"], best=Confidence.LIKELY, tried=[(GET, None)]),
            "redis/ping",
        ),
        (
            seen(spent=1, open=True, said=True, best=Confidence.LIKELY, tried=[(GET, None)]),
            "stop: likely, and nothing left that would tell more",
        ),
        (
            seen(spent=1, open=True, said=True, echoes=True, candidates=["echo"], tried=[(GET, None)]),
            "echo/random fresh",
        ),
        (seen(spent=5, silences=4, open=True, said=True, tried=[(GET, None)]), "listen"),
        (
            seen(spent=5, silences=4, open=True, said=True, patient=True, tried=[(GET, None)]),
            "stop: nothing left to ask",
        ),
    ],
)
def test_next_move(state, move):
    assert name(PLANNER.next(question(), state)) == move


def test_who_ignores_one_line_of_text_is_asked_in_binary():
    state = seen(
        spent=2, silences=1, text_ignored=True, tls=TlsState.FAILED, tried=[(GET, None)], listened_s={None: 0.1}
    )
    assert name(PLANNER.next(question(), state)) == "dns/root-tcp fresh"


@pytest.mark.parametrize(
    ("shown", "first"),
    [
        (b"", "dns/root"),
        (b"hello, this is text in a datagram", "dns/root"),
        (bytes.fromhex("9f1ce80b73a42d56f1880e4bd7c2693ab501f77ee8943c1d"), "skype/udp"),
    ],
)
def test_skype_comes_early_only_where_the_flow_looks_random(shown, first):
    assert name(PLANNER.next(question("10.0.0.9:4000/udp", initiator_bytes=shown), seen())) == first


def test_dialogues_that_cannot_be_afforded_are_not_begun():
    tried = [(probe, None) for probe in SIGNATURES.probes(GET.transport) if probe.id != "skype/tcp"]
    state = seen(spent=3, heard=10, last=Heard.STRANGE, tls=TlsState.FAILED, tried=tried, listened_s={None: 0.1})
    assert isinstance(PLANNER.next(question(), state), Stop)
    state.spent = 2
    assert name(PLANNER.next(question(), state)) == "skype/tcp fresh"


ASKED = {"tried": [(GET, None)], "text_ignored": True, "listened_s": {None: 0.1}, "unanswered_left": 9}
SILENT = {"silences": 1, "last": Heard.SILENT, **ASKED}
CLOSED = {"closes": 1, "last": Heard.CLOSED, **ASKED}


@pytest.mark.parametrize(
    ("state", "move"),
    [
        (seen(spent=1, open=True, said=True, **SILENT), "4 at a time"),
        (seen(unanswered=1, **CLOSED), "secure"),
        (seen(unanswered=2, tls=TlsState.FAILED, **CLOSED), "4 at a time"),
        (seen(unanswered=2, tls=TlsState.FAILED, spread={None}, **CLOSED), "dns/root-tcp fresh"),
        (seen(unanswered=2, tls=TlsState.FAILED, **{**CLOSED, "unanswered_left": 0}), "dns/root-tcp fresh"),
        (seen(unanswered=2, tls=TlsState.FAILED, candidates=["redis"], **CLOSED), "redis/ping fresh"),
        (seen(spent=5, unanswered=2, tls=TlsState.FAILED, **CLOSED), "stop: out of connections"),
    ],
)
def test_who_says_nothing_to_the_first_question_is_asked_several_at_a_time(state, move):
    assert name(PLANNER.next(question(), state)) == move


def beside(state, over=None):
    return name(PLANNER.beside(question(), state, over) or Stop("done"))


def test_side_by_side_tls_comes_first_after_an_end_and_second_after_silence():
    state = seen(**CLOSED)
    assert beside(state) == "secure"
    state.securing = True
    assert beside(state) == "dns/root-tcp fresh"
    state = seen(spent=1, **SILENT)
    assert beside(state) == "dns/root-tcp fresh"
    state.tried = [*state.tried, (GET, Layer.TLS)]
    assert beside(state) == "secure"


def test_who_hangs_up_on_every_question_is_listened_to_when_nothing_else_is_left():
    state = seen(tls=TlsState.FAILED, **CLOSED)
    assert beside(state) == "dns/root-tcp fresh"
    state.tried = [(probe, None) for service in SIGNATURES.services.values() for probe in service.probes]
    assert beside(state) == "listen"
    state.waited.add(None)
    assert beside(state) == "stop: done"


@pytest.mark.parametrize(
    "values",
    [
        {"spent": 5},
        {"unanswered_left": 0},
        {"candidates": ["redis"]},
        {"best": Confidence.LIKELY},
        {"echoes": True},
        {"elapsed_s": 2.99},
    ],
)
def test_side_by_side_ends_with_the_bounds_and_with_the_first_finding(values):
    assert beside(seen(**{"tls": TlsState.FAILED, **SILENT, **values})) == "stop: done"


def test_nobody_is_asked_inside_tls_who_wants_our_certificate():
    state = Seen(rtt_s=0.001, spent=2, tls=TlsState.OPEN, barred=True)
    assert isinstance(PLANNER.next(question("10.0.0.9:4444"), state), Stop)
    assert PLANNER.beside(question("10.0.0.9:4444"), state, Layer.TLS) is None


def test_a_hello_that_nobody_heard_is_put_once_more_beside_other_questions():
    asked = question("10.0.0.9:4444")
    state = Seen(rtt_s=0.001, spent=2, tls=TlsState.FAILED, securing=True, hello_unheard=1, unanswered_left=9)
    assert PLANNER.beside(asked, state, None) == Secure()
    state.hello_unheard = 2
    assert isinstance(PLANNER.beside(asked, state, None), Ask)


def test_no_line_is_put_behind_bytes_that_were_none():
    asked = question("10.0.0.9:4444")
    state = Seen(rtt_s=0.001, spent=1, open=True, said=True, candidates=["smtp"], heard=9, last=Heard.KNOWN)
    state.listened_s[None] = 0.01
    move = PLANNER.next(asked, state)
    assert isinstance(move, Ask)
    assert not move.fresh
    state.unfinished = True
    assert PLANNER.next(asked, state).fresh
