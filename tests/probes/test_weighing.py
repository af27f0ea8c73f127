"""What replies and matches are worth by themselves."""

import pytest

from flowsonar.model import Confidence, Layer, Transport
from flowsonar.probes import weighing
from flowsonar.signatures.matcher import Match, Reply
from tests.probes.world import matcher

ALERT = bytes.fromhex("15030300020246")


def answer(data: bytes, *, over: Layer | None = None, closed: bool = False) -> Reply:
    return Reply(
        probe="http/get",
        step=0,
        data=data,
        transport=Transport.TCP,
        closed=closed,
        sent={},
        message=b"GET /",
        over=over,
    )


def match(data: bytes) -> Match:
    return matcher().reply(answer(data))[0]


def test_a_match_made_weaker_is_likely_at_most_and_says_why() -> None:
    whole = match(b"HTTP/1.1 200 OK\r\nServer: x\r\n\r\n")
    weak = weighing.weakened(whole, "twice")
    assert (whole.confidence, weak.confidence) == (Confidence.CONFIRMED, Confidence.LIKELY)
    assert weak.detail.endswith("twice")
    assert weighing.guessed(whole).confidence is Confidence.GUESS
    assert weighing.guessed(weighing.guessed(whole)).confidence is Confidence.GUESS


def test_the_last_word_is_confirmed_in_the_layer_it_was_said_in() -> None:
    whole = match(b"HTTP/1.1 200 OK\r\nServer: x\r\n\r\n")
    assert weighing.is_last_word(whole, None)
    assert weighing.is_strong([whole])
    assert not weighing.is_last_word(weighing.weakened(whole, ""), None)
    assert not weighing.is_strong([])


@pytest.mark.parametrize(
    ("data", "closed", "drip"), [(b"x", False, True), (b"x" * 64, False, False), (b"x", True, False)]
)
def test_drips(data: bytes, closed: bool, drip: bool) -> None:
    assert weighing.is_drip(answer(data, closed=closed)) is drip


def test_an_alert_in_clear_tells_of_tls_and_inside_tls_of_nothing() -> None:
    assert weighing.tells_tls(answer(ALERT), ())
    assert not weighing.tells_tls(answer(ALERT, over=Layer.TLS), ())


def test_what_is_shown_fits_on_a_line() -> None:
    assert weighing.shown(answer(b"a\r\n\x1b")) == "answered a\\r\\n\\x1b"
    assert weighing.shown(answer(b"y" * 70)).endswith("... (70 bytes)")


def test_nobody_mirrors_an_address_without_a_signature() -> None:
    assert weighing.mirrors(None) == []
