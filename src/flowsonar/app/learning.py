"""The fast lane's teacher: flows that need Python get it, and what they come to is told to the table.

The first flow that takes a path (see `lanes`) goes through `Tracker` and `PassiveReader`, as all do where there is no
fast lane; what they made of it is what the table says of every later flow with that path. So the fast lane cannot say
anything that they would not say. A flow whose verdict depends on more than its path is never learned: see
`_needs_python`.
"""

from __future__ import annotations

from enum import IntFlag
from functools import lru_cache
from socket import AF_INET, AF_INET6, inet_pton
from typing import TYPE_CHECKING, Final

from flowsonar.app.lanes import LaneTable
from flowsonar.flows.events import Closed, FlowEvent, Opened, Payload
from flowsonar.model import Announcement, Evidence, EvidenceKind, FlowRecord, RecordType, Verdict
from flowsonar.outputs.eve import HELLO, HELLO_REST, proto, verdict_template
from flowsonar.passive import PassiveReader
from flowsonar.passive.datagrams import message_type
from flowsonar.passive.flow import PassiveFlow
from flowsonar.passive.held import FULL
from flowsonar.verdicts.followed import Followed
from flowsonar.verdicts.tracker import Tracker

if TYPE_CHECKING:
    from flowsonar.app.known import Known

__all__ = ["REOPENED", "Shape", "Teacher"]

REOPENED: Final = 1 << 31
"""In what stands beside an event: how a flow began in the fast lane is told there (`_native/live.h`)."""

_TLS_HELLOS: Final = {"dtls/client-hello": "ClientHello, DTLS ", "tls/client-hello": "ClientHello, "}
"""How the detail begins that the codec gives; a hello that it cannot read has its pattern's."""
_LEARNED_SLOTS: Final = frozenset(
    {
        "opened", "protocol", "done", "name", "alpn", "first_speaker", "firsts", "seconds", "counts", "services",
        "rank", "said", "query", "tls", "hold", "sequence", "quic", "media", "messages",
    }
)  # fmt: skip
"""State of a passive flow that its path tells. All else that is set makes it one for Python."""


class Shape(IntFlag):
    """What a node means: `enum shape_flags` in `_native/shapes.h`."""

    KNOWN = 1
    PYTHON = 2
    LABELS = 4
    DONE = 8
    NAMED = 16
    TOLD = 32
    QUIET_INITIATOR = 64
    QUIET_RESPONDER = 128
    TLS = 256
    READ_INITIATOR = 512
    READ_RESPONDER = 1024
    IN_QUIC = 2048
    SURE = 4096
    MEDIA = 8192
    MESSAGE = 16384
    PASSING = 32768


