"""Whom to ask about a flow, and when. No sockets or clocks: flows and `now` go in, questions come out.

- what the flow's own bytes confirm is not asked;
- what they leave open is asked after a grace that gives the flow time to show itself (`_grace_ns`); a new connection on
  which nobody has spoken gets longer (`limits.SILENCE_WAIT_MS`), and what it says later still reaches the question;
- TCP: the responder, once the connection stands (a scan that passes by is not repeated); the other side only where
  the flow was picked up in the middle and roles are a guess;
- UDP: what began like media, a tunnel or uTP gets the time of a few more datagrams, which tell it without asking;
- UDP: the responder, then the initiator where the flow looks like peers talking (neither port is a service's);
- FTP's data connections are not asked where their control connection shows that they are (`companions`);
- TCP that looks like a peer's: the same number over UDP as well, by one datagram (`neighbours`);
- live, a connection from the middle that has not said a byte gets as long as a new one; the datagram does not wait;
- an endpoint that earlier failures tell to leave alone is not asked.
"""

from __future__ import annotations

import heapq
from collections.abc import Callable, Iterable, Iterator
from typing import Final

from flowsonar import limits
from flowsonar.model import Confidence, Endpoint, FlowKey, Hints, Question, Side, Transport, Verdict
from flowsonar.passive.suspects import RUNNING, SERVED, SILENT
from flowsonar.verdicts.cache import Cache
from flowsonar.verdicts.companions import BESIDE, Companions
from flowsonar.verdicts.followed import Followed
from flowsonar.verdicts.neighbours import Neighbours

__all__ = ["Inquiry", "is_opaque", "sides"]

_MS: Final = 1_000_000
_CONFIRMED: Final = Confidence.CONFIRMED
_LIKELY: Final = Confidence.LIKELY.rank
_ASKABLE: Final = frozenset({Transport.TCP, Transport.UDP})


