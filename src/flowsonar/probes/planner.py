"""What to ask next: a pure function of what the flow showed and what this endpoint has answered so far.

What the flow's own bytes point to and what the port is for comes first, then the general order (`order`): by expected
information per cost, with what this host and network turned out to be before (`prior`). A reply moves the services it
speaks for to the front. `docs/politeness.md` says it for people.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Final

from flowsonar.model import Confidence, Hints, Layer, Question, Side, Transport
from flowsonar.probes.order import Catalogue, Order, Setting
from flowsonar.probes.special.tls import looks_like_tls
from flowsonar.probes.traits import is_text
from flowsonar.signatures.language import ProbeSpec, Speaker
from flowsonar.signatures.randomness import looks_random

__all__ = ["Ask", "Catalogue", "Heard", "Listen", "Move", "Planner", "Secure", "Seen", "Stop", "TlsState", "clamp"]

LISTEN_FLOOR_S: Final = 0.015
"""Most local servers greet within this; a few round trips are added where the path is longer. A later greeting is
known for what it is when it comes with the answer to our question."""
GREETING_TRIPS: Final = 1.0
"""Round trips from our connection to its greeting."""
LISTEN_INSIDE_S: Final = 0.015
"""Added inside TLS: after the work of a handshake a server takes longer to greet."""
LISTEN_NO_ALPN_S: Final = 0.2
"""Added inside TLS where the flow's client offered no ALPN: it is no browser, and the server may well speak first."""
LISTEN_CEILING_S: Final = 1.0
"""Longest first listen, where flow or port say that the server speaks first."""
REPLY_FLOOR_S: Final = 0.15
"""A local server answers within this even on a busy machine; slower ones are waited for at the end."""
REPLY_CEILING_S: Final = 1.2
DATAGRAM_FLOOR_S: Final = 0.1
DATAGRAM_GAP_S: Final = 0.06
"""Between datagrams that nothing points to: an answer to an earlier one is still heard."""
DATAGRAMS: Final = 2
"""Datagrams that may be sent for each connection that may be opened: there is no handshake, and one tells less."""
RTT_UNKNOWN_S: Final = 0.08
RANDOM_BYTES: Final = 24
"""Fewer bytes from the middle of a flow tell nothing of how random they are."""
RETRY_AFTER_S: Final = 1.2
"""A datagram may be lost: the best one is sent once more this long after the beginning."""
CHILD_PROBES: Final = 2
"""Questions that are still put when a service is proven in whose format others are spoken (HTTP: Docker, etcd)."""
LEAST_S: Final = 0.02
"""With less time left than this nothing new is begun."""


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
    """Connections opened, or datagrams sent."""
    elapsed_s: float = 0.0
    rtt_s: float | None = None
    open: bool = False
    """A connection stands."""
    said: bool = False
    """Something was said on it."""
    over: Layer | None = None
    """What the standing connection runs inside."""
    alpn: str | None = None
    tls: TlsState = TlsState.UNKNOWN
    handshake_s: float = 0.0
    """How long TLS took to come through."""
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
    heard: int = 0
    """Bytes that came in all."""
    silences: int = 0
    """Questions that got neither byte nor close."""
    again: ProbeSpec | None = None
    """A probe whose answer only counts when it comes twice."""
    echoes: bool = False
    """It sends our own bytes back: whatever it seems to answer, we said."""
    patient: bool = False
    """The last, long wait was done."""
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
class Stop:
    """Nothing more is to be asked."""

    why: str


Move = Listen | Secure | Ask | Stop


def clamp(value: float, low: float, high: float) -> float:
    """`value`, but not below `low` nor above `high`."""
    return max(low, min(high, value))


