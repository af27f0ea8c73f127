"""Conversations without sockets: a generator yields commands and is sent events; `now` is in the events.

Whoever holds the sockets runs it: it does one command, then sends the event that came of it. A test does the same
with a script. `Line` is one connection as a dialogue sees it, with TLS inside where that was asked for.
"""

from __future__ import annotations

from collections.abc import Generator
from dataclasses import dataclass
from typing import NamedTuple, TypeVar

from flowsonar import limits
from flowsonar.model import Layer, Outcome
from flowsonar.probes.special.tls import TlsClient

__all__ = [
    "Attend",
    "Attended",
    "Begun",
    "Beside",
    "Close",
    "Closed",
    "Command",
    "Connect",
    "Connected",
    "Ended",
    "Event",
    "Line",
    "Nudge",
    "Part",
    "Received",
    "Send",
    "Sent",
    "Talk",
    "TimedOut",
    "Wait",
]


# -- commands ---------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Connect:
    """Open a connection (TCP) or a socket (UDP); an earlier one is closed first. -> Connected or Ended."""

    probe: str
    """For the audit log: what the connection is for."""
    within_s: float
    any_port: bool = False
    """UDP: hear datagrams from every port of the endpoint's address."""


@dataclass(frozen=True, slots=True)
class Send:
    """Send bytes; over UDP one datagram. -> Sent or Ended."""

    data: bytes
    probe: str
    amplifies: bool = False
    within_s: float = 1.0


@dataclass(frozen=True, slots=True)
class Wait:
    """Wait for bytes. -> Received, TimedOut or Ended."""

    seconds: float


@dataclass(frozen=True, slots=True)
class Close:
    """End the connection. -> Closed."""


@dataclass(frozen=True, slots=True)
class Beside:
    """Hold another conversation with the same endpoint, on a connection of its own. -> Begun.

    It ends with this one, or by `Part`.
    """

    talk: Generator[Command, Event, object]


@dataclass(frozen=True, slots=True)
class Attend:
    """Wait until something can be read here, or one beside this has ended or nudged. -> Attended."""

    seconds: float


@dataclass(frozen=True, slots=True)
class Part:
    """End the conversations beside this one. -> Closed."""


@dataclass(frozen=True, slots=True)
class Nudge:
    """Let the conversation that began this one, and those that this one began, look up where they attend. -> Begun.

    They do so at once: what they say then is said before this one goes on.
    """


Command = Connect | Send | Wait | Close | Beside | Attend | Part | Nudge


# -- events -----------------------------------------------------------------------------------------------------


class Connected(NamedTuple):
    """The connection stands."""

    at_s: float
    """Monotonic seconds, in this and every event."""
    rtt_s: float | None
    """How long the handshake took; None for UDP."""
    local_address: str
    local_port: int
    held_s: float = 0.0
    """How long our own budget held it back."""


class Sent(NamedTuple):
    """The bytes are with the kernel."""

    at_s: float
    held_s: float = 0.0
    """How long our own budget held them back."""


class Received(NamedTuple):
    """Bytes came; over UDP one whole datagram."""

    at_s: float
    data: bytes


class TimedOut(NamedTuple):
    """Nothing came in time."""

    at_s: float
    unacknowledged: bool = False
    """TCP: what we sent has not reached the other side yet; waiting longer is fair."""


class Ended(NamedTuple):
    """There is no connection (any more)."""

    at_s: float
    outcome: Outcome
    """`closed`: by the other side; `refused`, `unreachable`, `silent`: it never stood; `not-permitted`,
    `cancelled`: from our side."""
    detail: str = ""
    reset: bool = False
    """It stood, and was not ended in order: the other side had not read all."""
    unacknowledged: bool = False
    """What we said last had not reached the other side by then: it was not ended for that."""


class Closed(NamedTuple):
    """The connection was ended as asked."""

    at_s: float


class Begun(NamedTuple):
    """A conversation beside this one is under way, or over already."""

    at_s: float


class Attended(NamedTuple):
    """Something happened, or the time is over."""

    at_s: float
    readable: bool = False
    """Bytes, or the end of the connection, can be read here."""


Event = Connected | Sent | Received | TimedOut | Ended | Closed | Begun | Attended

_T = TypeVar("_T")
Talk = Generator[Command, Event, _T]
"""A part of a conversation that comes to a `_T`."""


