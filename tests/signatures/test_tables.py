import tomllib

import pytest

from flowsonar.errors import SignatureError
from flowsonar.model import Confidence, Layer, Side, TrafficClass, Transport
from flowsonar.signatures.language import Connection, FieldOrder, Reaction, Rest, SentField, Signature, Speaker
from flowsonar.signatures.parsing import pattern_problem
from flowsonar.signatures.source import File
from flowsonar.signatures.tables import read_signature
from tests.signatures.files import text

EVERYTHING = r"""
ports = { tcp = [21, 2121], udp = [7], tls = [990] }
alpn = ["sample"]
aliases = ["other"]
speaks-first = "server"
inside = ["tls"]

[constants]
magic = '{hex:cafe}'

[foreign]
"http/get" = ["closes", "silent"]

[starttls]
steps = [{ expect = { pattern = '^220' } }, { send = 'AUTH\r\n', expect = { pattern = '^234' } }]

[[probe]]
name = "one"
transport = "udp"
family = "ipv4"
send = '{constant.magic}{id:2 from 0x10..0x20}'
reply.length = [3, 9]
reply.fields = [
    { at = 0, echo = "id" },
    { at = 2, mask = 0x8f, any = [5, 7] },
    { at = 3, length = 2, order = "little", add = 1, rest = "cut" },
    { at = -1, equals = '\x00' },
    { at = 4, size = 2, between = [1, 9] },
    { at = 5, size = 4, capture = "token" },
]
confidence = "confirmed"
amplifies = true
any-port = true
product = "x"
cpe = "a:v:p"
rarity = 9

[[probe]]
name = "two"
over = "tls"
starttls = true
steps = [
    { send = 'A' , expect = { pattern = '^B', closed = true }, within-ms = 500 },
    { connection = "new", again = 0, expect = { random = true, not-echo = true, differs-from = 0 } },
]

[[probe]]
name = "three"
special = "tls"

[[reply]]
name = "r"
after = ["one", "listen", "http/get"]
pattern = '(?i)^hello (?P<version>\d+)'
unless = 'not'
contains = ["id"]
echo = false
silence = false
transport = "tcp"
requires = ["s"]
soft = true
specificity = 7
confidence = "likely"
over = "tls"
version = "{version}"

[[reply]]
name = "s"
echo = true
confidence = "guess"

[[payload]]
name = "p"
side = "initiator"
pattern = 'x'
anywhere = true
confidence = "guess"

[[product]]
pattern = 'nginx'
product = "nginx"

[[example]]
after = "one"
bytes = 'hello 1'
sent = { id = '\x01\x02' }
message = 'm'
closed = true
earlier = ["s"]
product = "x"
source = "here"

[[example]]
side = "responder"
transport = "udp"
bytes = 'y'
matches = false

[[example]]
after = "two"
replies = ['B', '{hex:00}']
"""


def read(body: str) -> Signature:
    full = text(body)
    return read_signature(File("f.toml", full), tomllib.loads(full), pattern_problem)


def test_everything_the_language_has() -> None:
    sig = read(EVERYTHING)
    assert (sig.service, sig.traffic_class, sig.speaks_first) == ("sample", TrafficClass.DEFAULT, Speaker.SERVER)
    assert dict(sig.ports) == {Transport.TCP: (21, 2121), Transport.UDP: (7,)}
    assert (sig.tls_ports, sig.alpn, sig.aliases, sig.inside) == ((990,), ("sample",), ("other",), (Layer.TLS,))
    assert dict(sig.constants) == {"magic": b"\xca\xfe"}
    assert [step.send is not None for step in sig.starttls] == [False, True]

    one, two, three = sig.probes
    assert (one.id, one.transport, one.family, one.amplifies, one.rarity) == ("sample/one", Transport.UDP, 4, True, 9)
    assert one.steps[0].send is not None
    assert one.steps[0].send.parts == (b"\xca\xfe", SentField(name="id", size=2, low=16, high=32))
    condition = one.steps[0].expect
    assert condition is not None
    assert condition.length == (3, 9)
    echo, masked, length, equals, between, capture = condition.fields
    assert echo.echo == "id"
    assert (masked.mask, masked.any) == (0x8F, (5, 7))
    assert (length.length_size, length.length_order, length.length_add, length.length_rest) == (
        2,
        FieldOrder.LITTLE,
        1,
        Rest.CUT,
    )
    assert (equals.at, equals.equals) == (-1, b"\0")
    assert (between.between, between.size) == ((1, 9), 2)
    assert (capture.capture, capture.size) == ("token", 4)
    assert one.product.cpe == "a:v:p"
    assert one.any_port
    assert sig.foreign == (("http/get", (Reaction.CLOSES, Reaction.SILENT)),)
    assert (two.connections, two.over, two.starttls) == (2, Layer.TLS, True)
    assert two.steps[0].within_ms == 500
    assert (two.steps[1].connection, two.steps[1].again) == (Connection.NEW, 0)
    assert (three.special, three.steps) == ("tls", ())

    reply, _ = sig.replies
    assert reply.to == ("sample/one", "listen", "http/get")
    assert (reply.requires, reply.soft, reply.specificity) == (("s",), True, 7)
    assert (reply.over, reply.confidence, reply.condition.contains) == (Layer.TLS, Confidence.LIKELY, ("id",))
    assert sig.payloads[0].side is Side.INITIATOR
    assert sig.products[0].product.product == "nginx"

    first, miss, dialogue = sig.examples
    assert (first.to, first.sent, first.message, first.closed) == ("sample/one", (("id", b"\1\2"),), b"m", True)
    assert first.earlier == ("sample/s",)
    assert text(EVERYTHING).splitlines()[first.line - 1] == "[[example]]"
    assert not miss.matches
    assert dialogue.replies == (b"B", b"\0")
    assert dialogue.data == b"\0"