class Planner:
    """Says the next move. Holds nothing but the signatures and the bounds."""

    def __init__(self, catalogue: Catalogue, *, max_probes: int, timeout_s: float) -> None:
        self._catalogue = catalogue
        self._order = Order(catalogue)
        self._max_probes = max_probes
        self._max_datagrams = DATAGRAMS * max_probes
        self.timeout_s = timeout_s
        self._formats = frozenset(catalogue.parents.values())  # services in whose format others are spoken

    def next(self, question: Question, seen: Seen, prior: Sequence[str] = ()) -> Move:
        """The next move for `question`, after `seen`. `prior`: what neighbours of the endpoint turned out to be."""
        if seen.best is Confidence.CONFIRMED:
            return self._inside_format(question, seen) or Stop("identified")
        if self.timeout_s - seen.elapsed_s < LEAST_S:
            return Stop("out of time")
        if question.endpoint.transport is Transport.UDP:
            return self._datagram(question, seen, prior)
        return self._connection(question, seen, prior)

    def _inside_format(self, question: Question, seen: Seen) -> Move | None:
        """Ask on where what is proven may be the format of a service that something points to."""
        proven = seen.best_service
        if proven not in self._formats or self._left_s(seen) < LEAST_S:
            return None
        over = Layer.TLS if seen.tls is TlsState.OPEN else None
        tried = {probe.id for probe, layer in seen.tried if layer is over}
        asked = sum(proven in self._catalogue.ancestors(probe.service) for probe, _ in seen.tried)
        for service in self._pointed(question, seen, over):
            if asked >= CHILD_PROBES or proven not in self._catalogue.ancestors(service):
                continue
            for probe in self._order.of(service, self._setting(question, seen, over), strong=True):
                if probe.id in tried or seen.spent + probe.connections > self._max_probes:
                    continue
                if question.endpoint.transport is Transport.UDP:
                    return Ask(probe, self._datagram_s(seen, strong=True))
                return Ask(probe, self._reply_s(seen, strong=True), over, fresh=True)
        return None

    # -- TCP ----------------------------------------------------------------------------------------------------

    def _connection(self, question: Question, seen: Seen, prior: Sequence[str]) -> Move:
        if seen.spent >= self._max_probes and not seen.open:
            return Stop("out of connections")
        if self._wants_tls(question, seen):
            return Secure() if seen.spent < self._max_probes else Stop("out of connections")
        if self._wants_alpn(seen):
            return Secure()
        over = Layer.TLS if seen.tls is TlsState.OPEN else None
        listen_s = self._listen_s(question, seen, over)
        if listen_s > 0:
            return Listen(min(listen_s, self._left_s(seen)), over)
        return self._question(question, seen, over, prior) or self._patience(seen, over)

    def _wants_tls(self, question: Question, seen: Seen) -> bool:
        """Whether it is TLS's turn because something tells it."""
        if seen.tls is TlsState.UNKNOWN and not seen.spent:
            return self._tls_first(question)
        if seen.echoes:
            return False
        hung_up = seen.last is Heard.CLOSED and bool(seen.tried) and not seen.silences and not seen.heard
        # most that hang up on a plain question want a ClientHello
        return seen.tls is TlsState.SUGGESTED or (seen.tls is TlsState.UNKNOWN and hung_up)

    def _wants_alpn(self, seen: Seen) -> bool:
        """Whether to open TLS once more, with ALPN: gRPC's servers hang up on who does not name HTTP/2 in it."""
        return (
            seen.tls is TlsState.OPEN
            and seen.last is Heard.CLOSED
            and not seen.alpn_offered
            and seen.best is Confidence.UNKNOWN
            and not seen.candidates
            and seen.spent < self._max_probes
        )

    def _question(self, question: Question, seen: Seen, over: Layer | None, prior: Sequence[str]) -> Move | None:
        """The best question that is left and affordable, or None."""
        for probe, strong in self._ranked(question, seen, over, prior):
            if seen.echoes and probe.service != "echo":
                continue
            follows = probe.service in seen.candidates and is_text(probe)
            same = seen.open and seen.over == over and (not seen.said or follows)
            spend = probe.connections - same
            if seen.spent + spend > self._max_probes:
                continue
            if self._keeps_last(seen, spend):
                break
            if not strong and seen.best is Confidence.LIKELY:
                break
            if not strong and over is None and self._tls_now(seen, probe):
                return Secure()
            return Ask(probe, self._reply_s(seen, strong=strong), over, fresh=not same)
        if seen.best is Confidence.LIKELY:
            return Stop("likely, and nothing left that would tell more")
        untold = over is None and seen.tls is TlsState.UNKNOWN and not seen.heard
        if untold and seen.spent < self._max_probes and not self._keeps_last(seen, 1):
            return Secure()
        return None

    def _keeps_last(self, seen: Seen, spend: int) -> bool:
        """The last connection of an endpoint that was only silent is kept for the long wait."""
        return bool(
            spend and seen.silences and not seen.heard and seen.tried and seen.spent + spend >= self._max_probes
        )

    def _patience(self, seen: Seen, over: Layer | None) -> Move:
        """Nothing is left to ask: servers that think or greet slowly get the time that is left."""
        left_s = self._left_s(seen)
        if seen.heard or not seen.silences or seen.patient or left_s < LEAST_S:
            return Stop("nothing left to ask")
        if seen.spent < self._max_probes and seen.tried:
            probe = next((probe for probe, layer in seen.tried if layer == over and probe.connections == 1), None)
            if probe is not None:
                return Ask(probe, left_s, over, fresh=True)
        if seen.open:
            return Listen(left_s, over)
        return Stop("nothing left to ask")

    def _tls_first(self, question: Question) -> bool:
        hints, port = question.hints, question.endpoint.port
        if looks_like_tls(hints.initiator_bytes) or looks_like_tls(hints.responder_bytes) or hints.alpn:
            return True
        if hints.candidates:
            return hints.candidates[0] == "tls"
        if hints.initiator_bytes or hints.responder_bytes:
            return hints.midstream and _in_a_record(hints)
        named = self._catalogue.by_port(Transport.TCP, port)
        return bool(named) and not self._plain_services(Transport.TCP, port)

    def _tls_now(self, seen: Seen, probe: ProbeSpec) -> bool:
        """TLS takes its place in the general order: after the first question, before the rare ones."""
        return (
            seen.tls is TlsState.UNKNOWN
            and bool(seen.tried)
            and seen.best is Confidence.UNKNOWN
            and seen.heard == 0
            and (probe.rarity > 1 or seen.text_ignored)
        )

    def _listen_s(self, question: Question, seen: Seen, over: Layer | None) -> float:
        """How long to listen before speaking; 0: not at all."""
        if over in seen.listened_s or any(layer is over for _, layer in seen.tried):
            return 0.0
        hints = question.hints
        first = hints.first_speaker if hints.side is Side.RESPONDER and not hints.midstream else None
        patient_s = clamp(4 * self._rtt_s(seen) + 0.5, LISTEN_FLOOR_S, LISTEN_CEILING_S)
        if over is None and first is Side.RESPONDER:
            return patient_s
        if over is None and first is Side.INITIATOR:
            return 0.0
        for service in self._pointed(question, seen, over):
            signature = self._catalogue.services[service]
            if signature.speaks_first is Speaker.SERVER:
                return patient_s
            if signature.speaks_first is Speaker.CLIENT:
                return 0.0
        rtt_s = self._rtt_s(seen)
        listen_s = GREETING_TRIPS * rtt_s + LISTEN_FLOOR_S
        if over is Layer.TLS:
            listen_s += LISTEN_INSIDE_S + max(
                0.0, seen.handshake_s - 2 * rtt_s
            )  # who thinks long in the handshake is slow to greet too
            if looks_like_tls(hints.initiator_bytes) and not hints.alpn:
                listen_s += LISTEN_NO_ALPN_S  # who speaks HTTP would have offered it
        return clamp(listen_s, LISTEN_FLOOR_S, LISTEN_CEILING_S)

    def listen_s(self, question: Question, seen: Seen, over: Layer | None) -> float:
        """How long to listen on a connection that stands, now that its round trip is known."""
        return min(self._listen_s(question, seen, over), self._left_s(seen))

    # -- UDP ----------------------------------------------------------------------------------------------------

    def _datagram(self, question: Question, seen: Seen, prior: Sequence[str]) -> Move:
        most = self._max_datagrams
        if seen.again is not None:
            if seen.spent < self._max_probes:
                return Ask(seen.again, self._reply_s(seen, strong=True))
            return Stop("out of datagrams")
        for probe, strong in self._ranked(question, seen, None, prior):
            if seen.spent + probe.connections > most - (0 if seen.heard else 1) and seen.tried:
                continue
            if not strong and seen.best is Confidence.LIKELY:
                return Stop("likely, and nothing left that would tell more")
            if seen.echoes and probe.service != "echo":
                continue
            return Ask(probe, self._datagram_s(seen, strong=strong))
        if seen.best is Confidence.LIKELY or not seen.tried:
            return Stop("nothing left to ask")
        if seen.patient or seen.heard:
            return Stop("nothing left to ask")
        if seen.elapsed_s < RETRY_AFTER_S and seen.spent < most:
            return Listen(min(RETRY_AFTER_S - seen.elapsed_s, self._left_s(seen)))
        if seen.spent < most:
            first = next((probe for probe, _ in seen.tried if probe.connections == 1), None)
            if first is not None:
                return Ask(first, self._left_s(seen))
        return Listen(self._left_s(seen))

    # -- order --------------------------------------------------------------------------------------------------

    def _ranked(
        self, question: Question, seen: Seen, over: Layer | None, prior: Sequence[str]
    ) -> Iterator[tuple[ProbeSpec, bool]]:
        """Probes not tried yet, best first; the flag says whether something points to the service."""
        tried = [probe.id for probe, layer in seen.tried if layer is over]
        setting = self._setting(question, seen, over)
        for service in self._pointed(question, seen, over):
            for probe in self._order.of(service, setting, strong=True):
                if probe.id not in tried:
                    yield probe, True
        for probe in self._order.general(setting, tried, prior):
            if probe.id not in tried:
                yield probe, False

    def _setting(self, question: Question, seen: Seen, over: Layer | None) -> Setting:
        endpoint, hints = question.endpoint, question.hints
        shown: bytes = b""
        if endpoint.transport is Transport.UDP:
            shown = hints.initiator_bytes or hints.responder_bytes
        return Setting(
            endpoint.transport,
            over,
            over is not None and seen.alpn == "h2",
            6 if ":" in endpoint.address else 4,
            seen.amplifying,
            seen.text_ignored,
            seen.text_ended,
            looks_random(shown) if shown else None,
        )

    def _pointed(self, question: Question, seen: Seen, over: Layer | None) -> Sequence[str]:
        """Services that something points to: replies, the negotiated ALPN, the flow's bytes, the port."""
        names: list[str] = list(seen.candidates)
        if over is Layer.TLS and seen.alpn:
            names += self._catalogue.by_alpn(seen.alpn)
        if question.hints.candidates:
            names += [name for name in question.hints.candidates if name != "tls"]
        endpoint = question.endpoint
        if over is Layer.TLS:
            names += self._tls_services(endpoint.port)
        else:
            names += self._plain_services(endpoint.transport, endpoint.port)
        if len(names) <= 1:
            return [name for name in names if name in self._catalogue.services]
        return list(dict.fromkeys(name for name in names if name in self._catalogue.services))

    def _tls_services(self, port: int) -> Sequence[str]:
        """Services that speak TLS on this port from the first byte."""
        known = self._catalogue.services
        named = self._catalogue.by_port(Transport.TCP, port)
        return [name for name in named if port in known[name].tls_ports] if named else ()

    def _plain_services(self, transport: Transport, port: int) -> Sequence[str]:
        """Services whose plain default port this is."""
        named = self._catalogue.by_port(transport, port)
        if not named:
            return ()
        known = self._catalogue.services
        return [
            name
            for name in named
            if name != "tls" and any(port in ports for kind, ports in known[name].ports if kind is transport)
        ]

    # -- time ---------------------------------------------------------------------------------------------------

    def _left_s(self, seen: Seen) -> float:
        return max(0.0, self.timeout_s - seen.elapsed_s)

    def _rtt_s(self, seen: Seen) -> float:
        return RTT_UNKNOWN_S if seen.rtt_s is None else seen.rtt_s

    def _reply_s(self, seen: Seen, *, strong: bool) -> float:
        """How long a reply may take before something else is tried."""
        floor_s = 2 * REPLY_FLOOR_S if strong else REPLY_FLOOR_S
        return min(clamp(3 * self._rtt_s(seen) + floor_s, floor_s, REPLY_CEILING_S), self._left_s(seen))

    def _datagram_s(self, seen: Seen, *, strong: bool) -> float:
        if seen.tried and not strong:
            return min(DATAGRAM_GAP_S, self._left_s(seen))
        floor_s = 2 * DATAGRAM_FLOOR_S if strong else DATAGRAM_FLOOR_S
        return min(clamp(3 * self._rtt_s(seen) + floor_s, floor_s, REPLY_CEILING_S), self._left_s(seen))


def _in_a_record(hints: Hints) -> bool:
    """Whether the middle of a flow looks encrypted. Most that is so is TLS; who is not says so at once."""
    shown = [data for data in (hints.initiator_bytes, hints.responder_bytes) if len(data) >= RANDOM_BYTES]
    return bool(shown) and all(map(looks_random, shown))
