"""The heart: what each flow is, as its events and the answers of its endpoints come in.

No sockets, files or clocks: events, answers and `now` go in; records, questions and releases come out. Whom to ask,
and when, is decided in `inquiry`; what is known of an endpoint labels its flows at once, and what a flow's own bytes
contradict leaves the cache.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator

from flowsonar import limits
from flowsonar.flows.events import Closed, CloseReason, Established, FlowEvent, Opened, Payload
from flowsonar.model import (
    TRANSPORTS,
    Announcement,
    Answer,
    Confidence,
    Endpoint,
    Evidence,
    FlowCounters,
    FlowKey,
    FlowRecord,
    Outcome,
    Question,
    RecordType,
    Side,
    Transport,
    Verdict,
)
from flowsonar.passive import NOTHING, PassiveReader
from flowsonar.passive.addresses import address_text
from flowsonar.passive.held import FULL
from flowsonar.passive.suspects import unidentified
from flowsonar.signatures import SignatureSet
from flowsonar.verdicts.announced import Announced
from flowsonar.verdicts.cache import Cache
from flowsonar.verdicts.companions import BESIDE, TAKEN, Companions
from flowsonar.verdicts.followed import TCP, Began, Followed
from flowsonar.verdicts.fusion import fuse
from flowsonar.verdicts.inheritance import Inheritance
from flowsonar.verdicts.inherited import remembered
from flowsonar.verdicts.inquiry import Inquiry, is_opaque
from flowsonar.verdicts.neighbours import Neighbours
from flowsonar.verdicts.peerhosts import PeerHosts
from flowsonar.verdicts.sisters import sisters

__all__ = ["Tracker"]

_MS = 1_000_000

_UDP = 17
_FAREWELL = 4
"""Packets in which a connection ends: no more than these were seen of one that had been given up before."""
_WITH_PORTS = frozenset({TCP, _UDP})
# Looking into an enumeration takes Python 3.11 as long as all else that a line does: what every flow needs stands here.
_OTHER = Transport.OTHER
_FLOW, _VERDICT = RecordType.FLOW, RecordType.VERDICT
_ACTIVE, _RST = int(CloseReason.ACTIVE), int(CloseReason.RST)
_CONFIRMED = Confidence.CONFIRMED
_LIKELY = Confidence.LIKELY.rank
_REASONS = {int(reason): reason.name.lower() for reason in CloseReason}


class Tracker:
    """Follows flows from first packet to record.

    `ask` is False for passive work; otherwise a flow that ends while its endpoint is being asked is recorded once the
    answer is there. `live` makes `verdict` records as labels are decided. `permits` says why an endpoint may not be
    asked, or None. `own` tells our own probe traffic. `decided` is called with a flow's number, key and verdict the
    moment its label is decided or changes (`likely` or better; a label that is taken back is called with what is left).
    After each call `records`, `questions` and `releases` hold what came out; the caller empties them.
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
        decided: Callable[[int, FlowKey, Verdict], None] | None = None,
        interfaces: tuple[str, ...] | list[str] = (),
    ) -> None:
        self._reader = reader
        self._signatures = signatures
        self._ask = ask
        self._live = live
        self._own = own
        self._decided = decided
        self.interfaces = interfaces
        self._flows: dict[int, Followed] = {}
        self._announced = Announced()
        self._companions = Companions(self._served)
        self._neighbours = Neighbours(signatures)
        self._peer_hosts = PeerHosts(signatures)
        self._hidden, self._suspects = self._companions.hidden, self._companions.suspects  # nearly always empty
        self.records: list[FlowRecord] = []
        self.releases: list[int] = []
        self.follows: list[int] = []
        self.withdrawn: list[Endpoint] = []  # endpoints whose questions are taken back
        self.expected: list[Endpoint] = []  # endpoints about which a question is likely to come
        self.began: Began | None = None  # of the flow that is opened next; set by the caller
        self.foretold: Callable[[Announcement], None] | None = None  # called before an announcement is taken
        self.counts: dict[str, int] = {
            "flows": 0,
            "own_flows": 0,
            "questions": 0,
            "questions_not_permitted": 0,
            "questions_dropped": 0,
            "announcements_dropped": 0,
            "cache_contradicted": 0,
            "flow_evidence_dropped": 0,
            FULL: 0,
        }
        reader.held.counts = self.counts
        self._inheritance = Inheritance(signatures, cache, self._add, served=self._served, counts=self.counts)
        self._inquiry = Inquiry(
            self._companions,
            self._neighbours,
            counts=self.counts,
            cache=cache,
            permits=permits,
            served=self._served,
            refresh=lambda flow, now_ns: self._add(flow, (), now_ns),
            inherit=self._inheritance.give_known,
            live=live,
            # Packets of several interfaces come in blocks of up to 4 ms each: what another one has seen of this
            # flow, or has heard announced, is waited for before anybody is asked.
            mixed_ns=5 * _MS if live and len(interfaces) > 1 else 0,
        )

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
        if not answer.final:
            waiting = map(self._flows.get, self._inquiry.waiting(endpoint))
            self._inheritance.tell_early(answer, [flow for flow in waiting if flow is not None], now_ns)
            return
        verdict = self._fused(answer.evidence)
        whole = bool(self._inquiry.waiting(endpoint)) or not self._neighbours.asks(endpoint)  # not one datagram only
        self._inheritance.remember(answer, verdict, now_ns, whole=whole)
        if endpoint.transport is Transport.UDP:
            self._heard_beside(answer, verdict, now_ns)
        early = self._inheritance.take_early(endpoint)
        for number in self._inquiry.answered(endpoint):
            flow = self._flows.get(number)
            if flow is None:
                continue
            flow.waiting = None
            for piece in early:
                flow.evidence = [kept for kept in flow.evidence if not _same(kept, piece)]
            self._companions.answered(flow)
            self._inheritance.give(flow, endpoint, answer.evidence, now_ns)
            if early and not answer.evidence:
                self._add(flow, (), now_ns)
            if answer.outcome is Outcome.REFUSED and BESIDE in flow.evidence:
                self._add(flow, (TAKEN,), now_ns)
            if answer.outcome is not Outcome.CANCELLED:
                self._inquiry.consider(flow, now_ns)
            if flow.waiting is None:
                self._weigh_unknown(flow, f"its endpoint's answer: {answer.outcome}", now_ns)
            if flow.closed is not None and flow.waiting is None and not flow.postponed:
                self._finish(flow, flow.closed)

    def _heard_beside(self, answer: Answer, verdict: Verdict, now_ns: int) -> None:
        """What a port answers over UDP, for the TCP flows of the same number that look like it."""
        flows, evidence = self._neighbours.answered(answer, verdict)
        for number in flows if evidence is not None else ():
            flow = self._flows.get(number)
            if flow is not None and evidence is not None and flow.verdict.confidence is not _CONFIRMED:
                tcp = answer.endpoint._replace(transport=Transport.TCP)
                self._inheritance.give(flow, tcp, (evidence,), now_ns)

    def _weigh_unknown(self, flow: Followed, why: str, now_ns: int) -> None:
        """What nobody could identify may look enciphered: no label, but something to group and shape it by."""
        if flow.verdict.service is not None or flow.verdict.encrypted:
            return
        piece = unidentified(flow.passive.firsts, why)
        if piece is not None:
            self._add(flow, (piece,), now_ns)
            if self._decided is not None:
                self._decided(flow.flow, flow.key, flow.verdict)

    def due(self, now_ns: int) -> None:
        """Ask about flows whose grace is over."""
        for number in self._inquiry.due(now_ns):
            flow = self._flows.get(number)
            if flow is not None and flow.waiting is None:
                flow.postponed = False
                self._inquiry.consider(flow, now_ns)
                if flow.closed is not None and flow.waiting is None and not flow.postponed:
                    self._finish(flow, flow.closed)

    def clock_jumped(self, jump_ns: int) -> None:
        """The clock that `now_ns` goes by was set: what is to come comes as soon as it would have come."""
        self._inquiry.move(jump_ns)

    def stop_asking(self) -> None:
        """The end is near: flows are recorded with what is known."""
        self._ask = False
        self._inquiry.stop([flow.flow for flow in self._flows.values() if flow.postponed])
        self.due(0)

    @property
    def next_due_ns(self) -> int | None:
        """When `due` wants to be called next."""
        return self._inquiry.next_due_ns

    @property
    def questions(self) -> list[Question]:
        """Endpoints to ask."""
        return self._inquiry.questions

    def flow(self, number: int) -> Followed | None:
        """The state of a flow that lives."""
        return self._flows.get(number)

    def labelled(self) -> Iterator[tuple[int, FlowKey, Verdict]]:
        """Flows that live and have a label, `likely` or better: for who decides about them anew."""
        for number, flow in self._flows.items():
            if flow.verdict.confidence.rank >= _LIKELY:
                yield number, flow.key, flow.verdict

    @property
    def hidden(self) -> Iterable[tuple[str, str]]:
        """Hosts between which an FTP control connection inside TLS is open."""
        return self._hidden

    # -- flows --------------------------------------------------------------------------------------------------

    def _opened(self, event: Opened, now_ns: int) -> None:
        number, _, protocol, initiator, initiator_port, responder, responder_port, vlan, *_ = event
        key = FlowKey(
            TRANSPORTS.get(protocol, _OTHER),
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
        flow = self._flows[number] = Followed(number, key, event, self._reader.open(event))
        began, self.began = self.began, None
        if began is not None:
            flow.told = began.told
        if protocol not in _WITH_PORTS:
            return
        if self._hidden or self._suspects:
            flow.beside = not flow.midstream and self._companions.expects(key)
        evidence = self._announced.opened(key, number, midstream=flow.midstream, now_ns=now_ns)
        if evidence is not None:
            self._was_announced(flow, evidence, now_ns)
            return
        if began is not None:
            if began.verdict is not None:
                endpoint = key.responder if began.side is Side.RESPONDER else key.initiator
                self._inheritance.give_kept(flow, endpoint, began.verdict, now_ns)
        elif not flow.hops:
            self._inheritance.give_cached(flow, now_ns)
        flow.informed = False
        if (
            self._ask
            and self._live
            and self._peer_hosts.speaks(key.initiator_address, now_ns)
            and self._inquiry.expects(flow, now_ns)
        ):
            self.expected.append(key.responder)

    def _established(self, event: Established, now_ns: int) -> None:
        flow = self._flows.get(event.flow)
        if flow is None:
            return
        flow.established = True
        flow.handshake_ns = event.handshake_ns
        self._inquiry.established(flow, now_ns)

    def _payload(self, flow: Followed, event: Payload, now_ns: int) -> None:
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
        if self._ask:
            self._inquire(flow, now_ns)

    def _inquire(self, flow: Followed, now_ns: int) -> None:
        """Ask somebody after a payload, or do without an answer that is under way."""
        if flow.waiting is not None:
            if flow.verdict.confidence is _CONFIRMED and not is_opaque(flow.verdict):
                self._needs_no_answer(flow)
            else:
                self._inquiry.tells(flow)
        elif flow.established:
            self._inquiry.heard(flow, now_ns)
            if flow.asked and flow.waiting is None and not flow.quiet:
                self._weigh_unknown(flow, "no endpoint that may be asked tells", now_ns)

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
        ends = reason == _RST or (self._live and flow.midstream and event[5] + event[6] <= _FAREWELL)
        over = flow.quiet == 3 and ends  # nobody said a byte, nor will
        if self._ask and flow.waiting is None and not over:
            self._inquiry.consider(flow, event.time_ns)
        self._companions.ended(flow.flow)
        if flow.waiting is None and not flow.postponed:
            self._finish(flow, event)
        else:
            flow.closed = event

    def _finish(self, flow: Followed, event: Closed) -> None:
        del self._flows[flow.flow]
        self._record_flow(flow, event)

    def _record_flow(self, flow: Followed, event: Closed) -> None:
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
                flow.hops,
            )
        )

    def _interface(self, flow: Followed) -> str:
        return self.interfaces[flow.interface] if flow.interface < len(self.interfaces) else ""

    # -- evidence -----------------------------------------------------------------------------------------------

    def _add(self, flow: Followed, evidence: Iterable[Evidence], now_ns: int, *, report: bool = True) -> None:
        for piece in evidence:
            if len(flow.evidence) < limits.EVIDENCE_ITEMS:
                flow.evidence.append(piece)
            else:
                self.counts["flow_evidence_dropped"] += 1
        if flow.from_cache is not None:
            self._inheritance.check(flow)
        if flow.beside:
            self._companions.weigh(flow)
        before = flow.verdict
        verdict = self._fused(flow.evidence, flow.passive.name)
        flow.verdict = verdict
        control = verdict.service == "ftp" and verdict.confidence.rank >= _LIKELY and flow.closed is None
        if control and self._companions.note(flow, now_ns):
            self.follows.append(flow.flow)  # when it speaks, a data connection may follow
        if _label(verdict) == _label(before):
            return
        if self._decided is not None and max(verdict.confidence.rank, before.confidence.rank) >= _LIKELY:
            self._decided(flow.flow, flow.key, verdict)
        if verdict.service is None:
            return
        for announcement in sisters(flow.key, verdict, self._signatures, midstream=flow.midstream):
            flow.announces = True
            self._announce(announcement, now_ns)
        flow.verdict_ms = max(0.0, (now_ns - flow.first_ns) / _MS)
        self._peer_hosts.told(flow.key.initiator_address, verdict, now_ns)
        if report and self._live and verdict.confidence.rank >= _LIKELY:
            self._tell(flow, now_ns)
        if self._live and not flow.hops:
            self._learn(flow, now_ns)

    def _tell(self, flow: Followed, now_ns: int) -> None:
        if flow.told:
            flow.told -= 1
        else:
            self.records.append(self._record(flow, now_ns))

    def _record(self, flow: Followed, now_ns: int) -> FlowRecord:
        return FlowRecord(
            type=_VERDICT,
            time_ns=now_ns,
            flow_id=flow.flow,
            key=flow.key,
            verdict=flow.verdict,
            verdict_ms=flow.verdict_ms,
            midstream=flow.midstream,
            interface=self._interface(flow),
            hops=flow.hops,
            counters=FlowCounters(first_ns=flow.first_ns, last_ns=now_ns),
        )

    # -- announced flows ----------------------------------------------------------------------------------------

    def _announce(self, announcement: Announcement, now_ns: int) -> None:
        if self.foretold is not None:
            self.foretold(announcement)
        before = self._announced.announce(announcement, now_ns)
        self.counts["announcements_dropped"] = self._announced.dropped
        flow = self._flows.get(before) if before is not None else None
        if flow is not None and abs(now_ns - flow.first_ns) < limits.ANNOUNCED_EARLY_S * 1_000_000_000:
            evidence = self._announced.find(flow.key, midstream=flow.midstream, now_ns=now_ns)
            if evidence is not None:
                self._was_announced(flow, evidence, now_ns)

    def _was_announced(self, flow: Followed, evidence: Evidence, now_ns: int) -> None:
        if evidence.confidence is _CONFIRMED:  # else its own bytes may still make it sure
            flow.settled = True
            self.releases.append(flow.flow)
        self._add(flow, (evidence,), now_ns)

    def _fused(self, evidence: Iterable[Evidence], name: str | None = None) -> Verdict:
        return fuse(evidence, self._signatures.traffic_class, name, self._signatures.parents)

    def _learn(self, flow: Followed, now_ns: int) -> None:
        said = self._inheritance.learn(flow, now_ns)
        if said is not None:
            self._found_out(flow.key.responder, said, now_ns)

    def _needs_no_answer(self, flow: Followed) -> None:
        """What a flow waited for it has shown by itself."""
        endpoint = self._inquiry.leave(flow)
        self._companions.answered(flow)
        if endpoint is not None:
            self._inheritance.take_early(endpoint)
            self.withdrawn.append(endpoint)

    def _found_out(self, endpoint: Endpoint, verdict: Verdict, now_ns: int) -> None:
        """An endpoint that is being asked has said by itself what it is: nobody waits for its answer any more.

        One that says TLS is asked on: what is inside it does not say.
        """
        if is_opaque(verdict) or not self._inquiry.waiting(endpoint):
            return
        self.withdrawn.append(endpoint)
        self._inheritance.take_early(endpoint)
        for number in self._inquiry.answered(endpoint):
            other = self._flows.get(number)
            if other is None:
                continue
            other.waiting = None
            self._companions.answered(other)
            if other.verdict.confidence is not _CONFIRMED:
                self._inheritance.give(other, endpoint, (remembered(verdict),), now_ns)
            if other.closed is not None:
                self._finish(other, other.closed)

    def _served(self, endpoint: Endpoint) -> bool:
        return endpoint.port < 1024 or bool(self._signatures.by_port(endpoint.transport, endpoint.port))


def _same(kept: Evidence, told: Evidence) -> bool:
    """Whether a flow's piece is what was told early of its endpoint: a flow knows its side and may lower it."""
    return (kept.probe, kept.signature, kept.data) == (told.probe, told.signature, told.data)


def _label(verdict: Verdict) -> tuple[object, ...]:
    return (verdict.service, verdict.over, verdict.confidence, verdict.product, verdict.version)
