"""The heart: what each flow is, as its events and the answers of its endpoints come in.

No sockets, files or clocks: events, answers and `now` go in; records, questions and releases come out. Who asks,
and when, is decided here:

- what the flow's own bytes confirm is not asked;
- what they leave open is asked after a grace that gives the flow time to show itself (`_grace_ns`);
- TCP: the responder, once the connection stands (a scan that passes by is not repeated); the other side only where
  the flow was picked up in the middle and roles are a guess;
- UDP: the responder, then the initiator where the flow looks like peers talking (neither port is a service's);
- FTP's data connections are not asked where their control connection shows that they are (`companions`);
- an endpoint that is cached is not asked, and what the flow's own bytes contradict leaves the cache.
"""

from __future__ import annotations

import heapq
from collections.abc import Callable, Iterable

from flowsonar import limits
from flowsonar.flows.events import Closed, CloseReason, Established, FlowEvent, Opened, Payload
from flowsonar.model import (
    UNKNOWN,
    Announcement,
    Answer,
    Confidence,
    Endpoint,
    Evidence,
    EvidenceKind,
    FlowCounters,
    FlowKey,
    FlowRecord,
    Hints,
    Outcome,
    Question,
    RecordType,
    Side,
    Transport,
    Verdict,
)
from flowsonar.passive import NOTHING, PassiveFlow, PassiveReader
from flowsonar.passive.addresses import address_text
from flowsonar.signatures import Signature, SignatureSet
from flowsonar.verdicts.announced import Announced
from flowsonar.verdicts.cache import Cache
from flowsonar.verdicts.companions import BESIDE, TAKEN, Companions
from flowsonar.verdicts.fusion import contradicts, fuse

__all__ = ["Tracker"]

_MS = 1_000_000

_TCP, _UDP = 6, 17
_WITH_PORTS = frozenset({_TCP, _UDP})
_PROTOCOLS = {
    _TCP: Transport.TCP,
    _UDP: Transport.UDP,
    132: Transport.SCTP,
    1: Transport.ICMP,
    58: Transport.ICMP,
}
# Looking into an enumeration takes Python 3.11 as long as all else that a line does: what every flow needs stands here.
_OTHER = Transport.OTHER
_FLOW, _VERDICT = RecordType.FLOW, RecordType.VERDICT
_ACTIVE, _RST = int(CloseReason.ACTIVE), int(CloseReason.RST)
_CONFIRMED = Confidence.CONFIRMED
_LIKELY = Confidence.LIKELY.rank
_REASONS = {int(reason): reason.name.lower() for reason in CloseReason}


class _Flow:
    """State of one flow while it lives."""

    __slots__ = (
        "asked",
        "beside",
        "closed",
        "established",
        "evidence",
        "first_ns",
        "flow",
        "from_cache",
        "handshake_ns",
        "interface",
        "key",
        "midstream",
        "passive",
        "postponed",
        "quiet",
        "settled",
        "verdict",
        "verdict_ms",
        "waiting",
        "weight",
    )

    def __init__(self, flow: int, key: FlowKey, opened: Opened, passive: PassiveFlow) -> None:
        self.flow = flow
        self.key = key
        self.passive = passive
        self.first_ns = opened.time_ns
        self.interface = opened.interface
        self.midstream = opened.midstream
        self.evidence: list[Evidence] = []
        self.verdict = UNKNOWN
        self.verdict_ms: float | None = None
        self.asked: tuple[Endpoint, ...] = ()  # endpoints asked for this flow, in order; never asked twice
        self.waiting: Endpoint | None = None  # the endpoint whose answer is due
        self.from_cache: Endpoint | None = None  # the endpoint whose cached verdict labels this flow
        self.beside = False  # began when FTP data was to be expected (`companions`)
        self.postponed = False  # nobody is asked before it is known whether it is FTP data
        self.established = opened.protocol != _TCP  # may be asked about
        self.handshake_ns = 0
        self.quiet = 3  # bit 0: the initiator said nothing yet; bit 1: nor did the responder
        self.settled = False  # nothing more is expected of the flow's own bytes
        self.weight = 0  # payload bytes reported so far
        self.closed: Closed | None = None  # the flow ended; its record waits for an answer


