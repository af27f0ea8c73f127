"""A small world of signatures, so that these tests say what they rest on; and a runner for conversations by script."""

from __future__ import annotations

import difflib
import random
from collections.abc import Callable
from dataclasses import dataclass

from flowsonar.config import Settings
from flowsonar.model import Answer, Confidence, Endpoint, Hints, Layer, Outcome, Question, TrafficClass, Transport
from flowsonar.probes.dialogue import (
    Attend,
    Attended,
    Begun,
    Beside,
    Close,
    Closed,
    Command,
    Connect,
    Connected,
    Ended,
    Event,
    Part,
    Received,
    Send,
    Sent,
    Talk,
    TimedOut,
    Wait,
)
from flowsonar.probes.session import Session
from flowsonar.signatures.catalogue import SignatureSet
from flowsonar.signatures.language import (
    Condition,
    Connection,
    FieldCheck,
    ProbeSpec,
    Product,
    ReplyPattern,
    Signature,
    Speaker,
    Step,
)
from flowsonar.signatures.matcher import Matcher
from flowsonar.signatures.templates import parse_template

TCP, UDP = Transport.TCP, Transport.UDP
CONFIRMED, LIKELY, GUESS = Confidence.CONFIRMED, Confidence.LIKELY, Confidence.GUESS


def probe(service: str, name: str, text: str, transport: Transport = TCP, **values: object) -> ProbeSpec:
    return ProbeSpec(
        service=service, name=name, transport=transport, steps=(Step(send=parse_template(text)),), **values
    )


def reply(
    service: str, name: str, pattern: str | None, confidence: Confidence = CONFIRMED, **values: object
) -> ReplyPattern:
    condition = values.pop("condition", None) or Condition(pattern=pattern)
    return ReplyPattern(service=service, name=name, condition=condition, confidence=confidence, **values)


def signature(service: str, **values: object) -> Signature:
    return Signature(service=service, title=service, traffic_class=TrafficClass.DEFAULT, references=("none",), **values)


NACK = Condition(length=(11, 11), fields=(FieldCheck(at=0, echo="id"), FieldCheck(at=3, echo="prober.address")))
RANDOM = Condition(length=(14, 600), not_echo=True)