class Teacher:
    """The Python side of one capture's table, or of a live one, which has `known` and the clock in `now_ns`."""

    def __init__(self, table: LaneTable, tracker: Tracker, reader: PassiveReader, known: Known | None = None) -> None:
        self.now_ns: int | None = None
        self._known = known
        self.tracker = tracker
        self._table = table
        self._tracker = tracker
        self._reader = reader
        self._watched: set[bytes] = set()
        self._texts: dict[int, bytes] = {}
        self._doubting = False
        self._kept = lru_cache(maxsize=4096)(self._keep)  # its own, so that it ends with its capture
        tracker.foretold = self._foretold

    def close(self) -> None:
        """Take apart the rings of references between this, the tracker and the table."""
        self._tracker.foretold = None
        del self._kept

    def take(self, events: list[FlowEvent], nodes: list[int] | None) -> None:
        """Take events, and tell what becomes of those beside which a node stands."""
        if nodes is None:
            self._tracker.feed(events, self.now_ns)
        else:
            fed = 0
            for at, node in enumerate(nodes):
                if not node:
                    continue
                self._tracker.feed(events[fed:at], self.now_ns)
                if node >= REOPENED:
                    fed = self._reopen(events, nodes, at)
                else:
                    self._learn(events[at], node)
                    fed = at + 1
            self._tracker.feed(events[fed:], self.now_ns)
        self._release()
        if self._reader.doubts and not self._doubting:
            self._doubting = True
            self._table.doubt()
        for hosts in list(self._tracker.hidden):
            for host in hosts:
                self._watch(_packed(host))

    def _release(self) -> None:
        """Have no more reported of flows that are settled, at once: a block may hold many packets of theirs."""
        released = self._tracker.releases
        if not released:
            return
        for flow in released:
            self._table.release(flow)
        follows = [flow for flow in self._tracker.follows if flow not in released]
        self._tracker.follows.clear()
        self._tracker.follows.extend(follows)
        released.clear()

    def _reopen(self, events: list[FlowEvent], nodes: list[int], at: int) -> int:
        """Have a flow opened that began in the fast lane, with what was seen of it there; up to which event.

        It began with what was known then, at the times of its packets, and what was told is not told again.
        """
        assert self._known is not None
        self._tracker.began = self._known.began(nodes[at])
        end = at + 1
        while end < len(events) and not nodes[end] and events[end].flow == events[at].flow:
            end += 1
        self._tracker.feed(events[at:end])
        return end

    def _learn(self, event: FlowEvent, node: int) -> None:
        """Have an event judged and tell the table what came of it."""
        tracker = self._tracker
        flow = tracker.flow(event.flow)
        if flow is None:
            tracker.feed((event,), self.now_ns)
            return
        if self._known is not None:
            self._known.learnings.clear()
        before = len(tracker.records)
        contradicted = tracker.counts["cache_contradicted"]
        passive = flow.passive
        messages = passive.messages
        # Copies, so that it shows whether they are set anew, be it to the same value.
        name = passive.name = None if passive.name is None else "".join(list(passive.name))
        labelled = flow.verdict_ms = None if flow.verdict_ms is None else flow.verdict_ms + 0.0
        if isinstance(event, Closed):
            passing = self._depends_on_others(flow)
            known = Shape.PYTHON if passing or _needs_python(flow) else Shape.KNOWN
            tracker.feed((event,), self.now_ns)
            if flow.informed or flow.waiting is not None:
                return
            if self._known is not None and (
                self._known.learnings or tracker.counts["cache_contradicted"] != contradicted
            ):
                known = Shape.PYTHON
            verdict = self._number(tracker.records[-1], flow) if known is Shape.KNOWN else 0
            if verdict and flow.verdict_ms is not labelled:
                known |= Shape.LABELS
            known = known if verdict else Shape.PYTHON
            self._table.learn(node, known | Shape.PASSING if passing else known, verdict)
            return
        full = tracker.counts[FULL]
        tracker.feed((event,), self.now_ns)
        if flow.informed or flow.waiting is not None:
            return  # what it is to become is not its path's alone
        passing = self._depends_on_others(flow)
        cut = tracker.counts[FULL] != full  # read with what was there, because other flows keep so much
        if passing or cut or not isinstance(event, Payload) or _needs_python(flow):
            self._table.learn(node, Shape.PYTHON | Shape.PASSING if passing else Shape.PYTHON, 0)
            return
        told = self._told(tracker.records[before:], flow)
        if told is None or tracker.counts["cache_contradicted"] != contradicted:
            self._table.learn(node, Shape.PYTHON, 0)
            return
        known = Shape.KNOWN
        if flow.verdict_ms is not labelled:
            known |= Shape.LABELS
        if passive.name is not name:
            known |= Shape.NAMED
        if passive.messages is not messages or (event.direction, message_type(event.data)) in messages:
            known |= Shape.MESSAGE
        self._table.learn(node, known | self._state(flow), told)

    def _told(self, records: list[FlowRecord], flow: Followed) -> int | None:
        """The number of what is told of a flow now, live, 0 for nothing; None where only Python can."""
        if self._known is None:
            return 0
        learnings = self._known.learnings
        if not records:
            return None if learnings else 0
        record = records[0]
        if len(records) > 1 or record.type is not RecordType.VERDICT or len(learnings) > 1:
            return None
        number = self._number(record, flow)
        proven = None
        if learnings:
            endpoint, proven = learnings[0]
            if endpoint != flow.key.responder:
                return None
        if not number:
            return None
        if not flow.midstream and not self._known.proves(number, self._texts[number], flow.key.transport, proven):
            return None
        self._known.settles(number, record.verdict, self._texts[number])
        return number

    def _state(self, flow: Followed) -> Shape:
        """What the table has to know of a flow to read on."""
        passive, tls = flow.passive, flow.passive.tls
        state = Shape.DONE if flow.settled else Shape(0)
        if passive.services:
            state |= Shape.TOLD
        if passive.confirmed:
            state |= Shape.SURE
        if passive.quic is not None:
            state |= Shape.IN_QUIC
        if passive.media:
            state |= Shape.MEDIA
        if tls is not None:
            state |= Shape.TLS
            state |= Shape.READ_INITIATOR if tls.read[0] else 0
            state |= Shape.READ_RESPONDER if tls.read[1] else 0
        elif not passive.done:
            state |= Shape.QUIET_INITIATOR if self._reader.ignores_next(passive, 0) else 0
            state |= Shape.QUIET_RESPONDER if self._reader.ignores_next(passive, 1) else 0
        return state

    def _number(self, record: FlowRecord, flow: Followed) -> int:
        """The number of a record's verdict; 0 where it is the flow's alone."""
        if record.flow_id != flow.flow or record.verdict.name != flow.passive.name:
            return 0
        evidence = tuple(one._replace(data=b"") for one in record.verdict.evidence)
        hellos = [at for at, one in enumerate(evidence) if _is_hello(one)]
        # A hello of DTLS may come twice; the table goes on only where it is the same.
        told = {(evidence[at].signature, evidence[at].detail) for at in hellos}
        if len(told) > 1 or any(hole in one.detail for one in evidence for hole in (HELLO, HELLO_REST)):
            return 0
        for at in hellos:
            one = evidence[at]
            detail = _head(one.detail) + HELLO_REST if one.signature == "quic/client-hello" else HELLO
            evidence = (*evidence[:at], one._replace(detail=detail), *evidence[at + 1 :])
        named = proto(record.key.transport, record.key.initiator_address)
        return self._kept(record.verdict._replace(name=None, evidence=evidence), named)

    def _keep(self, verdict: Verdict, named: str) -> int:
        text = verdict_template(verdict, named)
        number = self._table.add_verdict(text)
        if self._known is not None:
            self._texts[number] = text
        return number

    def _depends_on_others(self, flow: Followed) -> bool:
        """Whether other flows decide what it is, or what the cache knows, which live is part of its path."""
        return _depends_on_others(flow) or (self._known is None and flow.from_cache is not None)

    # -- flows that depend on others ----------------------------------------------------------------------------

    def _foretold(self, announcement: Announcement) -> None:
        """A flow is announced: those to its host are for Python, which knows when they may come."""
        self._watch(_packed(announcement.responder_address))

    def _watch(self, address: bytes) -> None:
        if address in self._watched:
            return
        self._watched.add(address)
        done = 0
        flows: list[tuple[list[FlowEvent], int]] = []
        while not done:
            done, events, nodes, *_ = self._table.watch(address)
            for at, event in enumerate(events):
                if isinstance(event, Opened):
                    flows.append(([], nodes[at] if nodes else 0))
                flows[-1][0].append(event)
        flows.sort(key=lambda flow: flow[0][0].time_ns)  # the latest counts, where several go to one place
        for events, node in flows:
            if node:
                self._reopen(events, [node, *[0] * (len(events) - 1)], 0)
            else:
                self._tracker.feed(events)