class Tracker:
    """Follows flows from first packet to record.

    `ask` is False for passive work; otherwise a flow that ends while its endpoint is being asked is recorded once the
    answer is there. `live` makes `verdict` records as labels are decided. `permits` says why an endpoint may not be
    asked, or None. `own` tells our own probe traffic. After each call `records`, `questions` and `releases` hold what
    came out; the caller empties them.
    """

    def __init__(
        self,
        reader: PassiveReader,
        signatures: SignatureSet,
        *,
        cache: Cache | None = None,
        ask: bool = False,
        live: bool = False,
        permits: Callable[[Endpoint], str | None] = lambda _: None,
        own: Callable[[FlowKey], bool] | None = None,
        interfaces: tuple[str, ...] | list[str] = (),
    ) -> None:
        self._reader = reader
        self._signatures = signatures
        self._cache = cache
        self._ask = ask
        self._live = live
        self._permits = permits
        self._own = own
        self.interfaces = interfaces
        # Packets of several interfaces come in blocks of up to 4 ms each: what another one has seen of this flow, or
        # has heard announced, is waited for before anybody is asked.
        self._mixed_ns = 5 * _MS if live and len(interfaces) > 1 else 0
        self._flows: dict[int, _Flow] = {}
        self._waiting: dict[Endpoint, list[int]] = {}  # flows that wait for an endpoint's answer
        self._due: list[tuple[int, int]] = []  # heap of (time_ns, flow): when a silent flow's grace is over
        self._announced = Announced()
        self._companions = Companions(self._served)
        self._hidden, self._suspects = self._companions.hidden, self._companions.suspects  # nearly always empty
        self.records: list[FlowRecord] = []
        self.questions: list[Question] = []
        self.releases: list[int] = []
        self.follows: list[int] = []
        self.counts: dict[str, int] = {
            "flows": 0,
            "own_flows": 0,
            "questions": 0,
            "questions_not_permitted": 0,
            "questions_dropped": 0,
            "announcements_dropped": 0,
            "cache_contradicted": 0,
            "flow_evidence_dropped": 0,
        }

    def __len__(self) -> int:
        return len(self._flows)

    # -- what comes in ------------------------------------------------------------------------------------------

    def feed(self, events: Iterable[FlowEvent], now_ns: int | None = None) -> None:
        """Take events of the flow table; `now_ns` is the clock when live, None to go by packet time."""
        for event in events:
            kind = type(event)
            if kind is Payload:
                flow = self._flows.get(event.flow)
                if flow is None:
                    continue
                if not flow.settled:
                    self._payload(flow, event, event.time_ns if now_ns is None else now_ns)  # type: ignore[arg-type]
                elif self._hidden:
                    self._companions.spoke(flow.flow, event.direction, event.data, event.time_ns)  # type: ignore[union-attr]
            elif kind is Opened:
                self._opened(event, event.time_ns if now_ns is None else now_ns)  # type: ignore[arg-type]
            elif kind is Established:
                if self._ask:
                    self._established(event, event.time_ns if now_ns is None else now_ns)  # type: ignore[arg-type]
            else:
                self._closed(event)  # type: ignore[arg-type]

    def answer(self, answer: Answer, now_ns: int) -> None:
        """Take what asking an endpoint gave; every flow that waits for it gets it."""
        endpoint = answer.endpoint
        verdict = fuse(answer.evidence, self._signatures.traffic_class)
        if self._cache is not None and answer.outcome not in (Outcome.NOT_PERMITTED, Outcome.CANCELLED):
            if verdict.confidence.rank >= _LIKELY:
                self._cache.learned(endpoint, verdict, now_ns / 1e9)
            else:
                self._cache.failed(endpoint, answer.outcome, now_ns / 1e9, verdict)
        for number in self._waiting.pop(endpoint, ()):
            flow = self._flows.get(number)
            if flow is None:
                continue
            flow.waiting = None
            self._companions.answered(flow)
            self._inherit(flow, endpoint, answer.evidence, now_ns)
            if answer.outcome is Outcome.REFUSED and BESIDE in flow.evidence:
                self._add(flow, (TAKEN,), now_ns)
            if answer.outcome is not Outcome.CANCELLED:
                self._consider(flow, now_ns)
            if flow.closed is not None and flow.waiting is None and not flow.postponed:
                self._finish(flow, flow.closed)

    def due(self, now_ns: int) -> None:
        """Ask about flows whose grace is over."""
        while self._due and self._due[0][0] <= now_ns:
            _, number = heapq.heappop(self._due)
            flow = self._flows.get(number)
            if flow is not None and flow.waiting is None:
                flow.postponed = False
                self._consider(flow, now_ns)
                if flow.closed is not None and flow.waiting is None and not flow.postponed:
                    self._finish(flow, flow.closed)

    def stop_asking(self) -> None:
        """The end is near: flows are recorded with what is known."""
        self._ask = False
        self._due = [(0, flow.flow) for flow in self._flows.values() if flow.postponed]
        self.due(0)

    @property
    def next_due_ns(self) -> int | None:
        """When `due` wants to be called next."""
        return self._due[0][0] if self._due else None

    # -- flows --------------------------------------------------------------------------------------------------

    def _opened(self, event: Opened, now_ns: int) -> None:
        number, _, protocol, initiator, initiator_port, responder, responder_port, vlan, _, _ = event
        key = FlowKey(
            _PROTOCOLS.get(protocol, _OTHER),
            address_text(initiator),
            initiator_port,
            address_text(responder),
            responder_port,
            vlan,
        )
        if self._own is not None and self._own(key):
            self.counts["own_flows"] += 1
            self.releases.append(number)
            return
        self.counts["flows"] += 1
        flow = self._flows[number] = _Flow(number, key, event, self._reader.open(event))
        if protocol not in _WITH_PORTS:
            return
        if self._hidden or self._suspects:
            flow.beside = not flow.midstream and self._companions.expects(key)
        evidence = self._announced.opened(key, number, midstream=flow.midstream, now_ns=now_ns)
        if evidence is not None:
            self._was_announced(flow, evidence, now_ns)
            return
        if self._cache is not None:
            self._from_cache(flow, now_ns)

    def _established(self, event: Established, now_ns: int) -> None:
        flow = self._flows.get(event.flow)
        if flow is None:
            return
        flow.established = True
        flow.handshake_ns = event.handshake_ns
        if flow.quiet != 3:  # data came within the SYN
            self._schedule(flow, now_ns)
        elif not flow.settled and flow.verdict.confidence is not _CONFIRMED:
            heapq.heappush(self._due, (now_ns + self._grace_ns(flow), flow.flow))

    def _payload(self, flow: _Flow, event: Payload, now_ns: int) -> None:
        if self._ask:
            flow.quiet &= ~(1 << event.direction)
            flow.weight += event.wire_length
            flow.handshake_ns = event.handshake_ns or flow.handshake_ns
        findings = self._reader.payload(flow.passive, event)
        if findings is not NOTHING:
            evidence, announcements, done, follow = findings
            for announcement in announcements:
                self._announce(announcement, now_ns)
            if evidence:
                self._add(flow, evidence, now_ns)
            if follow:
                self.follows.append(flow.flow)
            if done:
                flow.settled = True
                if not self._companions.is_hidden(flow.flow):
                    self.releases.append(flow.flow)
        elif flow.beside:
            self._add(flow, (), now_ns)
        if self._ask and flow.waiting is None and flow.established:
            self._schedule(flow, now_ns)

    def _closed(self, event: Closed) -> None:
        flow = self._flows.get(event.flow)
        if flow is None:
            return
        reason = event.reason
        if reason == _ACTIVE:
            self._record_flow(flow, event)
            return
        evidence = self._reader.close(flow.passive).evidence
        if evidence:
            self._add(flow, evidence, event.time_ns, report=False)
        flow.settled = True
        if self._ask and flow.waiting is None and not (flow.quiet == 3 and reason == _RST):
            self._consider(flow, event.time_ns)
        self._companions.ended(flow.flow)
        if flow.waiting is None and not flow.postponed:
            self._finish(flow, event)
        else:
            flow.closed = event

    def _finish(self, flow: _Flow, event: Closed) -> None:
        del self._flows[flow.flow]
        self._record_flow(flow, event)

    def _record_flow(self, flow: _Flow, event: Closed) -> None:
        number, _, reason, first_ns, last_ns, to_server, to_client, bytes_to_server, bytes_to_client, *_ = event
        self.records.append(
            FlowRecord(
                _FLOW,
                last_ns,
                number,
                flow.key,
                flow.verdict,
                FlowCounters(to_server, to_client, bytes_to_server, bytes_to_client, first_ns, last_ns),
                flow.verdict_ms,
                flow.midstream,
                _REASONS[reason],
                self._interface(flow),
            )
        )

    def _interface(self, flow: _Flow) -> str:
        return self.interfaces[flow.interface] if flow.interface < len(self.interfaces) else ""

    # -- evidence -----------------------------------------------------------------------------------------------

    def _add(self, flow: _Flow, evidence: Iterable[Evidence], now_ns: int, *, report: bool = True) -> None:
        for piece in evidence:
            if len(flow.evidence) < limits.EVIDENCE_ITEMS:
                flow.evidence.append(piece)
            else:
                self.counts["flow_evidence_dropped"] += 1
        if flow.from_cache is not None:
            self._check_cache(flow)
        if flow.beside:
            self._companions.weigh(flow)
        before = flow.verdict
        verdict = fuse(flow.evidence, self._signatures.traffic_class, flow.passive.name)
        flow.verdict = verdict
        control = verdict.service == "ftp" and verdict.confidence.rank >= _LIKELY and flow.closed is None
        if control and self._companions.note(flow, now_ns):
            self.follows.append(flow.flow)  # when it speaks, a data connection may follow
        if verdict.service is None or _label(verdict) == _label(before):
            return
        flow.verdict_ms = max(0.0, (now_ns - flow.first_ns) / _MS)
        if report and self._live and verdict.confidence.rank >= _LIKELY:
            self.records.append(self._record(flow, now_ns))
        if self._cache is not None and self._live:
            self._learn(flow, now_ns)

    def _record(self, flow: _Flow, now_ns: int) -> FlowRecord:
        return FlowRecord(
            type=_VERDICT,
            time_ns=now_ns,
            flow_id=flow.flow,
            key=flow.key,
            verdict=flow.verdict,
            verdict_ms=flow.verdict_ms,
            midstream=flow.midstream,
            interface=self._interface(flow),
            counters=FlowCounters(first_ns=flow.first_ns, last_ns=now_ns),
        )

    def _inherit(self, flow: _Flow, endpoint: Endpoint, evidence: Iterable[Evidence], now_ns: int) -> None:
        """Evidence about one endpoint becomes evidence about the flow.

        What the initiator's port serves does not prove what it says to somebody else's port, unless the service
        is one of peers (`peers = true`): such evidence counts as `likely` at most.
        """
        side = Side.RESPONDER if endpoint == flow.key.responder else Side.INITIATOR
        pieces = []
        for piece in evidence:
            confidence = piece.confidence
            if side is Side.INITIATOR and not flow.midstream and confidence is _CONFIRMED:
                signature: Signature | None = self._signatures.services.get(piece.service or "")
                if signature is None or not signature.peers:
                    confidence = Confidence.LIKELY
            pieces.append(piece._replace(side=side, confidence=confidence))
        if pieces:
            self._add(flow, pieces, now_ns)

    # -- announced flows ----------------------------------------------------------------------------------------

    def _announce(self, announcement: Announcement, now_ns: int) -> None:
        before = self._announced.announce(announcement, now_ns)
        self.counts["announcements_dropped"] = self._announced.dropped
        flow = self._flows.get(before) if before is not None else None
        if flow is not None and abs(now_ns - flow.first_ns) < limits.ANNOUNCED_EARLY_S * 1_000_000_000:
            evidence = self._announced.find(flow.key, midstream=flow.midstream, now_ns=now_ns)
            if evidence is not None:
                self._was_announced(flow, evidence, now_ns)

    def _was_announced(self, flow: _Flow, evidence: Evidence, now_ns: int) -> None:
        flow.settled = True
        self.releases.append(flow.flow)
        self._add(flow, (evidence,), now_ns)

    # -- the cache ----------------------------------------------------------------------------------------------

    def _from_cache(self, flow: _Flow, now_ns: int) -> None:
        assert self._cache is not None
        for endpoint in self._both_sides(flow):
            cached = self._cache.verdict(endpoint, now_ns / 1e9)
            if cached is None or cached.service is None:
                continue
            flow.from_cache = endpoint
            evidence = Evidence(
                kind=EvidenceKind.ENDPOINT,
                service=cached.service,
                confidence=cached.confidence,
                over=cached.over,
                product=cached.product,
                version=cached.version,
                cpe=cached.cpe,
                detail="known from before",
            )
            self._inherit(flow, endpoint, (evidence,), now_ns)
            return

    def _check_cache(self, flow: _Flow) -> None:
        """What the flow's own bytes contradict leaves the cache, and no longer labels the flow."""
        own = [piece for piece in flow.evidence if piece.kind is EvidenceKind.PAYLOAD]
        cached = [piece for piece in flow.evidence if piece.kind is EvidenceKind.ENDPOINT]
        if not cached or not any(contradicts(fuse(cached, self._signatures.traffic_class), piece) for piece in own):
            return
        assert self._cache is not None
        assert flow.from_cache is not None
        self.counts["cache_contradicted"] += 1
        self._cache.forget(flow.from_cache)
        flow.from_cache = None
        flow.evidence = [piece for piece in flow.evidence if piece.kind is not EvidenceKind.ENDPOINT]

    def _learn(self, flow: _Flow, now_ns: int) -> None:
        """What the responder said by itself is as good as an answer: later flows inherit it."""
        said = [
            piece
            for piece in flow.evidence
            if piece.kind is EvidenceKind.PAYLOAD and piece.side is Side.RESPONDER and piece.confidence is _CONFIRMED
        ]
        if said and flow.verdict.confidence is _CONFIRMED and not flow.midstream:
            assert self._cache is not None
            verdict = fuse(said, self._signatures.traffic_class)
            if verdict.service == flow.verdict.service:
                self._cache.learned(flow.key.responder, verdict, now_ns / 1e9)

    # -- asking -------------------------------------------------------------------------------------------------

    def _grace_ns(self, flow: _Flow) -> int:
        """How long a flow may take to show itself before its endpoint is asked, from now.

        A greeting comes a round trip after the handshake, a reply a round trip after the request; RTT is known
        from the handshake or not at all, then 40 ms stand in: less than a person notices, more than most LANs need.
        """
        if flow.handshake_ns:
            return min(flow.handshake_ns * 5 // 4 + 10 * _MS, 1000 * _MS)
        return 40 * _MS

    def _schedule(self, flow: _Flow, now_ns: int) -> None:
        """After a payload: ask now, or give the other side time for its word, or not at all."""
        verdict = flow.verdict
        if verdict.confidence is _CONFIRMED and not self._opaque(verdict):
            return
        if self._opaque(verdict) or flow.quiet == 0 or verdict.service is None:
            if self._mixed_ns:
                wait_ns = self._mixed_ns * 4 if self._companions.announces(flow.key) else self._mixed_ns
                heapq.heappush(self._due, (now_ns + wait_ns, flow.flow))
            else:
                self._consider(flow, now_ns)
        else:
            heapq.heappush(self._due, (now_ns + self._grace_ns(flow), flow.flow))

    def _opaque(self, verdict: Verdict) -> bool:
        """A carrier that nobody looked into yet."""
        return verdict.service in ("tls", "dtls", "quic") and verdict.over is None

    def _both_sides(self, flow: _Flow) -> tuple[Endpoint, ...]:
        """Endpoints that may say what the flow is, best first."""
        key = flow.key
        if key.transport is Transport.TCP:
            if not flow.midstream:
                return (key.responder,)
            responder, initiator = self._served(key.responder), self._served(key.initiator)
            if initiator and not responder:
                return (key.initiator, key.responder)
            if not responder and key.initiator_port < key.responder_port:
                return (key.initiator, key.responder)
            return (key.responder, key.initiator)
        if self._served(key.responder) or key.initiator_port == 0:
            return (key.responder,)
        return (key.responder, key.initiator)

    def _served(self, endpoint: Endpoint) -> bool:
        return endpoint.port < 1024 or bool(self._signatures.by_port(endpoint.transport, endpoint.port))

    def _consider(self, flow: _Flow, now_ns: int) -> None:
        """Ask the next endpoint of a flow that is still unsure."""
        key = flow.key
        verdict = flow.verdict
        if not self._ask or not flow.established or key.transport not in (Transport.TCP, Transport.UDP):
            return
        if verdict.confidence is _CONFIRMED and not self._opaque(verdict):
            return
        if self._may_be_data(flow, now_ns):
            return
        verdict = flow.verdict
        for endpoint in self._both_sides(flow):
            if endpoint in flow.asked:
                continue
            if flow.asked and verdict.confidence.rank >= _LIKELY:
                return
            flow.asked = (*flow.asked, endpoint)
            if self._permits(endpoint) is not None:
                self.counts["questions_not_permitted"] += 1
                continue
            if self._cache is not None and not self._cache.may_ask(endpoint, now_ns / 1e9):
                continue
            self._question(flow, endpoint)
            if flow.waiting is not None and self._opaque(verdict):
                self._companions.asking(flow, endpoint)
            return

    def _may_be_data(self, flow: _Flow, now_ns: int) -> bool:
        """Whether a flow must not be asked yet: it may be FTP data whose announcement is hidden.

        Its port is asked when the transfer's connection has long been taken: a second one is then refused.
        """
        flow.postponed = False
        if flow.asked:
            return False
        if flow.beside:
            self._add(flow, (), now_ns)
            settled_ns = flow.first_ns + limits.DATA_PORT_WAIT_MS * _MS
            if BESIDE in flow.evidence and self._live:
                flow.postponed = now_ns < settled_ns
                if flow.postponed:
                    heapq.heappush(self._due, (settled_ns, flow.flow))
                return flow.postponed
        if self._live and self._companions.postpones(flow, now_ns):
            flow.postponed = flow.beside = True
            heapq.heappush(self._due, (now_ns + 10 * _MS, flow.flow))
        return flow.postponed

    def _question(self, flow: _Flow, endpoint: Endpoint) -> None:
        waiting = self._waiting.get(endpoint)
        if waiting is not None:
            if len(waiting) < limits.FLOWS_WAITING_PER_ENDPOINT:
                waiting.append(flow.flow)
                flow.waiting = endpoint
            return
        if len(self._waiting) >= limits.QUESTIONS_WAITING:
            self.counts["questions_dropped"] += 1
            return
        hints: Hints = flow.passive.hints()
        hints.midstream = flow.midstream
        hints.side = Side.RESPONDER if endpoint == flow.key.responder else Side.INITIATOR
        if flow.handshake_ns:
            hints.rtt_ms = flow.handshake_ns / _MS
        self._waiting[endpoint] = [flow.flow]
        flow.waiting = endpoint
        self.counts["questions"] += 1
        self.questions.append(Question(endpoint=endpoint, hints=hints, weight=flow.weight))


def _label(verdict: Verdict) -> tuple[object, ...]:
    return (verdict.service, verdict.over, verdict.confidence, verdict.product, verdict.version)
