import random
from pathlib import Path

import pytest

from flowsonar.model import Confidence, Layer, Side, Transport
from flowsonar.signatures import Matcher, Reply, SignatureSet, check, load_signatures
from flowsonar.signatures.checking import example_matches
from flowsonar.signatures.conditions import SCAN_BYTES
from flowsonar.signatures.engines import available
from flowsonar.signatures.language import Condition, FieldCheck
from flowsonar.signatures.matcher import REPLY_BEGIN
from tests.signatures.files import signatures

LOADED = load_signatures()


@pytest.fixture(scope="module", params=available())
def matcher(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Matcher:
    return Matcher(LOADED, cache=tmp_path_factory.mktemp("cache"), engine=request.param)


def reply(data: bytes, **changes: object) -> Reply:
    values: dict[str, object] = {"probe": "http/get", "step": 0, "transport": Transport.TCP, "sent": {}}
    return Reply(data=data, **{**values, **changes})  # type: ignore[arg-type]


def test_the_engine_says_which_it_is(matcher: Matcher) -> None:
    assert matcher.engine in ("hyperscan", "re2")


def test_both_engines_say_the_same(tmp_path: Path) -> None:
    both = [Matcher(LOADED, cache=tmp_path, engine=name) for name in available()]
    pick = random.Random(9)
    for signature in LOADED.services.values():
        for example in signature.examples:
            answers = [example_matches(one, example) for one in both]
            assert all(answer == answers[0] for answer in answers)
            cut = example.data[: pick.randrange(len(example.data) + 1)]
            for transport in (Transport.TCP, Transport.UDP):
                payloads = [one.payload(transport, None, cut) for one in both]
                assert all(answer == payloads[0] for answer in payloads)


@pytest.mark.parametrize(
    ("side", "data", "best", "confidence"),
    [
        (Side.INITIATOR, b"GET / HTTP/1.1\r\nHost: x\r\n\r\n", "http/request", Confidence.LIKELY),
        (Side.RESPONDER, b"HTTP/1.1 200 OK\r\nServer: a\r\n\r\n", "http/answer", Confidence.CONFIRMED),
        (None, b"SSH-2.0-OpenSSH_9\r\n", "ssh/banner", Confidence.LIKELY),
        (Side.INITIATOR, b"\x17\x03\x03\x00\x45" + b"x" * 20, "tls/application-data", Confidence.LIKELY),
        (Side.INITIATOR, b"RETR a.txt\r\n", "ftp/command", Confidence.LIKELY),
    ],
)
def test_payloads(matcher: Matcher, side: Side | None, data: bytes, best: str, confidence: Confidence) -> None:
    match = matcher.payload(Transport.TCP, side, data)[0]
    assert (match.pattern, match.confidence) == (best, confidence)


def test_a_side_hears_only_its_own_patterns(matcher: Matcher) -> None:
    assert matcher.payload(Transport.TCP, Side.RESPONDER, b"GET / HTTP/1.1\r\nHost: x\r\n\r\n") == []
    assert matcher.payload(Transport.UDP, Side.INITIATOR, b"GET / HTTP/1.1\r\nHost: x\r\n\r\n") == []
    assert matcher.payload(Transport.ICMP, None, b"x") == []
    assert matcher.payload(Transport.TCP, None, b"") == []


def test_one_match_for_each_service(matcher: Matcher) -> None:
    matches = matcher.payload(Transport.TCP, Side.RESPONDER, b"220 (vsFTPd 3.0.3)\r\n")
    assert [(match.pattern, match.product, match.version) for match in matches] == [("ftp/banner", "vsFTPd", "3.0.3")]


@pytest.mark.parametrize("seed", range(20))
def test_random_payloads_are_nothing(matcher: Matcher, seed: int) -> None:
    data = random.Random(seed).randbytes(300)
    assert matcher.payload(Transport.TCP, None, data) == []
    assert matcher.payload(Transport.UDP, None, data) == []
    assert matcher.reply(reply(data)) == []


def impostors() -> dict[str, bytes]:
    pick = random.Random(11)
    return {
        "silent": b"",
        "random": pick.randbytes(64),
        "banner": b"Welcome to the machine\r\n",
        "zeros": bytes(64),
        "login": b"login: ",
        "ok": b"OK\r\n",
        "plus-ok": b"+OK\r\n",
        "two-twenty": b"220 hello\r\n",
        "error": b"ERROR\r\n",
        "err": b"-ERR what\r\n",
        "json": b'{"error":"bad"}\n',
        "html": b"<html><body>hi</body></html>",
    }


@pytest.mark.parametrize("name", impostors())
@pytest.mark.parametrize("transport", [Transport.TCP, Transport.UDP])
def test_no_impostor_is_confirmed(matcher: Matcher, name: str, transport: Transport) -> None:
    """The same bytes to every probe, with whatever matched before remembered."""
    data = impostors()[name]
    earlier: set[str] = set()
    for probe in (
        "listen",
        *(one.id for one in LOADED.probes(transport)),
        *(one.id for one in LOADED.probes(transport)),
    ):
        sent = dict.fromkeys(("id", "call-id", "cseq", "tag"), random.Random(probe).randbytes(6))
        given = reply(
            data, probe=probe, transport=transport, sent=sent, message=b"question", earlier=frozenset(earlier)
        )
        matches = matcher.reply(given)
        assert [match for match in matches if match.confidence is Confidence.CONFIRMED] == []
        earlier |= {match.pattern for match in matches}


def test_an_echo_is_an_echo_and_nothing_else(matcher: Matcher) -> None:
    for probe in LOADED.probes(Transport.TCP):
        for step in probe.steps:
            parts = step.send.parts if step.send is not None else ()
            message = b"".join(part for part in parts if isinstance(part, bytes)) + b"padding that makes it long enough"
            assert [match.service for match in matcher.reply(reply(message, probe=probe.id, message=message))] == [
                "echo"
            ]
            assert matcher.reply(reply(message[:-1], probe=probe.id, message=message)) == []
            assert matcher.reply(reply(message + b"!", probe=probe.id, message=message)) == []


def test_requires_and_after(matcher: Matcher) -> None:
    asked = reply(
        b"530 Please login with USER and PASS.\r\n", probe="ftp/features", earlier=frozenset({"ftp/greeting"})
    )
    assert matcher.reply(asked)[0].confidence is Confidence.CONFIRMED
    alone = reply(b"530 Please login with USER and PASS.\r\n", probe="ftp/features")
    assert matcher.reply(alone)[0].confidence is Confidence.LIKELY


def test_the_layer_comes_from_the_reply_unless_the_pattern_says_it(matcher: Matcher) -> None:
    inside = reply(b"HTTP/1.0 200 OK\r\nServer: a\r\n\r\n", over=Layer.TLS)
    assert {match.over for match in matcher.reply(inside)} == {Layer.TLS}
    told = matcher.reply(reply(b"HTTP/1.1 400 x\r\n\r\nClient sent an HTTP request to an HTTPS server.\n"))
    assert (told[0].pattern, told[0].over) == ("http/https-port", Layer.TLS)
    assert all(match.confidence is not Confidence.CONFIRMED for match in told)


def test_long_and_endless_replies_are_cut(matcher: Matcher) -> None:
    head = b"HTTP/1.1 200 OK\r\nServer: nginx/1.0\r\n\r\n"
    assert matcher.reply(reply(head + b"a\r\n" * 1_000_000))[0].product == "nginx"
    assert matcher.reply(reply(b"x" * SCAN_BYTES + head)) == []
    assert matcher.payload(Transport.TCP, None, b"220-" * 500_000)[0].confidence is Confidence.GUESS


def test_expressions_look_at_the_beginning_of_a_reply(matcher: Matcher) -> None:
    head = b"HTTP/1.1 200 OK\r\nContent-Type: text/html\r\n\r\n"
    title = b"<title>RabbitMQ Management</title>"

    def products(before: int) -> set[str | None]:
        page = head + b"." * (before - len(head)) + title + b"." * 5000
        return {match.product for match in matcher.reply(reply(page))}

    assert products(REPLY_BEGIN - len(title)) == {"RabbitMQ Management"}
    assert products(REPLY_BEGIN - len(title) + 1) == {None}


@pytest.mark.parametrize("server", [b"nginx/1.%d", b"Apache/2.%d (Debian)", b"Program/%d.1", b"nginx"])
def test_each_page_says_its_own_whatever_others_said(matcher: Matcher, server: bytes) -> None:
    said = set()
    for number in [*range(600), *range(3)]:
        line = server % number if b"%" in server else server
        page = b"HTTP/1.1 200 OK\r\nServer: %b\r\nContent-Type: text/html\r\n\r\n%d" % (line, number)
        matches = matcher.reply(reply(page))
        name, _, version = line.split()[0].decode().partition("/")
        assert {(match.version or "") for match in matches} == {version}
        assert all(name.lower() in (match.product or "").lower() for match in matches)
        said.add(tuple(match.pattern for match in matches))
    assert len(said) == 1


@pytest.mark.parametrize("size", [0, 1, 2, 3, 7, 50])
def test_every_beginning_of_every_example_is_no_error(matcher: Matcher, size: int) -> None:
    for signature in LOADED.services.values():
        for example in signature.examples:
            matcher.reply(reply(example.data[:size], probe=example.to or "listen", transport=example.transport))
            matcher.payload(example.transport, None, example.data[:size])


def test_holds(matcher: Matcher) -> None:
    condition = Condition(pattern=r"^(?P<word>\w+)", unless="never", fields=(FieldCheck(at=-1, size=1, capture="end"),))
    assert matcher.holds(condition, reply(b"hello!")) == {"word": "hello", "end": "!"}
    assert matcher.holds(condition, reply(b"!")) is None
    assert matcher.holds(condition, reply(b"never!")) is None
    assert matcher.holds(condition, reply(b"hello!", message=b"hello!")) is None
    assert matcher.holds(Condition(silence=True), reply(b"")) == {}


def test_products_by_file(tmp_path: Path) -> None:
    loaded: SignatureSet = signatures(
        tmp_path,
        r"""
[[reply]]
name = "hi"
pattern = '^HI'
confidence = "likely"
[[reply]]
name = "binary"
length = 5
fields = [{ at = 0, equals = 'B' }]
confidence = "likely"
specificity = 90
[[product]]
pattern = '(?P<version>\d+)'
product = "Named"
version = "{version}"
[[product]]
pattern = '\d'
product = "Second"
""",
    )
    found = Matcher(loaded, cache=tmp_path / "cache").reply(reply(b"HI 42"))
    assert [(match.product, match.version) for match in found] == [("Named", "42")]
    found = Matcher(loaded, cache=tmp_path / "cache").reply(reply(b"B 777"))
    assert [(match.pattern, match.product) for match in found] == [("sample/binary", "Named")]


def test_a_pattern_for_its_port_holds_only_there(tmp_path: Path) -> None:
    body = """
ports.udp = [7777]
[[payload]]
name = "weak"
transport = "udp"
on-port = true
pattern = '^abc$'
confidence = "likely"
[[example]]
transport = "udp"
side = "initiator"
bytes = 'abc'
[[example]]
transport = "udp"
side = "initiator"
bytes = 'abcd'
matches = false
"""
    loaded = signatures(tmp_path, body)
    matcher = Matcher(loaded, engine="re2")
    assert check(loaded, matcher) == []
    assert loaded.on_port >= {"sample/weak"}
    assert [one.service for one in matcher.payload(Transport.UDP, None, b"abc", (40000, 7777))] == ["sample"]
    assert matcher.payload(Transport.UDP, None, b"abc", (40000, 7778)) == []
    assert matcher.payload(Transport.UDP, None, b"abc") == []


def test_what_replies_need_can_be_made_beforehand(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    prepared = Matcher(LOADED, cache=tmp_path, engine="re2")
    prepared.prepare(replies=True, payloads=False)
    monkeypatch.setattr("flowsonar.signatures.matcher.reply_rules", None)  # nothing is made any more
    assert prepared.reply(reply(b"SSH-2.0-OpenSSH_9.2p1\r\n"))[0].service == "ssh"


def test_an_echo_is_nobody_elses_reply(matcher: Matcher) -> None:
    assert matcher.is_anyones(reply(b"SSH-2.0-OpenSSH_9.2\r\n"))
    assert not matcher.is_anyones(reply(b"hello\r\n", message=b"hello\r\n"))