class Line:
    """One standing connection. Its methods are parts of a conversation: use them with `yield from`."""

    __slots__ = ("counted", "end", "heard", "held_s", "local_address", "local_port", "now_s", "rtt_s", "said", "tls")

    def __init__(self, connected: Connected) -> None:
        self.now_s = connected.at_s
        self.rtt_s = connected.rtt_s
        self.held_s = 0.0  # how long the last message was held back
        self.local_address = connected.local_address
        self.local_port = connected.local_port
        self.said = False  # whether we spoke on it, and whether anything came; inside TLS once that was begun
        self.heard = False
        self.counted = False  # among the connections that brought no byte
        self.end: Ended | None = None  # set once it ended
        self.tls: TlsClient | None = None  # set once TLS was begun on it

    @property
    def over(self) -> Layer | None:
        """What messages on this line travel in."""
        return Layer.TLS if self.tls is not None else None

    @property
    def unanswered(self) -> bool:
        """No byte came on it; inside TLS that came through, none of what runs there."""
        return not self.heard and (self.tls is None or self.tls.done or not self.tls.received)

    def secure(self, client: TlsClient, probe: str, *, first_s: float, within_s: float) -> Talk[bytes]:
        """Do a TLS handshake; `client.done` says whether it came through. Returns the raw bytes that came, cut.

        The first byte must come within `first_s`, the end within `within_s`.
        """
        first_s, deadline_s = self.now_s + first_s, self.now_s + within_s
        raw = bytearray()
        self.tls = client
        self.heard = False
        while True:
            client.handshake()
            out = client.outgoing()
            if out and self.end is None:
                event = yield Send(out, probe, within_s=max(0.0, deadline_s - self.now_s))
                self.now_s = event.at_s
                if isinstance(event, Ended):
                    self.end = event
                    # what the peer said before it ended may still be readable
            if client.done or client.ended:
                return bytes(raw)
            if self.now_s >= deadline_s:
                client.problem = client.problem or "no answer in time"
                return bytes(raw)
            event = yield Wait(max(0.0, (deadline_s if client.received else first_s) - self.now_s))
            self.now_s = event.at_s
            match event:
                case Received(data=data):
                    if len(raw) < limits.REPLY_BYTES:
                        raw += data
                    client.feed(data)
                case TimedOut():
                    client.problem = client.problem or "no answer in time"
                    return bytes(raw)
                case Ended():
                    self.end = event
                    client.end()
                    client.handshake()
                    client.problem = client.problem or "ended in the handshake"
                    client.ended = True
                    return bytes(raw)
                case _:
                    raise AssertionError(event)

    def say(self, data: bytes, probe: str, *, amplifies: bool = False) -> Talk[bool]:
        """Send `data`; False when the line has ended."""
        self.said = True
        if self.end is not None:
            return False
        if self.tls is not None:
            self.tls.write(data)
            data = self.tls.outgoing()
        event = yield Send(data, probe, amplifies)
        self.now_s = event.at_s
        self.held_s = event.held_s if isinstance(event, Sent) else 0.0
        if isinstance(event, Ended):
            self.end = event
        return self.end is None

    def hear(self, seconds: float) -> Talk[Received | TimedOut | Ended]:
        """Wait for bytes: plain ones, whatever they travelled in."""
        event = yield from self._hear(seconds)
        self.heard = self.heard or isinstance(event, Received)
        return event

    def _hear(self, seconds: float) -> Talk[Received | TimedOut | Ended]:
        deadline_s = self.now_s + seconds
        while True:
            if self.tls is not None:
                data = self.tls.read(limits.REPLY_BYTES)
                if data:
                    return Received(self.now_s, data)
                if self.tls.ended and self.end is None:
                    self.end = Ended(self.now_s, Outcome.CLOSED, self.tls.problem)
            if self.end is not None:
                return self.end
            event = yield Wait(max(0.0, deadline_s - self.now_s))
            self.now_s = event.at_s
            match event:
                case Ended():
                    if self.tls is not None:
                        self.tls.end()
                        data = self.tls.read(limits.REPLY_BYTES)
                        self.end = event
                        if data:
                            return Received(self.now_s, data)
                    self.end = event
                    return event
                case Received(data=data) if self.tls is not None:
                    self.tls.feed(data)
                    if self.now_s >= deadline_s:  # records without content must not hold us
                        return TimedOut(self.now_s)
                case Received() | TimedOut():
                    return event
                case _:
                    raise AssertionError(event)