def _is_hello(evidence: Evidence) -> bool:
    """Whether its detail tells a ClientHello, which is the flow's alone."""
    head = _TLS_HELLOS.get(evidence.signature or "")
    return evidence.signature == "quic/client-hello" if head is None else evidence.detail.startswith(head)


def _head(detail: str) -> str:
    """What kind of hello, of which version: what `_native/quic_reading.c` gives as its text follows."""
    return ", ".join(detail.split(", ", 2)[:2])


def _depends_on_others(flow: Followed) -> bool:
    if flow.beside or flow.verdict.encrypted:
        return True
    return any(one.kind is EvidenceKind.ANNOUNCED for one in flow.evidence)


def _needs_python(flow: Followed) -> bool:
    """Whether more than its path decides what a flow is: codecs' state, what Skype's ports are known to be."""
    passive = flow.passive
    if flow.announces or not {"skype", "ftp"}.isdisjoint(passive.services):  # changes what is made of others
        return True
    return any(getattr(passive, slot) for slot in _OTHER_SLOTS)


_OTHER_SLOTS: Final = tuple(slot for slot in PassiveFlow.__slots__ if slot not in _LEARNED_SLOTS)


def _packed(address: str) -> bytes:
    return inet_pton(AF_INET6 if ":" in address else AF_INET, address)