REPLY = "[[reply]]\nname = 'r'\nconfidence = 'likely'\n"
PROBE = "[[probe]]\nname = 'p'\n"


@pytest.mark.parametrize(
    ("body", "error"),
    [
        (REPLY, "f.toml:5: nothing is asked of the bytes"),
        (REPLY + "pattern = 'a'", "f.toml:8: pattern is not anchored"),
        (REPLY + "pattern = '^('", "f.toml:8: pattern: not a regular expression"),
        (REPLY + "pattern = '^a(?=b)'", "not a regular expression"),
        (REPLY + "pattern = '^é'", "beyond ASCII"),
        (REPLY + "patern = '^a'\nlength = 3", "f.toml:8: unknown key 'patern': did you mean 'pattern'"),
        (REPLY + "length = [9, 3]", "length: write one number"),
        (REPLY + "fields = [{ at = 0 }]", "exactly one of"),
        (REPLY + "fields = [{ at = 0, equals = 'a', any = [1] }]", "exactly one of"),
        (REPLY + "fields = [{ equals = 'a' }]", "at is missing"),
        (REPLY + "length = 1\nrequires = ['x']", "f.toml:9: requires 'x'"),
        (REPLY + "length = 1\n" + REPLY + "length = 2", "f.toml:10: name = 'r' is taken"),
        (REPLY + "length = 1\ncpe = 'nginx'", "a:vendor:product"),
        ("[[reply]]\nname = 'r'\nlength = 1", "confidence is missing"),
        ("[[reply]]\nname = 'r'\nlength = 1\nconfidence = 'unknown'", "proves nothing"),
        ("[[reply]]\nname = 'R R'\nlength = 1\nconfidence = 'guess'", "lower-case"),
        (PROBE, "a probe needs send"),
        (PROBE + "send = 'x'\nconfidence = 'likely'", "without a condition"),
        (PROBE + "send = '{id}{'", "f.toml:7: send: stray"),
        (PROBE + "send = 'x'\nfamily = 'ip'", "must be ipv4 or ipv6"),
        (PROBE + "send = 'x'\nsteps = [{ send = 'x' }]", "leave out send"),
        (PROBE + "steps = [{ again = 0 }]", "earlier step"),
        (PROBE + "send = 'x'\nstarttls = true", r"needs a \[starttls\]"),
        (PROBE + "send = 'x'\ntransport = 'tpc'", "did you mean 'tcp'"),
        ("[[payload]]\nname = 'p'\nconfidence = 'guess'\nclosed = true\nlength = 1", "unknown key 'closed'"),
        ("[[payload]]\nname = 'p'\nconfidence = 'guess'\nfields = [{ at = 0, echo = 'id' }]", "not an answer"),
        (
            "[[payload]]\nname = 'p'\nconfidence = 'guess'\non-port = true\nlength = 1",
            "f.toml:8: on-port = true: the service has no port over tcp",
        ),
        (
            "ports.tcp = [7]\n[[payload]]\nname = 'p'\nconfidence = 'confirmed'\non-port = true\nlength = 1",
            "f.toml:9: confidence = 'confirmed' with on-port",
        ),
        ("[[product]]\npattern = 'x'", "product is missing"),
        ("[[example]]\nside = 'responder'", "needs bytes"),
        ("[[example]]\nafter = 'listen'\nside = 'responder'\nbytes = 'x'", "a reply .* or a payload"),
        ("[starttls]", "starttls needs steps"),
        ('[foreign]\n"http/get" = ["sings"]', "f.toml:6: http/get = 'sings': must be one of closes, resets, silent"),
        ("[[probe]]\nname = 'p'\nsend = 'x'\nany-port = true", "f.toml:8: any-port: a connection has one port"),
        ("ports.tcp = [70000]", "f.toml:5: tcp: numbers from 1 to 65535"),
        ("ports.tpc = [7]", "unknown key 'tpc': did you mean 'tcp'"),
        ("inside = ['ssl']", "must be one of tls"),
        ("colour = 'red'", "f.toml:5: unknown key 'colour'"),
        ("probe = 3", "a list of tables"),
        ("reply = [3]", "a list of tables"),
    ],
)
def test_errors_say_line_and_what_to_do(body: str, error: str) -> None:
    with pytest.raises(SignatureError, match=error):
        read(body)


@pytest.mark.parametrize("key", ["service", "title", "class", "references"])
def test_what_must_be_there(key: str) -> None:
    full = "\n".join(line for line in text("").splitlines() if not line.startswith(key))
    with pytest.raises(SignatureError, match=f"{key} is missing"):
        read_signature(File("f.toml", full), tomllib.loads(full), pattern_problem)
