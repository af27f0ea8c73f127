"""Questions in a peer's name: which may be put, to whom, and what came of them. Off unless the user asks for it."""

from __future__ import annotations

import ipaddress
import logging
import random
import socket
import time
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from typing import Final

from flowsonar.app.parts import Parts
from flowsonar.config import Settings
from flowsonar.model import Answer, Endpoint, Outcome, Question, Transport
from flowsonar.probes import AuditEntry
from flowsonar.probes.audit import AuditAction
from flowsonar.probes.engine import Channel
from flowsonar.probes.gate import Gate
from flowsonar.probes.own import canonical
from flowsonar.probes.reactor import Reactor
from flowsonar.probes.routes import Routes
from flowsonar.probes.session import Session, planner_for
from flowsonar.shaping.aspeer import Key, PeerLine, PeerSocket
from flowsonar.signatures.catalogue import SignatureSet
from flowsonar.signatures.language import ProbeSpec
from flowsonar.signatures.templates import place_of

__all__ = ["AskingAsPeer", "harmless", "key_of"]

_log = logging.getLogger(__name__)

_PARALLEL: Final = 8
"""Conversations in others' names at a time."""
_WAITING: Final = 1024
"""Questions that wait for their turn; more are not put."""
_PROBES: Final = 6
_TIMEOUT_S: Final = 4.0
"""For all questions to one endpoint; a second less than its flow is held."""
_WITHOUT_ANSWER: Final = frozenset({Outcome.SILENT, Outcome.REFUSED, Outcome.UNREACHABLE, Outcome.CLOSED})
"""What asking in our own name may have given, for asking once more."""


def harmless(signatures: SignatureSet) -> SignatureSet:
    """All signatures, with only those of their probes that may come in a peer's name."""
    return SignatureSet(
        [
            one._replace(probes=tuple(probe for probe in one.probes if probe.as_peer is not None))
            for one in signatures.services.values()
        ]
    )


def key_of(probe: ProbeSpec | None, payload: bytes) -> Key | None:
    """The field of a question that every answer repeats; None where the probe may not come in a peer's name."""
    template = probe.steps[0].send if probe is not None and probe.as_peer is not None else None
    if probe is None or probe.as_peer is None or template is None:
        return None
    place = place_of(template, probe.as_peer)
    if place is None or len(payload) < sum(place):
        return None
    return place[0], payload[place[0] : sum(place)]


class _PeerRoutes(Routes):
    """Sockets that speak in one peer's name."""

    def __init__(self, make: Callable[[], PeerSocket], address: str) -> None:
        super().__init__()
        self._make, self._address = make, address

    def open(self, _family: int, kind: int) -> socket.socket:
        """See `Routes`."""
        assert kind & socket.SOCK_DGRAM
        return self._make()

    def local_address(self, _family: int, _target: object, _now_s: float) -> str:
        """The peer's."""
        return self._address


class AskingAsPeer:
    """Asks UDP endpoints of forwarded flows in the name of the flow's other side. Raises ShapingError at the start."""

    def __init__(self, settings: Settings, parts: Parts, *, audit: Callable[[AuditEntry], None]) -> None:
        budget = replace(settings.budget, max_probes=_PROBES, max_unanswered=_PROBES, timeout_s=_TIMEOUT_S)
        self._settings = replace(settings, budget=budget)
        self._signatures = harmless(parts.signatures)
        self._matcher = parts.matcher
        self._planner = planner_for(self._signatures, self._settings)
        self._line = PeerLine()
        self._audit = audit
        self._reactor = Reactor()
        self._channels: dict[Endpoint, Channel] = {}
        self._waiting: list[tuple[Question, Answer, Callable[[Answer], None]]] = []
        self._pick = random.Random()
        self._gate = Gate(self._settings, self._record)
        self._probe: ProbeSpec | None = None  # the one that is being put
        self.asked = self.found = 0

    def wants(self, question: Question, answer: Answer) -> bool:
        """Whether an endpoint that said nothing to us is to be asked in its peer's name."""
        peer, endpoint = question.peer, question.endpoint
        if peer is None or endpoint.transport is not Transport.UDP or answer.outcome not in _WITHOUT_ANSWER:
            return False
        if answer.evidence or len(self._waiting) >= _WAITING:
            return False
        if self._gate.forbids(endpoint) is not None or self._gate.forbids(peer) is not None:
            return False
        ends = [ipaddress.ip_address(one.address) for one in (endpoint, peer)]
        if ends[0].version != ends[1].version or any(end.is_multicast or end.is_link_local for end in ends):
            return False
        return not any(_is_ours(one.address) for one in (endpoint, peer))

    def ask(self, question: Question, before: Answer, told: Callable[[Answer], None]) -> None:
        """Ask; `told` gets the answer, or `before` where there is none this time either."""
        self._waiting.append((question, before, told))
        self._go_on()

    def counters(self) -> dict[str, int]:
        """What was done so far."""
        return {"asked_as_peer": self.asked, "found_as_peer": self.found} | {
            f"as_peer_{name}": count for name, count in self._line.counts.items()
        }

    def close(self) -> None:
        """End all conversations, let all flows go."""
        for channel in list(self._channels.values()):
            channel.cancel()
        self._channels.clear()
        waiting, self._waiting = self._waiting, []
        for _, before, told in waiting:
            told(before)
        self._reactor.close()
        self._line.close()

    def _go_on(self) -> None:
        while self._waiting and len(self._channels) < _PARALLEL:
            question, before, told = self._waiting.pop(0)
            self._begin(question, before, told)

    def _begin(self, question: Question, before: Answer, told: Callable[[Answer], None]) -> None:
        endpoint, peer = question.endpoint, question.peer
        assert peer is not None
        session = Session(
            question,
            signatures=self._signatures,
            planner=self._planner,
            matcher=self._matcher,
            settings=self._settings,
            now_s=time.monotonic(),
            pick=self._pick,
        )
        routes = _PeerRoutes(partial(self._socket, endpoint, peer), peer.address)
        channel = Channel(self._gate, self._reactor, routes, endpoint, canonical(endpoint.address), prepaid=False)
        self._channels[endpoint] = channel
        self.asked += 1
        channel.start(session.talk(), partial(self._ended, endpoint, before, told))

    def _socket(self, endpoint: Endpoint, peer: Endpoint) -> PeerSocket:
        return PeerSocket(self._line, peer, endpoint, lambda payload: key_of(self._probe, payload))

    def _record(self, entry: AuditEntry) -> None:
        """The log says in whose name; the probe is kept for its key: the packet leaves right after this."""
        if entry.action is AuditAction.SEND:
            self._probe = self._signatures.probe(entry.probe)
        self._audit(entry._replace(detail=f"as peer; {entry.detail}" if entry.detail else "as peer"))

    def _ended(
        self,
        endpoint: Endpoint,
        before: Answer,
        told: Callable[[Answer], None],
        answer: Answer | None,
        problem: Exception | None,
    ) -> None:
        self._channels.pop(endpoint, None)
        if problem is not None:
            _log.warning("asking %s as its peer failed: %s", endpoint, problem)
        if answer is not None and answer.evidence:
            self.found += 1
            told(answer)
        else:
            told(before)
        self._go_on()


def _is_ours(address: str) -> bool:
    """Whether this machine has the address: a flow of its own is not forwarded."""
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    with socket.socket(family, socket.SOCK_DGRAM) as probe:
        try:
            probe.bind((address, 0))
        except OSError:
            return False
    return True
