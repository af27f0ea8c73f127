"""Servers that answer real questions with real replies that were changed, for conversations without sockets.

`Fuzzed` plays one service of the catalogue. Its replies are the recorded ones of that service, and hellos of TLS,
cut, lengthened, with changed bits and lengths, dripped, repeated for ever, ended and reset at every step. What happens
follows from the seed alone.
"""

from __future__ import annotations

import random
import socket
import struct
from collections.abc import Callable, Iterator
from functools import cache

from flowsonar.config import Settings
from flowsonar.model import Answer, Confidence, Endpoint, Outcome, Question, Transport
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
from flowsonar.probes.planner import Planner
from flowsonar.probes.session import Session, planner_for
from flowsonar.signatures import load_signatures
from flowsonar.signatures.catalogue import SignatureSet
from flowsonar.signatures.matcher import Matcher
from tests.hostile import servers

__all__ = [
    "MOST_COMMANDS",
    "SETTINGS",
    "Fuzzed",
    "asked",
    "changed",
    "changed_datagrams",
    "confirmed",
    "kin",
    "matcher",
    "planner",
    "services",
    "talked",
]

SETTINGS = Settings()
MOST_COMMANDS = 20_000
"""Commands of one conversation and those beside it; a drip of a byte a millisecond takes the most."""
_CHUNK = 65536
_RTT_S = 0.0005
_NUMBERS = (b"\x00", b"\x7f", b"\x80", b"\xff", b"\xff\xff", b"\x00\x00\x00\x00", b"\x7f\xff\xff\xff", b"\xff" * 4)

Change = Callable[[random.Random, bytes], bytes]


def _cut(pick: random.Random, data: bytes) -> bytes:
    return data[: pick.randrange(len(data) + 1)]


def _longer(pick: random.Random, data: bytes) -> bytes:
    return data + pick.randbytes(pick.choice((1, 7, 600)))


def _flipped(pick: random.Random, data: bytes) -> bytes:
    changed = bytearray(data or b"\0")
    for _ in range(pick.randint(1, 4)):
        changed[pick.randrange(len(changed))] ^= 1 << pick.randrange(8)
    return bytes(changed)


def _numbers(pick: random.Random, data: bytes) -> bytes:
    at, number = pick.randrange(min(64, len(data)) + 1), pick.choice(_NUMBERS)
    return data[:at] + number + data[at + len(number) :]


def _twice(_: random.Random, data: bytes) -> bytes:
    return data * 2


def _nested(pick: random.Random, data: bytes) -> bytes:
    """The same inside itself, many times: brackets, tags and length-prefixed structures that never close."""
    at = pick.randrange(min(32, len(data)) + 1)
    return data[:at] * pick.choice((50, 2000)) + data[at:]


