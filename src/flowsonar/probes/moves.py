"""What a conversation has brought so far, and the moves it may make next: the planner's words."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import StrEnum
from typing import Final

from flowsonar.model import Confidence, Layer
from flowsonar.signatures.language import ProbeSpec, Reaction

__all__ = [
    "MOST_CONNECTIONS",
    "MOST_DATAGRAMS",
    "UNBOUNDED",
    "Ask",
    "Heard",
    "Listen",
    "Move",
    "Secure",
    "Seen",
    "Spread",
    "Stop",
    "TlsState",
    "clamp",
]

MOST_CONNECTIONS: Final = 3
"""To an endpoint that a flow makes suspect of being a peer's: two for the proof, or one and two for the words."""
MOST_DATAGRAMS: Final = 4
"""The same over UDP: the question of its DHT, its transport's, one more, and the best of them again."""
UNBOUNDED: Final = 1 << 30


class Heard(StrEnum):
    """What the last question, or listening, brought."""

    NOTHING = "nothing"
    """No question yet."""
    SILENT = "silent"
    CLOSED = "closed"
    """The connection ended without a byte."""
    STRANGE = "strange"
    """Bytes that no signature knows."""
    KNOWN = "known"


class TlsState(StrEnum):
    """What is known of TLS on this endpoint."""

    UNKNOWN = "unknown"
    SUGGESTED = "suggested"
    """The flow or a reply told it."""
    OPEN = "open"
    FAILED = "failed"


@dataclass(slots=True, kw_only=True)
class Seen:
    """What this conversation has brought so far. The session keeps it; the planner only reads it."""

    spent: int = 0
    """Connections that stand or brought a byte; datagrams sent."""
    unanswered: int = 0
    """Connections that brought no byte and are over: they count by themselves."""
    unanswered_left: int = 0
    """How many more of them may be had; further ones count as spent."""
    opened: int = 0
    """Connections begun, whatever became of them."""
    most: int = UNBOUNDED
    """Connections that may be begun in all, over UDP datagrams that may be sent; kept where they are made."""
    closes: int = 0
    """Connections that the other side ended without a byte."""
    elapsed_s: float = 0.0
    """Without the time that our own budget held it back."""
    held_s: float = 0.0
    """That time: the conversations side by side wait for the same budget, so it counts once."""
    held_until_s: float = 0.0
    rtt_s: float | None = None
    open: bool = False
    """A connection stands."""
    said: bool = False
    """Something was said on it."""
    unfinished: bool = False
    """What was said last on it is no whole line: a line would be read as its end."""
    over: Layer | None = None
    """What the standing connection runs inside."""
    alpn: str | None = None
    tls: TlsState = TlsState.UNKNOWN
    securing: bool = False
    """A first handshake was begun, perhaps beside other questions."""
    hello_unheard: int = 0
    """ClientHellos that nothing came back for in time; the second counts as soon as it is begun."""
    tls_name: str | None = None
    """The SNI that the last handshake came through with."""
    tls_alpn: tuple[str, ...] = ()
    """The ALPN names, likewise."""
    handshake_s: float = 0.0
    """How long TLS took to come through."""
    barred: bool = False
    """Inside TLS nobody is heard who shows no certificate."""
    alpn_offered: bool = False
    """TLS was opened with ALPN names."""
    listened_s: dict[Layer | None, float] = field(default_factory=dict)
    """How long the first listening took, per layer."""
    tried: list[tuple[ProbeSpec, Layer | None]] = field(default_factory=list)
    candidates: list[str] = field(default_factory=list)
    """Services that replies speak for, best first."""
    best: Confidence = Confidence.UNKNOWN
    """The best that a pattern which is not soft has shown."""
    best_service: str | None = None
    last: Heard = Heard.NOTHING
    text_ignored: bool = False
    """A question of one or more text lines got no byte back."""
    text_ended: bool = False
    """And the connection was ended: a service that speaks in text would have said why."""
    met: dict[tuple[str, Layer | None], Reaction] = field(default_factory=dict)
    """Probes that brought no byte, the layer they were put in, and what happened instead."""
    heard: int = 0
    """Bytes that came in all."""
    silences: int = 0
    """Questions that got neither byte nor close."""
    again: ProbeSpec | None = None
    """A probe to be put once more: its answer only counts when it comes twice, or came when others were asked."""
    repeats: int = 0
    """How often that was done."""
    echoes: bool = False
    """It sends our own bytes back: whatever it seems to answer, we said."""
    patient: bool = False
    """The last, long wait was done."""
    waited: set[Layer | None] = field(default_factory=set)
    """Layers in which a connection was listened to for long."""
    spread: set[Layer | None] = field(default_factory=set)
    """Layers in which questions were put side by side."""
    one_at_a_time: bool = False
    """A second connection was closed at once while the first stood."""
    expected: str | None = None
    """The service that this very port had before, or elsewhere: nothing of this conversation, and no evidence."""
    amplifying: bool = True
    """Datagrams with large answers may be sent there."""


@dataclass(frozen=True, slots=True)
class Listen:
    """Say nothing for up to `seconds`."""

    seconds: float
    over: Layer | None = None


@dataclass(frozen=True, slots=True)
class Secure:
    """Open a connection and do a TLS handshake on it."""


@dataclass(frozen=True, slots=True)
class Ask:
    """Put a probe; wait up to `seconds` for each of its replies."""

    probe: ProbeSpec
    seconds: float
    over: Layer | None = None
    fresh: bool = False
    """On a new connection."""


@dataclass(frozen=True, slots=True)
class Spread:
    """Put questions side by side, on `number` connections at a time, while the standing one is listened to."""

    number: int
    stagger_s: float
    """From the beginning of one connection to that of the next."""
    over: Layer | None = None


@dataclass(frozen=True, slots=True)
class Stop:
    """Nothing more is to be asked."""

    why: str


Move = Listen | Secure | Ask | Spread | Stop


def clamp(value: float, low: float, high: float) -> float:
    """`value`, but not below `low` nor above `high`."""
    return max(low, min(high, value))