SIGNATURES = SignatureSet(
    [
        signature(
            "http", ports=((TCP, (80,)),), tls_ports=(443,), alpn=("http/1.1", "h2"), inside=(Layer.TLS,),
            probes=(
                probe("http", "get", r"GET / HTTP/1.1\r\nHost: {target.host}\r\n\r\n", rarity=1),
                probe("http", "http2", r"PRI * HTTP/2.0\r\n\r\n", rarity=6),
            ),
            replies=(
                reply("http", "response", None, product=Product(product="{name}", version="{version}"),
                      condition=Condition(
                          pattern=r"^HTTP/1\.[01] \d\d\d [^\r]*\r\n(?:Server: (?P<name>\w+)/(?P<version>[0-9.]+))?",
                          unless=r"^HTTP/1\.0 404 Not Found\r\n\r\n$")),
                reply("http", "settings", r"^\x00\x00\x00\x04"),
            ),
        ),
        signature(
            "tls", tls_ports=(443, 993),
            probes=(ProbeSpec(service="tls", name="hello", transport=TCP, steps=(Step(),), special="tls"),),
            replies=(reply("tls", "alert", r"^\x15\x03", LIKELY),),
        ),
        signature(
            "ftp", ports=((TCP, (21,)),), speaks_first=Speaker.SERVER,
            probes=(probe("ftp", "features", r"FEAT\r\n", rarity=3),),
            replies=(
                reply("ftp", "greeting", "^220 ", GUESS, soft=True),
                reply("ftp", "features", "^211-", requires=("greeting",)),
            ),
        ),
        signature(
            "smtp", ports=((TCP, (25,)),), speaks_first=Speaker.SERVER,
            probes=(probe("smtp", "ehlo", r"EHLO x\r\n", rarity=3),),
            replies=(
                reply("smtp", "greeting", "^220 ", GUESS, soft=True),
                reply("smtp", "capabilities", "^250[- ]", requires=("greeting",)),
            ),
        ),
        signature(
            "ssh", ports=((TCP, (22,)),), speaks_first=Speaker.SERVER, replies=(reply("ssh", "version", "^SSH-2"),),
        ),
        signature(
            "imap", ports=((TCP, (143,)),), tls_ports=(993,), alpn=("imap",), inside=(Layer.TLS,),
            speaks_first=Speaker.SERVER, replies=(reply("imap", "greeting", r"^\* OK"),),
        ),
        signature(
            "redis", ports=((TCP, (6379,)),),
            probes=(probe("redis", "ping", r"PING\r\n", rarity=4),),
            replies=(reply("redis", "error", "^-ERR", LIKELY), reply("redis", "pong", r"^\+PONG\r\n$")),
        ),
        signature(
            "dns", ports=((TCP, (53,)), (UDP, (53,))),
            probes=(
                probe("dns", "root", r"{id:2}\x00\x00\x00\x01", UDP, rarity=2),
                probe("dns", "root-tcp", r"\x00\x06{id:2}\x00\x00\x00\x01", rarity=5),
            ),
            replies=(
                reply("dns", "answer", None, transport=UDP, to=("dns/root",),
                      condition=Condition(pattern=r"^..\x80", fields=(FieldCheck(at=0, echo="id"),))),
                reply("dns", "answer-tcp", r"^\x00\x08..\x80", to=("dns/root-tcp",)),
            ),
        ),
        signature(
            "skype",
            probes=(
                ProbeSpec(service="skype", name="udp", transport=UDP, family=4, rarity=4,
                          steps=(Step(send=parse_template(r"{id:2}\x02{random:15}")),)),
                ProbeSpec(
                    service="skype", name="tcp", transport=TCP, rarity=7, confidence=LIKELY,
                    steps=(
                        Step(send=parse_template(r"GET / HTTP/1.0\r\n\r\n"),
                             expect=Condition(pattern=r"^HTTP/1\.0 404 Not Found\r\n\r\n$", closed=True)),
                        Step(send=parse_template("{random:16}"), connection=Connection.NEW, expect=RANDOM),
                        Step(again=1, connection=Connection.NEW,
                             expect=Condition(length=(14, 600), not_echo=True, differs_from=1)),
                    ),
                ),
            ),
            replies=(
                reply("skype", "nack", None, to=("skype/udp",), condition=NACK),
                reply("skype", "bare", r"^HTTP/1\.0 404 Not Found\r\n\r\n$", GUESS, specificity=50),
            ),
        ),
        signature(
            "echo", ports=((TCP, (7,)), (UDP, (7,))),
            probes=(
                probe("echo", "random", "{nonce:32}", rarity=8),
                probe("echo", "random-udp", "{nonce:32}", UDP, rarity=8),
            ),
            replies=(
                reply("echo", "same", None, to=("echo/random", "echo/random-udp"), condition=Condition(echo=True)),
            ),
        ),
        signature(
            "loud", ports=((UDP, (1900,)),),
            probes=(probe("loud", "search", "SEARCH", UDP, amplifies=True, rarity=9),),
            replies=(reply("loud", "found", "^FOUND"),),
        ),
        signature(
            "file",
            probes=(probe("file", "read", "READ {name:4 as hex}", UDP, any_port=True, rarity=9),),
            replies=(reply("file", "error", "^NONE", to=("file/read",)),),
        ),
        signature(
            "mail", ports=((TCP, (2525,)),), speaks_first=Speaker.SERVER,
            starttls=(Step(send=parse_template(r"STARTTLS\r\n"), expect=Condition(pattern="^READY")),),
            probes=(probe("mail", "inside", r"WHO\r\n", starttls=True, rarity=9),),
            replies=(reply("mail", "hello", "^MAIL", LIKELY), reply("mail", "me", "^ME", specificity=40)),
        ),
    ]
)  # fmt: skip


def matcher() -> Matcher:
    return Matcher(SIGNATURES, engine="re2")


def question(text: str = "10.0.0.9:4444", **hints: object) -> Question:
    address, _, port = text.partition("/")[0].rpartition(":")
    transport = UDP if text.endswith("/udp") else TCP
    return Question(endpoint=Endpoint(transport, address.strip("[]"), int(port)), hints=Hints(**hints))


