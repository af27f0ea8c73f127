import pytest

from flowsonar import limits
from flowsonar.model import Confidence, Layer, Transport
from flowsonar.probes.replies import Asked, Judge
from flowsonar.probes.special.tls import TlsFacts
from flowsonar.signatures import Matcher, load_signatures
from flowsonar.signatures.templates import Message
from tests.probes.world import SIGNATURES, matcher

FACTS = TlsFacts(version="TLSv1.3", cipher="X", alpn=None, names=("a.example",))


def judge(own=(), note=lambda _evidence: None) -> Judge:
    return Judge(matcher(), SIGNATURES, own, note)


def asked(probe="http/get", message=b"GET /", over=None) -> Asked:
    spec = SIGNATURES.probe(probe) if probe != "listen" else None
    return Asked(
        probe, 0, Message(message, {"id": message[:2], "prober.address": b"\x0a\0\0\1"}), over=over, probe=spec
    )


def services(one: Judge):
    return [(item.service, item.confidence.value) for item in one.evidence]


def test_two_soft_matches_speak_for_both_and_settle_nothing():
    one = judge()
    assert one.reply(asked("listen", b""), b"220 hello\r\n", Transport.TCP, closed=False)
    assert services(one) == [("ftp", "guess"), ("smtp", "guess")]
    assert one.best is Confidence.UNKNOWN
    assert one.candidates == ["ftp", "smtp"]


def test_what_was_matched_before_counts_later():
    one = judge()
    one.reply(asked("ftp/features", b"FEAT\r\n"), b"211-x\r\n", Transport.TCP, closed=False)
    assert one.best is Confidence.UNKNOWN
    one.reply(asked("listen", b""), b"220 hello\r\n", Transport.TCP, closed=False)
    one.reply(asked("ftp/features", b"FEAT\r\n"), b"211-x\r\n", Transport.TCP, closed=False)
    assert (one.best, one.best_service) == (Confidence.CONFIRMED, "ftp")


def test_the_layer_of_the_connection_goes_into_the_evidence():
    one = judge()
    one.reply(asked(over=Layer.TLS), b"HTTP/1.1 200 OK\r\n", Transport.TCP, closed=False)
    assert one.evidence[0].over is Layer.TLS


def test_evidence_is_bounded():
    one = judge()
    for number in range(100):
        one.reply(asked(), b"-ERR %d\r\n" % number + b"x" * 10_000, Transport.TCP, closed=False)
    assert len(one.evidence) <= limits.EVIDENCE_ITEMS
    assert all(len(item.data) <= limits.EVIDENCE_BYTES for item in one.evidence)


def test_a_reply_that_tells_tls_waits_for_tls_to_fail():
    one = judge()
    question, data = asked(), b"\x15\x03\x03\x00\x02\x02\x28"
    reply = one.as_reply(question, data, Transport.TCP, closed=False)
    assert one.tells_tls(reply)
    assert not one.enough(question, data)
    one.hold(question, reply)
    assert one.evidence == []
    one.unhold()
    one.unhold()
    assert services(one) == [("tls", "likely")]


def test_tls_without_a_known_inside_is_tls_and_with_one_it_is_a_remark():
    one = judge()
    one.tls_facts(FACTS)
    one.conclude(tls=True)
    assert services(one) == [(None, "unknown"), ("tls", "confirmed")]
    two = judge()
    two.tls_facts(FACTS)
    two.reply(asked(over=Layer.TLS), b"HTTP/1.1 200 OK\r\n", Transport.TCP, closed=False)
    two.conclude(tls=True)
    assert services(two) == [(None, "unknown"), ("http", "confirmed")]


def test_a_handshake_that_comes_through_after_an_alert_opens_the_question_again():
    one = judge()
    one.tls_closed("no application protocol", b"")
    assert one.best is Confidence.CONFIRMED
    one.tls_facts(TlsFacts(version="TLSv1.3", cipher="c", alpn="h2", names=()))
    assert one.best is Confidence.UNKNOWN
    one.conclude(tls=True)
    assert (one.best, one.best_service) == (Confidence.CONFIRMED, "tls")


