"""What to ask next: a pure function of what the flow showed and what this endpoint has answered so far.

What the flow's own bytes point to and what the port is for comes first, then the general order (`order`): by expected
information per cost, with what this host and network turned out to be before (`prior`). A reply moves the services it
speaks for to the front. Who says nothing to the first question is asked several at a time, on connections of their
own. `docs/politeness.md` says it for people.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from flowsonar.model import Confidence, Hints, Layer, Question, Transport
from flowsonar.probes.datagrams import Datagrams
from flowsonar.probes.moves import (
    MOST_CONNECTIONS,
    MOST_DATAGRAMS,
    UNBOUNDED,
    Ask,
    Heard,
    Listen,
    Move,
    Secure,
    Seen,
    Spread,
    Stop,
    TlsState,
)
from flowsonar.probes.order import Catalogue
from flowsonar.probes.ranking import Ranking
from flowsonar.probes.special.tls import looks_like_tls
from flowsonar.probes.traits import is_text
from flowsonar.probes.waits import Waits
from flowsonar.signatures.language import ProbeSpec, Signature, Speaker
from flowsonar.signatures.randomness import looks_random

__all__ = ["Planner"]

RANDOM_BYTES: Final = 24
"""Fewer bytes from the middle of a flow tell nothing of how random they are."""
CHILD_PROBES: Final = 2
"""Questions that are still put when a service is proven in whose format others are spoken (HTTP: Docker, etcd)."""
BEFORE_LISTENING: Final = 3
"""Plain questions that come before a connection on which nothing is said: few greet only who does not ask, and a server
that serves one client at a time waits for the end of it."""
BEFORE_TLS: Final = 2
"""Questions that come before TLS where the first one brought neither a byte nor an end."""
SIDE_BY_SIDE: Final = 4
"""Connections on which questions are put at a time where the first one brought nothing: a server that serves few
clients at a time still serves its own."""


class Planner:
    """Says the next move. Holds nothing but the signatures and the bounds.

    `max_probes`: connections that stand or were answered; `max_unanswered`: those that brought no byte.
    """

    def __init__(self, catalogue: Catalogue, *, max_probes: int, timeout_s: float, max_unanswered: int = 0) -> None:
        self._catalogue = catalogue
        self._ranking = Ranking(catalogue)
        self._waits = Waits(timeout_s)
        self._max_probes = max_probes
        self._datagrams = Datagrams(self._ranking, self._waits, max_probes=max_probes, max_unanswered=max_unanswered)
        self.max_unanswered = max_unanswered
        self.timeout_s = timeout_s
        self._formats = frozenset(catalogue.parents.values())  # services in whose format others are spoken

    def next(self, question: Question, seen: Seen, prior: Sequence[str] = ()) -> Move:
        """The next move for `question`, after `seen`. `prior`: what neighbours of the endpoint turned out to be."""
        if seen.best is Confidence.CONFIRMED:
            if self._hides(question, seen):
                return Secure() if seen.tls is TlsState.UNKNOWN else self._connection(question, seen, prior)
            if self._datagrams.carries(question, seen):
                return Secure()
            return self._inside_format(question, seen) or Stop("identified")
        if self._waits.over(seen):
            return Stop("out of time")
        if seen.barred:
            return Stop("inside TLS it wants a certificate of ours")
        if question.endpoint.transport is Transport.UDP:
            return self._datagrams.next(question, seen, prior)
        return self._connection(question, seen, prior)

    def _inside_format(self, question: Question, seen: Seen) -> Move | None:
        """Ask on where what is proven may be the format of a service that something points to."""
        proven = seen.best_service
        if proven not in self._formats or self._waits.over(seen):
            return None
        over = Layer.TLS if seen.tls is TlsState.OPEN else None
        tried = {probe.id for probe, layer in seen.tried if layer is over}
        asked = sum(proven in self._catalogue.ancestors(probe.service) for probe, _ in seen.tried)
        for service in self._ranking.pointed(question, seen, over):
            if asked >= CHILD_PROBES or proven not in self._catalogue.ancestors(service):
                continue
            for probe in self._ranking.own(service, question, seen, over):
                if probe.id in tried or not self._affords(seen, probe.connections):
                    continue
                if question.endpoint.transport is Transport.UDP:
                    return Ask(probe, self._waits.datagram_s(seen, strong=True))
                return Ask(probe, self._waits.reply_s(seen, strong=True), over, fresh=True)
        return None

    def _hides(self, question: Question, seen: Seen) -> bool:
        """Whether what was said in clear may not be what the flow is: then TLS is to be looked into.

        Servers of HTTPS say in plain HTTP that they want TLS, or that a question was none of theirs; so where the flow
        looks encrypted, and where it shows nothing and the answer was to another service's question. Peer-to-peer
        services encrypt by themselves, and so does what nobody puts inside TLS (SSH).
        """
        hints = question.hints
        if question.endpoint.transport is not Transport.TCP or not hints.midstream:
            return False
        signature = self._catalogue.services.get(seen.best_service or "")
        if signature is None or signature.peers or not (Layer.TLS in signature.inside or signature.tls_ports):
            return False
        if not (_in_a_record(hints) or (_shows_nothing(hints) and self._is_by_the_way(signature, seen))):
            return False
        if self._waits.over(seen) or not self._affords(seen, 1):
            return False
        inside = any(layer is Layer.TLS for _, layer in seen.tried)
        return seen.tls is TlsState.UNKNOWN or (seen.tls is TlsState.OPEN and not inside)

    def _is_by_the_way(self, signature: Signature, seen: Seen) -> bool:
        """Whether a service has spoken that was not asked, and does not speak by itself."""
        asked = {probe.service for probe, over in seen.tried if over is None}
        if not asked or signature.speaks_first is Speaker.SERVER:
            return False
        return not any(
            signature.service == service or signature.service in self._catalogue.ancestors(service) for service in asked
        )

    def _affords(self, seen: Seen, connections: int) -> bool:
        return seen.spent + connections <= self._max_probes and seen.opened + connections <= seen.most

    def most(self, question: Question, seen: Seen) -> int:
        """Connections, or datagrams, that an endpoint may cost in all: few where the flow looks like a peer's.

        That ends where the endpoint speaks as no peer does, or where the flow may be another service's as well (TLS)
        and it hangs up without a byte, as that one's servers do.
        """
        pointed = question.hints.candidates
        told = [*seen.candidates, *filter(None, (seen.best_service,))]
        if not pointed or not self._is_peers(pointed[0]) or not all(map(self._is_peers, told)):
            return UNBOUNDED
        if seen.tls in (TlsState.SUGGESTED, TlsState.OPEN):
            return UNBOUNDED
        if seen.closes and not seen.heard and not all(map(self._is_peers, pointed)):
            return UNBOUNDED
        return MOST_DATAGRAMS if question.endpoint.transport is Transport.UDP else MOST_CONNECTIONS

    def _is_peers(self, service: str) -> bool:
        signature = self._catalogue.services.get(service)
        return signature is not None and signature.peers

    # -- one after the other ------------------------------------------------------------------------------------

    def _connection(self, question: Question, seen: Seen, prior: Sequence[str]) -> Move:
        if not self._affords(seen, 1) and not seen.open:
            return Stop("out of connections")
        if self._wants_tls(question, seen):
            return Secure() if self._affords(seen, 1) else Stop("out of connections")
        if self._wants_alpn(seen):
            return Secure()
        over = Layer.TLS if seen.tls is TlsState.OPEN else None
        listen_s = self.listen_s(question, seen, over)
        if listen_s > 0:
            return Listen(listen_s, over)
        return self._question(question, seen, over, prior) or self._patience(seen, over)

    def _wants_tls(self, question: Question, seen: Seen) -> bool:
        """Whether it is TLS's turn because something tells it."""
        if seen.tls is TlsState.UNKNOWN and not seen.spent and not seen.unanswered:
            return self._tls_first(question)
        if seen.echoes:
            return False
        hung_up = seen.last is Heard.CLOSED and bool(seen.tried) and not seen.silences and not seen.heard
        # most that hang up on a plain question want a ClientHello
        wants = seen.tls is TlsState.UNKNOWN and hung_up and seen.best is not Confidence.LIKELY
        return seen.tls is TlsState.SUGGESTED or wants

    def _wants_alpn(self, seen: Seen) -> bool:
        """Whether to open TLS once more, with ALPN: gRPC's servers hang up on who does not name HTTP/2 in it."""
        return (
            seen.tls is TlsState.OPEN
            and seen.last is Heard.CLOSED
            and not seen.alpn_offered
            and seen.best is Confidence.UNKNOWN
            and not seen.candidates
            and self._affords(seen, 1)
        )

    def _question(self, question: Question, seen: Seen, over: Layer | None, prior: Sequence[str]) -> Move | None:
        """The best question that is left and affordable, or None."""
        if seen.again is not None and not seen.repeats and self._affords(seen, 1):
            return Ask(seen.again, self._waits.reply_s(seen, strong=True), over, fresh=True)
        for probe, strong in self._ranking.ranked(question, seen, over, prior):
            if seen.echoes and probe.service != "echo":
                continue
            follows = probe.service in seen.candidates and is_text(probe) and not seen.unfinished
            same = seen.open and seen.over == over and (not seen.said or follows)
            if not self._affords(seen, probe.connections - same):
                continue
            if not strong:
                if seen.best is Confidence.LIKELY:
                    break
                if not same and self._spreads(seen, over):
                    return Spread(SIDE_BY_SIDE, self._waits.stagger_s(seen), over)
                if over is None and self._tls_now(seen, probe):
                    return Secure()
            return Ask(probe, self._waits.reply_s(seen, strong=strong), over, fresh=not same)
        if seen.best is Confidence.LIKELY:
            return Stop("likely, and nothing left that would tell more")
        if over is None and seen.tls is TlsState.UNKNOWN and not seen.heard and self._affords(seen, 1):
            return Secure()
        return None

    def _patience(self, seen: Seen, over: Layer | None) -> Move:
        """Nothing is left to ask: servers that think or greet slowly get the time that is left."""
        if seen.heard or not seen.silences or seen.patient:
            return Stop("nothing left to ask")
        if seen.open:
            return Listen(self._waits.left_s(seen), over)
        probe = next((probe for probe, layer in seen.tried if layer == over and probe.connections == 1), None)
        if probe is None or not self._affords(seen, 1):
            return Stop("nothing left to ask")
        return Ask(probe, self._waits.left_s(seen), over, fresh=True)

    def _tls_first(self, question: Question) -> bool:
        hints, port = question.hints, question.endpoint.port
        if looks_like_tls(hints.initiator_bytes) or looks_like_tls(hints.responder_bytes) or hints.alpn:
            return True
        if hints.candidates:
            return hints.candidates[0] == "tls"
        if hints.initiator_bytes or hints.responder_bytes:
            return hints.midstream and _in_a_record(hints)
        named = self._catalogue.by_port(Transport.TCP, port)
        return bool(named) and not self._ranking.plain_services(Transport.TCP, port)

    def _tls_now(self, seen: Seen, probe: ProbeSpec) -> bool:
        """TLS takes its place in the general order: after the first question, before the rare ones."""
        return (
            seen.tls is TlsState.UNKNOWN
            and bool(seen.tried)
            and seen.best is Confidence.UNKNOWN
            and seen.heard == 0
            and (probe.rarity > 1 or seen.text_ignored)
        )

    def listen_s(self, question: Question, seen: Seen, over: Layer | None) -> float:
        """How long to listen before speaking; asked again once the connection stands and its round trip is known."""
        listen_s = self._waits.listen_s(question, seen, over, self._ranking.speakers(question, seen, over))
        return min(listen_s, self._waits.left_s(seen))

    # -- side by side -------------------------------------------------------------------------------------------

    def _spreads(self, seen: Seen, over: Layer | None) -> bool:
        """Whether questions are put side by side from now on: what was asked first brought nothing."""
        return (
            over not in seen.spread
            and seen.last in (Heard.SILENT, Heard.CLOSED)
            and any(layer is over for _, layer in seen.tried)
            and seen.best is Confidence.UNKNOWN
            and not seen.candidates
            and not seen.echoes
            and seen.unanswered_left > 0
            and self._affords(seen, 1)
        )

    def beside(
        self, question: Question, seen: Seen, over: Layer | None, prior: Sequence[str] = ()
    ) -> Listen | Secure | Ask | None:
        """The next move of one of several connections, each on a new one; None when it has done its part."""
        if seen.best is not Confidence.UNKNOWN or seen.candidates or seen.echoes or self._waits.over(seen):
            return None
        if seen.barred:
            return None
        if not self._affords(seen, 1) or not seen.unanswered_left:
            return None
        if over is None and seen.tls is TlsState.UNKNOWN and not seen.securing and not self._tls_waits(seen):
            return Secure()
        if over is None and seen.tls is TlsState.FAILED and seen.hello_unheard == 1:
            return Secure()  # a busy server takes longer than a quarter of a second for its part
        asked = sum(layer is over for _, layer in seen.tried)
        if asked >= BEFORE_LISTENING and over not in seen.waited and self._ranking.may_greet(question, seen, over):
            return Listen(self._waits.last_listen_s(seen), over)
        for probe, strong in self._ranking.ranked(question, seen, over, prior):
            if self._affords(seen, probe.connections):
                return Ask(probe, self._waits.beside_s(seen, strong=strong), over, fresh=True)
        return self._last_listen(seen, over)

    def _tls_waits(self, seen: Seen) -> bool:
        """Whether another question comes before TLS: its servers seldom leave a plain question without a word."""
        return bool(seen.silences) and len(seen.tried) < BEFORE_TLS

    def _last_listen(self, seen: Seen, over: Layer | None) -> Listen | None:
        """Where every question was hung up on, one connection is listened to."""
        wanted = seen.closes and not seen.silences and over not in seen.waited
        return Listen(self._waits.last_listen_s(seen), over) if wanted else None


def _shows_nothing(hints: Hints) -> bool:
    return not hints.initiator_bytes and not hints.responder_bytes


def _in_a_record(hints: Hints) -> bool:
    """Whether the middle of a flow looks encrypted. Most that is so is TLS; who is not says so at once."""
    shown = [data for data in (hints.initiator_bytes, hints.responder_bytes) if len(data) >= RANDOM_BYTES]
    return bool(shown) and all(map(looks_random, shown))