class Inquiry:
    """Which endpoints are asked for which flows. One endpoint is asked once, for all flows that wait for it.

    `permits` says why an endpoint may not be asked, or None; `refresh` lets a flow's evidence be weighed anew;
    `inherit` gives it what its endpoints are known to be, whether from before or half-way through being asked;
    `served` says whether a port is a known service's. `live`: flows may be postponed by the clock; `mixed_ns`: how
    long to wait for what another interface has seen of a flow.
    """

    def __init__(
        self,
        companions: Companions,
        neighbours: Neighbours,
        *,
        counts: dict[str, int],
        cache: Cache | None,
        permits: Callable[[Endpoint], str | None],
        served: Callable[[Endpoint], bool],
        refresh: Callable[[Followed, int], None],
        inherit: Callable[[Followed, int], None],
        live: bool,
        mixed_ns: int,
    ) -> None:
        self._companions = companions
        self._neighbours = neighbours
        self._counts = counts
        self._cache = cache
        self._permits = permits
        self._served = served
        self._refresh = refresh
        self._inherit = inherit
        self._live = live
        self._mixed_ns = mixed_ns
        self._waiting: dict[Endpoint, list[int]] = {}  # flows that wait for an endpoint's answer
        self._blind: dict[Endpoint, Hints] = {}  # hints of questions that were put before the flow said anything
        self._due: list[tuple[int, int]] = []  # heap of (time_ns, flow): when a grace is over
        self.asking = True
        self.questions: list[Question] = []

    # -- when ---------------------------------------------------------------------------------------------------

    @property
    def next_due_ns(self) -> int | None:
        """When `due` wants to be called next."""
        return self._due[0][0] if self._due else None

    def due(self, now_ns: int) -> Iterator[int]:
        """Flows whose grace is over, each once; who takes them lets them be considered."""
        while self._due and self._due[0][0] <= now_ns:
            yield heapq.heappop(self._due)[1]

    def move(self, jump_ns: int) -> None:
        """Move what is due with a clock that was set."""
        self._due = [(due_ns + jump_ns, flow) for due_ns, flow in self._due]

    def stop(self, postponed: Iterable[int]) -> None:
        """Nobody is asked any more; flows that were postponed are due at once."""
        self.asking = False
        self._due = [(0, flow) for flow in postponed]

    def established(self, flow: Followed, now_ns: int) -> None:
        """The connection stands: from now on its endpoint may be asked."""
        if flow.quiet != 3:  # data came within the SYN
            self.heard(flow, now_ns)
        elif not flow.settled and flow.verdict.confidence is not _CONFIRMED:
            wait_ns = self._grace_ns(flow)
            if self._live and not flow.midstream:
                wait_ms = limits.SILENCE_WAIT_MS if self._is_served(flow.key) else limits.SILENCE_WAIT_PEERS_MS
                wait_ns = max(wait_ns, wait_ms * _MS)
            heapq.heappush(self._due, (now_ns + wait_ns, flow.flow))

    def heard(self, flow: Followed, now_ns: int) -> None:
        """After a payload: ask now, or give the other side time for its word, or not at all."""
        verdict = flow.verdict
        opaque = is_opaque(verdict)
        if verdict.confidence is _CONFIRMED and not opaque:
            return
        if flow.passive.counts_on:
            heapq.heappush(self._due, (now_ns + limits.SEQUENCE_WAIT_MS * _MS, flow.flow))
        elif opaque or flow.quiet == 0 or (verdict.service is None and not flow.passive.services):
            if self._mixed_ns:
                wait_ns = self._mixed_ns * 4 if self._companions.announces(flow.key) else self._mixed_ns
                heapq.heappush(self._due, (now_ns + wait_ns, flow.flow))
            else:
                self.consider(flow, now_ns)
        else:
            heapq.heappush(self._due, (now_ns + self._grace_ns(flow), flow.flow))

    def tells(self, flow: Followed) -> None:
        """After a payload of a flow whose endpoint is being asked: the question learns what it was put without."""
        assert flow.waiting is not None
        hints = self._blind.pop(flow.waiting, None)
        if hints is not None:
            told = _hints(flow, flow.waiting)
            hints.first_speaker, hints.candidates, hints.alpn = told.first_speaker, told.candidates, told.alpn
            hints.initiator_bytes, hints.responder_bytes = told.initiator_bytes, told.responder_bytes
            hints.server_name = told.server_name

    def _grace_ns(self, flow: Followed) -> int:
        """How long a flow may take to show itself before its endpoint is asked, from now.

        A greeting comes a round trip after the handshake, a reply a round trip after the request; RTT is known
        from the handshake or not at all, then 40 ms stand in: less than a person notices, more than most LANs need.
        """
        if flow.handshake_ns:
            return min(flow.handshake_ns * 5 // 4 + 10 * _MS, 1000 * _MS)
        return 40 * _MS

    def _may_be_data(self, flow: Followed, now_ns: int) -> bool:
        """Whether a flow must not be asked yet: it may be FTP data whose announcement is hidden.

        Its port is asked when the transfer's connection has long been taken: a second one is then refused.
        """
        flow.postponed = False
        if flow.asked:
            return False
        if flow.beside:
            self._refresh(flow, now_ns)
            wait_ns = flow.first_ns + limits.DATA_PORT_WAIT_MS * _MS - now_ns
            if BESIDE in flow.evidence and self._live:
                # Longer it cannot be, unless the clock was set back since.
                flow.postponed = 0 < wait_ns <= limits.DATA_PORT_WAIT_MS * _MS
                if flow.postponed:
                    heapq.heappush(self._due, (now_ns + wait_ns, flow.flow))
                return flow.postponed
        if self._live and self._companions.postpones(flow, now_ns):
            flow.postponed = flow.beside = True
            heapq.heappush(self._due, (now_ns + 10 * _MS, flow.flow))
        return flow.postponed

    def _is_silent(self, flow: Followed, now_ns: int) -> bool:
        """Whether a flow from the middle has shown no byte yet and may still: what it says tells what to ask first.

        Its number is asked over UDP meanwhile; one that is known by that is asked when it speaks.
        """
        if not self._live or not flow.midstream or flow.quiet != 3:
            return False
        if flow.verdict.confidence.rank >= _LIKELY:
            return True
        served = self._is_served(flow.key)
        until_ns = flow.first_ns + (limits.SILENCE_WAIT_MS if served else limits.SILENCE_WAIT_MIDDLE_MS) * _MS
        if now_ns >= until_ns:
            return False
        heapq.heappush(self._due, (until_ns, flow.flow))
        ends = sides(flow.key, midstream=True, served=self._served)
        if flow.key.transport is Transport.TCP and not served:
            hints = _hints(flow, ends[0])
            hints.candidates = SILENT
            self._ask_beside(flow, ends[0], hints)
        return True

    def _is_served(self, key: FlowKey) -> bool:
        """Whether one of the ports is a known service's."""
        return self._served(key.responder) or self._served(key.initiator)

    # -- whom ---------------------------------------------------------------------------------------------------

    def consider(self, flow: Followed, now_ns: int) -> None:
        """Ask the next endpoint of a flow that is still unsure; `flow.waiting` says whom, if anybody."""
        if not self._wants(flow) or self._may_be_data(flow, now_ns) or self._is_silent(flow, now_ns):
            return
        if not flow.asked:
            self._inherit(flow, now_ns)  # another flow's question may have been answered since it was opened
        verdict = flow.verdict
        if not self._wants(flow):
            return
        for endpoint in sides(flow.key, midstream=flow.midstream, served=self._served):
            if endpoint in flow.asked:
                continue
            if flow.asked and verdict.confidence.rank >= _LIKELY:
                return
            flow.asked = (*flow.asked, endpoint)
            if self._permits(endpoint) is not None:
                self._counts["questions_not_permitted"] += 1
                continue
            if self._cache is not None and not self._cache.may_ask(endpoint, now_ns / 1e9):
                continue
            self._ask(flow, endpoint)
            if flow.waiting is not None:
                self._inherit(flow, now_ns)
                if is_opaque(verdict):
                    self._companions.asking(flow, endpoint)
            return

    def expects(self, flow: Followed, now_ns: int) -> bool:
        """Whether a new flow's responder would be asked as soon as the flow shows that it is worth it."""
        responder = flow.key.responder
        if not self.asking or flow.midstream or flow.hops or flow.beside or flow.key.transport is not Transport.TCP:
            return False
        if flow.verdict.confidence.rank >= _LIKELY or self._served(responder) or responder in self._waiting:
            return False
        if self._permits(responder) is not None:
            return False
        return self._cache is None or self._cache.may_ask(responder, now_ns / 1e9)

    def _wants(self, flow: Followed) -> bool:
        """Whether anybody is to be asked about a flow at all."""
        if not self.asking or not flow.established or flow.key.transport not in _ASKABLE:
            return False
        if flow.hops:
            return False  # outside its tunnel an address may be another host's, or nobody's
        return flow.verdict.confidence is not _CONFIRMED or is_opaque(flow.verdict)

    def waiting(self, endpoint: Endpoint) -> list[int]:
        """Flows that wait for the endpoint's answer."""
        return self._waiting.get(endpoint, [])

    def leave(self, flow: Followed) -> Endpoint | None:
        """A flow needs no answer any more; gives the endpoint where nobody else waits for it either."""
        endpoint, flow.waiting = flow.waiting, None
        if endpoint is None or (waiting := self._waiting.get(endpoint)) is None:
            return None
        waiting.remove(flow.flow)
        if waiting:
            return None
        self.answered(endpoint)
        return endpoint

    def answered(self, endpoint: Endpoint) -> list[int]:
        """Flows that waited for the endpoint's answer; they do no more."""
        self._blind.pop(endpoint, None)
        return self._waiting.pop(endpoint, [])

    def _ask(self, flow: Followed, endpoint: Endpoint) -> None:
        hints = _hints(flow, endpoint)
        hints.candidates = self._neighbours.first(flow.verdict, hints.candidates)
        if flow.quiet == 3 and flow.midstream and flow.key.transport is Transport.TCP and not hints.candidates:
            hints.candidates = SERVED if self._is_served(flow.key) else RUNNING
        self._put(flow, endpoint, hints)
        if flow.waiting is not None:
            self._ask_beside(flow, endpoint, hints)

    def _put(self, flow: Followed, endpoint: Endpoint, hints: Hints) -> None:
        waiting = self._waiting.get(endpoint)
        if waiting is not None:
            if len(waiting) < limits.FLOWS_WAITING_PER_ENDPOINT:
                waiting.append(flow.flow)
                flow.waiting = endpoint
            return
        if len(self._waiting) >= limits.QUESTIONS_WAITING:
            self._counts["questions_dropped"] += 1
            return
        self._waiting[endpoint] = [flow.flow]
        flow.waiting = endpoint
        self._counts["questions"] += 1
        if flow.quiet == 3:
            self._blind[endpoint] = hints
        peer = _other(flow.key, endpoint) if flow.key.transport is Transport.UDP else None
        self.questions.append(Question(endpoint=endpoint, hints=hints, weight=flow.weight, peer=peer))

    def _ask_beside(self, flow: Followed, endpoint: Endpoint, hints: Hints) -> None:
        """Ask the same number over UDP where the flow looks like a peer's."""
        if self._permits(endpoint._replace(transport=Transport.UDP)) is not None:
            return
        beside = self._neighbours.question(flow.flow, endpoint, hints)
        if beside is not None and beside.endpoint not in self._waiting:
            self._counts["questions"] += 1
            self.questions.append(beside)


def _other(key: FlowKey, endpoint: Endpoint) -> Endpoint:
    """The flow's other side."""
    return key.initiator if endpoint == key.responder else key.responder


def is_opaque(verdict: Verdict) -> bool:
    """A carrier that nobody looked into yet."""
    return verdict.service in ("tls", "dtls", "quic") and verdict.over is None


def sides(key: FlowKey, *, midstream: bool, served: Callable[[Endpoint], bool]) -> tuple[Endpoint, ...]:
    """Endpoints that may say what a flow is, best first: those that are asked, and whose known label it inherits."""
    if key.transport is Transport.TCP:
        if not midstream:
            return (key.responder,)
        responder, initiator = served(key.responder), served(key.initiator)
        if initiator and not responder:
            return (key.initiator, key.responder)
        if not responder and key.initiator_port < key.responder_port:
            return (key.initiator, key.responder)
        return (key.responder, key.initiator)
    if served(key.responder) or key.initiator_port == 0:
        return (key.responder,)
    return (key.responder, key.initiator)


def _hints(flow: Followed, endpoint: Endpoint) -> Hints:
    hints: Hints = flow.passive.hints()
    hints.midstream = flow.midstream
    hints.side = Side.RESPONDER if endpoint == flow.key.responder else Side.INITIATOR
    if flow.handshake_ns:
        hints.rtt_ms = flow.handshake_ns / _MS
    return hints