def test_strange_replies_are_kept_only_where_nothing_was_found():
    one = judge()
    one.reply(asked(), b"\x00what\r\n", Transport.TCP, closed=False)
    one.conclude(tls=False)
    assert one.evidence[0].service is None
    assert "what" in one.evidence[0].detail
    assert one.evidence[0].detail.isprintable()
    two = judge()
    two.reply(asked(), b"what\r\n", Transport.TCP, closed=False)
    two.reply(asked(), b"HTTP/1.1 200 OK\r\n", Transport.TCP, closed=False)
    two.conclude(tls=False)
    assert services(two) == [("http", "confirmed")]


@pytest.mark.parametrize("whole", [True, False])
def test_echo_satisfies_nothing(whole):
    one = judge()
    message = b"HTTP/1.1 200 OK\r\n"
    one.reply(asked(message=message), message if whole else message + b"and more", Transport.TCP, closed=False)
    assert one.echoes
    assert one.candidates == ["echo"]
    assert one.evidence == []


def test_a_datagram_from_behind_an_unknown_nat_asks_for_a_second_look():
    one = judge()
    one.ask(asked("skype/udp", b"ab\x02" + b"r" * 15))
    assert one.datagram(b"ab\x07\xc6\x33\x64\x07tokn")
    assert one.wanted_again() is SIGNATURES.probe("skype/udp")
    assert one.wanted_again() is None
    one.ask(asked("skype/udp", b"cd\x02" + b"r" * 15))
    assert one.datagram(b"cd\x07\xc6\x33\x64\x07tokn")
    assert services(one) == [("skype", "likely")]


def test_our_configured_address_is_as_good_as_our_own():
    one = judge(own=(b"\xc6\x33\x64\x07",))
    one.ask(asked("skype/udp", b"ab\x02" + b"r" * 15))
    assert one.datagram(b"ab\x07\xc6\x33\x64\x07tokn")
    assert services(one) == [("skype", "confirmed")]


# -- greetings that come after we spoke ---------------------------------------------------------------------------


@pytest.fixture(scope="module")
def real():
    loaded = load_signatures()
    return loaded, Matcher(loaded, engine="re2")


def greeted(real, *data: bytes, message=b"GET / HTTP/1.1\r\n\r\n") -> Judge:
    loaded, compiled = real
    one = Judge(compiled, loaded, (), lambda _evidence: None)
    for item in data:
        put = Asked("http/get", 0, Message(message, {}))
        one.settle(put, one.as_reply(put, item, Transport.TCP, closed=False), first=True)
    return one


@pytest.mark.parametrize(
    ("data", "service", "confidence"),
    [
        (b"+OK Dovecot ready.\r\n-ERR Unknown command.\r\n-ERR Unknown command.\r\n", "pop3", "likely"),
        (b"+OK Dovecot (Debian) ready.\r\n", "pop3", "likely"),
        (b"+OK ready\r\n-ERR what\r\n", "pop3", "guess"),
        (b"+OK ready\r\n", "pop3", "guess"),
        (b"* OK [CAPABILITY IMAP4rev1] ready.\r\nGET BAD Error in IMAP command\r\n", "imap", "confirmed"),
        (b"* OK ready\r\nGET BAD what\r\n", "imap", "likely"),
        (b"220 mail.example ESMTP Postfix\r\n221 2.7.0 Error: I can break rules, too.\r\n", "smtp", "likely"),
        (b"220 (vsFTPd 3.0.3)\r\n530 Please login with USER and PASS.\r\n", "ftp", "likely"),
        (b"421 Too many users are connected, please try again later.\r\n", "ftp", "likely"),
    ],
)
def test_a_greeting_is_known_as_one_when_we_spoke_before_it_came(real, data, service, confidence):
    one = greeted(real, data)
    best = max(one.evidence, key=lambda item: item.confidence.rank)
    assert (best.service, best.confidence) == (service, confidence)
    assert service in one.candidates