# -- playbooks --------------------------------------------------------------------------------------------------

Peer = Callable[[Command, float], Event]


@dataclass
class Script:
    """The other side, as a list: what each connection does, in order. Strings name what the wait brings.

    Conversations beside another one are held one after the other, whole, when that one attends to them.
    """

    connections: list[list[object]]
    rtt_s: float | None = 0.001
    local: str = "10.0.0.1"

    def __post_init__(self) -> None:
        self.now_s = 100.0
        self.lines: list[str] = []
        self._moves: list[object] = []
        self._opened = 0
        self._beside: list[Talk[object]] = []

    def do(self, command: Command) -> Event:
        match command:
            case Connect(probe=name):
                self.lines.append(f"<< connect for {name}")
                moves = self.connections[self._opened] if self._opened < len(self.connections) else ["silent"]
                self._opened += 1
                self._moves = list(moves)
                if self._moves and isinstance(self._moves[0], Ended) and self._moves[0].outcome is not Outcome.CLOSED:
                    return self._moves[0]._replace(at_s=self.now_s)
                self.now_s += self.rtt_s or 0.0
                return Connected(self.now_s, self.rtt_s, self.local, 40000 + self._opened)
            case Send(data=data, probe=name):
                self.lines.append(f"<< {name}: {shown(data)}")
                self.sent = data
                return Sent(self.now_s)
            case Wait(seconds=seconds):
                return self._wait(seconds)
            case Close():
                self.lines.append("<< close")
                return Closed(self.now_s)
            case Beside(talk=talk):
                self._beside.append(talk)
                return Begun(self.now_s)
            case Attend(seconds=seconds):
                return self._attend(seconds)
            case Part():
                for talk in self._beside:
                    talk.close()
                self._beside.clear()
                return Closed(self.now_s)

    def _attend(self, seconds: float) -> Event:
        if not self._beside:
            self.now_s += seconds
            return Attended(self.now_s)
        talk, standing = self._beside.pop(0), self._moves
        try:
            command = next(talk)
            while True:
                command = talk.send(self.do(command))
        except StopIteration:
            self._moves = standing
        return Attended(self.now_s, readable=bool(standing) and standing[0] != "silent")

    def _wait(self, seconds: float) -> Event:
        move = self._moves.pop(0) if self._moves else "silent"
        if callable(move):
            move = move(self.sent)
        if isinstance(move, bytes):
            self.now_s += self.rtt_s or 0.0
            self.lines.append(f">> {shown(move)}")
            return Received(self.now_s, move)
        if isinstance(move, Ended):
            self.lines.append(f">> {move.outcome}")
            self._moves.insert(0, move)
            return move._replace(at_s=self.now_s)
        if move == "unacknowledged":
            self.now_s += seconds
            return TimedOut(self.now_s, unacknowledged=True)
        assert move == "silent", move
        self.now_s += seconds
        self.lines.append(">> nothing")
        return TimedOut(self.now_s)


def play(
    script: Script,
    asked: Question,
    settings: Settings | None = None,
    catalogue: SignatureSet = SIGNATURES,
    **values: object,
) -> Answer:
    """Run a session against a script."""
    session = Session(
        asked, signatures=catalogue, matcher=Matcher(catalogue, engine="re2"), settings=settings or Settings(),
        now_s=script.now_s, pick=random.Random(7), **values,
    )  # fmt: skip
    talk = session.talk()
    try:
        command = next(talk)
        for _ in range(100_000):
            command = talk.send(script.do(command))
    except StopIteration as stop:
        answer: Answer = stop.value
        return answer
    raise AssertionError("a conversation without end")


def conversation(script: Script) -> str:
    return "\n".join(script.lines)


def same(script: Script, expected: str) -> None:
    """The conversation was as written; a difference is shown line by line."""
    wanted = [line.strip() for line in expected.strip().splitlines()]
    if script.lines != wanted:
        raise AssertionError("\n" + "\n".join(difflib.ndiff(wanted, script.lines)))


def shown(data: bytes) -> str:
    if all(32 <= byte < 127 or byte in (9, 10, 13) for byte in data):
        return data.decode().replace("\r\n", "|")[:60]
    return f"{len(data)} bytes"