def _huge(_: random.Random, data: bytes) -> bytes:
    return (data or b"\0") * (1 + (1 << 20) // max(1, len(data)))


_CHANGES: tuple[Change, ...] = (
    lambda _pick, data: data, _cut, _longer, _flipped, _flipped, _numbers, _numbers, _twice, _nested, _huge,
)  # fmt: skip


def _hellos() -> tuple[bytes, ...]:
    """What servers of TLS may say to a ClientHello, sound or not."""
    hello = servers.server_hello()
    later = servers.server_hello(cipher=0x1301, extensions=b"\0\x2b\0\x02\x03\x04")
    return (
        servers.record(22, hello),
        servers.record(22, hello + servers.certificate(900) + b"\x0e\0\0\0"),
        servers.record(22, hello) + servers.records(servers.certificate(1 << 20)),
        servers.record(22, later) + servers.record(20, b"\x01") + servers.record(23, bytes(600)),
        servers.record(21, b"\x02\x28"),
        servers.record(21, b"\x01\x00"),
    )


@cache
def services() -> SignatureSet:
    """The catalogue, read once."""
    return load_signatures()


@cache
def matcher() -> Matcher:
    return Matcher(services())


@cache
def planner() -> Planner:
    return planner_for(services(), SETTINGS)


@cache
def _replies(service: str) -> tuple[tuple[str, bytes], ...]:
    """Recorded replies of a service with the question they answer."""
    found = [
        (one.to, data)
        for one in services().services[service].examples
        if one.to is not None and one.matches  # a near miss may be what another service says
        for data in (one.replies or (one.data,))
    ]
    return tuple(found) or (("", b""),)


def kin(service: str) -> frozenset[str]:
    """Services that a server of this one may truly be called: itself, its format's, and those in its format."""
    known = services()
    # "The plain HTTP request was sent to HTTPS port" is HTTP, so are SSDP's answers and what RTSP servers say to it
    also = frozenset({"http"} if any(data.startswith(b"HTTP/") for _, data in _replies(service)) else ())
    return also | frozenset(
        {service, *known.ancestors(service), *(other for other in known.services if service in known.ancestors(other))}
    )


class Fuzzed:
    """The other side. Every connection behaves in its own way."""

    def __init__(self, service: str, seed: int) -> None:
        self.pick = random.Random(f"{service} {seed}")
        self.service = service
        self.now_s = 100.0
        self.commands = 0
        self._opened = 0
        self._probe = ""
        self._message = b""
        self._behave: Iterator[Event | None] = iter(())
        self._beside: list[Talk[object]] = []

    def do(self, command: Command) -> Event:
        """Do one command; what comes of it."""
        self.commands += 1
        match command:
            case Connect():
                self._opened += 1
                self._message = b""
                if self.pick.random() < 0.02:
                    why = self.pick.choice((Outcome.REFUSED, Outcome.UNREACHABLE, Outcome.SILENT))
                    return Ended(self.now_s, why, "by chance")
                self.now_s += _RTT_S
                self._behave = self._behaviour()
                return Connected(self.now_s, _RTT_S, "10.0.0.1", 1024 + self._opened)
            case Send(data=data, probe=probe):
                self._probe, self._message = probe, data
                if self.pick.random() < 0.02:
                    return Ended(self.now_s, Outcome.CLOSED)
                return Sent(self.now_s)
            case Wait(seconds=seconds):
                event = next(self._behave, None)
                if event is None:
                    self.now_s += seconds
                    return TimedOut(self.now_s, unacknowledged=self.pick.random() < 0.02)
                self.now_s += min(seconds, self.pick.choice((0.0, 0.001, 0.001, 0.05)))
                return event._replace(at_s=self.now_s)
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
            case Close():
                return Closed(self.now_s)

    def _attend(self, seconds: float) -> Event:
        if not self._beside:
            self.now_s += seconds
            return Attended(self.now_s)
        talk, standing = self._beside.pop(self.pick.randrange(len(self._beside))), self._behave
        try:
            command = next(talk)
            while self.commands < MOST_COMMANDS:
                command = talk.send(self.do(command))
        except StopIteration:
            self._behave = standing
        return Attended(self.now_s, readable=self.pick.random() < 0.3)

    # -- behaviours -----------------------------------------------------------------------------------------------

    def _behaviour(self) -> Iterator[Event | None]:
        """What each wait on a connection brings; None: nothing."""
        kind = self.pick.random()
        if self.pick.random() < 0.7:
            yield None  # greets nobody
        if kind < 0.08:
            yield Ended(0, Outcome.CLOSED, self.pick.choice(("", "reset")))
        while True:
            data = self._reply()
            if kind < 0.2:
                for byte in data[:3000]:  # a byte at a time
                    yield Received(0, bytes([byte]))
            elif kind < 0.26:
                for _ in range(400):  # for ever
                    yield Received(0, (data or b"\0") * (1 + _CHUNK // max(1, len(data))))
            else:
                size = self.pick.choice((1, 5, 1448, _CHUNK, _CHUNK))
                for at in range(0, min(len(data), 40 * size), size):
                    yield Received(0, data[at : at + size])
            ends = self.pick.random()
            if ends < 0.35:
                while True:
                    yield Ended(0, Outcome.CLOSED, "" if ends < 0.2 else "reset")
            if ends < 0.8:
                yield None

    def reply(self, message: bytes) -> bytes:
        """A changed reply to a message."""
        self._message = message
        return self._reply()

    def _reply(self) -> bytes:
        """A reply of the service to what was asked, where one is known, changed at most twice."""
        if self._message[:1] == b"\x16" and self.pick.random() < 0.7:
            data = self.pick.choice(_hellos())
        elif self._message and self.pick.random() < 0.05:
            data = self._message
        else:
            known = _replies(self.service)
            own = [data for to, data in known if to == self._probe]
            data = self.pick.choice(own or [data for _, data in known])
            if self._message and self.pick.random() < 0.3:  # our bytes, as an echoed field has them
                at = self.pick.randrange(len(self._message))
                piece, to = self._message[at : at + self.pick.choice((2, 4, 8))], self.pick.randrange(len(data) + 1)
                data = data[:to] + piece + data[to + len(piece) :]
        for _ in range(self.pick.choice((0, 1, 1, 2))):
            data = self.pick.choice(_CHANGES)(self.pick, data)
        return data


def changed(service: str, seed: int) -> servers.Behaviour:
    """The same on a real socket: what a connection brings, for `servers.Farm`."""

    def behave(connection: socket.socket) -> None:
        server = Fuzzed(service, seed)
        connection.settimeout(2.0)
        if server.pick.random() < 0.2:
            connection.sendall(server.reply(b""))
        for _ in range(50):
            heard = connection.recv(65536)
            if not heard:
                return
            data = server.reply(heard)
            size = server.pick.choice((1, 200, len(data) + 1))
            for at in range(0, min(len(data), 400 * size), size):
                connection.sendall(data[at : at + size])
            if server.pick.random() < 0.3:
                return
            if server.pick.random() < 0.1:
                connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
                return

    return behave


def changed_datagrams(service: str, seed: int) -> Callable[[socket.socket, bytes, object], None]:
    """The same over UDP."""
    server = Fuzzed(service, seed)

    def answer(listener: socket.socket, data: bytes, source: object) -> None:
        for _ in range(server.pick.choice((0, 1, 1, 3, 40))):
            listener.sendto(server.reply(data)[:60000], source)  # type: ignore[arg-type]

    return answer


def asked(service: str, pick: random.Random) -> Question:
    """A question about an endpoint on the service's own port, or on an odd one."""
    known = services().services[service]
    transports = {probe.transport for probe in known.probes} or {Transport.TCP}
    transport = pick.choice(sorted(transports & {Transport.TCP, Transport.UDP}) or [Transport.TCP])
    ports = [port for kind, some in known.ports if kind is transport for port in some]
    port = pick.choice(ports) if ports and pick.random() < 0.5 else pick.randrange(20000, 60000)
    return Question(endpoint=Endpoint(transport, "10.0.0.9", port))


def talked(service: str, seed: int) -> tuple[Fuzzed, Answer]:
    """One whole conversation; AssertionError where it has no end."""
    server = Fuzzed(service, seed)
    session = Session(
        asked(service, server.pick), signatures=services(), matcher=matcher(), settings=SETTINGS, planner=planner(),
        now_s=server.now_s, pick=random.Random(seed),
    )  # fmt: skip
    talk = session.talk()
    try:
        command = next(talk)
        while server.commands < MOST_COMMANDS:
            command = talk.send(server.do(command))
    except StopIteration as stop:
        answer: Answer = stop.value
        return server, answer
    raise AssertionError(f"a conversation without end: {service}, seed {seed}")


def confirmed(answer: Answer) -> frozenset[str]:
    """Services that the answer proves."""
    return frozenset(one.service for one in answer.evidence if one.service and one.confidence is Confidence.CONFIRMED)