@pytest.mark.parametrize(
    ("data", "service", "confidence"),
    [
        (b"HTTP/1.1 400 Bad Request\r\nServer: x\r\n\r\n", "http", Confidence.CONFIRMED),
        (b"-ERR unknown command `GET`, with args beginning with: `/` \r\n", "redis", Confidence.LIKELY),
    ],
)
def test_an_answer_is_no_greeting(real, data, service, confidence):
    one = greeted(real, data)
    assert {item.service for item in one.evidence} == {service}
    assert one.best is confidence


@pytest.mark.parametrize(
    "data", [b"+OK\r\n", b"+OK\r\n+OK\r\n+OK\r\n", b"220 hello\r\n", b"220 hello\r\n220 hello\r\n"]
)
def test_who_always_says_the_same_is_a_guess_at_most(real, data):
    one = greeted(real, data, data)
    assert all(item.confidence.rank <= Confidence.GUESS.rank for item in one.evidence)
    assert one.best is Confidence.UNKNOWN


def test_what_may_be_an_answer_is_no_greeting_for_later_answers(real):
    one = greeted(real, b"+OK\r\n")
    capa = Asked("pop3/capabilities", 0, Message(b"CAPA\r\n", {}))
    one.settle(capa, one.as_reply(capa, b"-ERR what\r\n", Transport.TCP, closed=False))
    assert one.best is Confidence.UNKNOWN


def test_a_greeting_is_enough_as_soon_as_it_confirms(real):
    one = greeted(real)
    put = Asked("http/get", 0, Message(b"GET / HTTP/1.1\r\n\r\n", {}))
    assert one.enough(put, b"RFB 003.008\n", first=True)
    assert not one.enough(put, b"+OK Dovecot ready.\r\n", first=True)
    assert not one.enough(put, b"* OK [CAPABILITY IMAP4rev1] ready.\r\n", first=True)
    assert one.enough(put, put.message.data)


def test_who_says_the_same_to_other_questions_is_likely_at_most(real):
    answer = b"\x00\x05\x00\x01no\x00"
    liar, honest = greeted(real), greeted(real)
    read = Asked("tftp/read", 0, Message(b"\x00\x01abcdefabcdef\x00octet\x00", {}))
    for one in (liar, honest):
        one.ask(Asked("stun/binding", 0, Message(b"\x00\x01\x00\x00!\x12\xa4B" + bytes(12), {})))
        if one is liar:
            assert not one.datagram(answer)
        one.ask(read)
        assert one.datagram(answer)
    assert (liar.best, honest.best) == (Confidence.LIKELY, Confidence.CONFIRMED)


def test_our_datagram_with_more_behind_it_is_no_echo(real):
    ours = b"\x1d\x02our own question"
    for data, echoes in ((ours, True), (ours + b"more", False)):
        one = greeted(real)
        one.ask(Asked("stun/binding", 0, Message(ours, {})))
        one.datagram(data)
        assert ("echo" in one.candidates) is echoes


@pytest.mark.parametrize(
    ("alpn", "offered", "service"),
    [
        ("bep/1.0", ("http/1.1", "bep/1.0"), "syncthing"),
        ("bep/1.0", ("bep/1.0", "http/1.1"), None),
        ("bep/1.0", (), None),
        ("h2", ("http/1.1", "h2"), None),
    ],
)
def test_a_name_that_was_picked_out_of_several_is_likely(real, alpn, offered, service):
    one = greeted(real)
    one.tls_facts(TlsFacts(version="TLSv1.3", cipher="c", alpn=alpn, names=()), offered=offered)
    assert one.best_service == service
    assert one.best is (Confidence.LIKELY if service else Confidence.UNKNOWN)
