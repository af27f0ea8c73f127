"""The fast lane's teacher: flows that need Python get it, and what they come to is told to the table.

The table follows most flows of a capture in C, from first packet to JSON line. What it sees of a flow is a path of
keys (`_native/classify.c`): which patterns hold, who spoke, what the codecs found. The first flow that takes a path
goes through `Tracker` and `PassiveReader`, as all do where there is no fast lane; what they made of it is what the
table says of every later flow with that path. So the fast lane cannot say anything that they would not say.

A flow whose verdict depends on more than its path is never learned: see `_needs_python`.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from enum import IntFlag
from functools import lru_cache
from socket import AF_INET, AF_INET6, inet_pton
from typing import Any, Final, Protocol

from flowsonar import _native
from flowsonar.app.remembered import Remembered
from flowsonar.flows.events import Closed, FlowEvent, Opened, Payload
from flowsonar.flows.table import FlowTable
from flowsonar.model import Announcement, Block, FlowRecord, Transport, Verdict
from flowsonar.outputs.eve import HELLO, interface_text, proto, verdict_template
from flowsonar.passive import PassiveFlow, PassiveReader
from flowsonar.signatures import SignatureSet
from flowsonar.signatures.programs import native_tables
from flowsonar.verdicts.followed import Followed
from flowsonar.verdicts.tracker import Tracker

__all__ = ["LaneTable", "Lanes", "lane_tables", "lanes_wanted"]

_LEARNED_SLOTS: Final = frozenset(
    {
        "opened", "protocol", "done", "name", "alpn", "first_speaker", "firsts", "seconds", "counts", "services",
        "rank", "said", "query", "tls",
    }
)  # fmt: skip
"""State of a passive flow that its path tells. All else that is set makes it one for Python."""

_FRAME_BYTES: Final = 24
_Taken = tuple[int, list[FlowEvent], list[int] | None, bytes, list[int]]


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
    PASSING = 32768


class LaneTable(FlowTable, Protocol):
    """A flow table with a fast lane (`_native/binding_lane.c`).

    `feed_lanes` and the like give: how far they came (for the others: whether they are done), events, beside each
    event the node whose meaning is to be told (or None where there are none), lines of flows that ended, and where
    among them the record of each `Closed` belongs.
    """

    def feed_lanes(self, data: Any, frames: bytes, done: int, /) -> _Taken:
        """Feed frames from number `done` on, until all are done or Python has to look at the events first."""
        ...

    def finish_lanes(self) -> _Taken:
        """Close flows; call again until done."""
        ...

    def watch(self, address: bytes, /) -> _Taken:
        """Flows of a host take the slow lane, those of the last seconds too; call again until done."""
        ...

    def learn(self, node: int, flags: int, verdict: int, /) -> None:
        """What a node means, and the verdict of flows that end there."""
        ...

    def add_verdict(self, text: bytes, /) -> int:
        """Keep a verdict's text with holes (`outputs.eve.verdict_template`)."""
        ...

    def set_interfaces(self, texts: tuple[bytes, ...], /) -> None:
        """What lines say of interfaces."""
        ...

    def doubt(self) -> None:
        """TCP flows whose bytes nobody knows need Python from now on."""
        ...

    def keep(self) -> bytes:
        """What was learned, for another table with the same patterns."""
        ...

    def recall(self, kept: bytes, /) -> bool:
        """Take what another table kept, before the first packet; False where it is not well-formed."""
        ...

    def lane_counts(self) -> dict[str, int]:
        """Sums since the beginning."""
        ...


def lanes_wanted() -> bool:
    """Whether there can be a fast lane: the C core is there, and `FLOWSONAR_LANES=skip` is not set."""
    return _native.core is not None and os.environ.get("FLOWSONAR_LANES") != "skip"


def lane_tables(signatures: SignatureSet) -> tuple[Any, ...]:
    """What the table needs of the signatures: patterns and ports, TCP before UDP."""
    served = {Transport.TCP: bytearray(8192), Transport.UDP: bytearray(8192)}
    for signature in signatures.services.values():
        for transport, ports in (*signature.ports, (Transport.TCP, signature.tls_ports)):
            for port in ports if transport in served else ():
                served[transport][port >> 3] |= 1 << (port & 7)
    return (*native_tables(signatures), bytes(served[Transport.TCP]), bytes(served[Transport.UDP]))


class Lanes:
    """One capture's table, with its tracker."""

    def __init__(self, table: LaneTable, tracker: Tracker, reader: PassiveReader, interfaces: list[str]) -> None:
        self._table = table
        self._tracker = tracker
        self._reader = reader
        self._interfaces = interfaces
        self._told: list[str] | None = None  # the interfaces that the table knows of
        self._watched: set[bytes] = set()
        self._doubting = False
        tracker.foretold = self._foretold

    def feed(self, block: Block) -> list[bytes | FlowRecord]:
        """Feed a block; the flows that ended, in order: lines of the fast lane, some at a time, and others' records."""
        if self._told != self._interfaces:
            self._told = list(self._interfaces)
            self._table.set_interfaces(tuple(interface_text(name) for name in self._told))
        data, frames = block
        count, done = len(frames) // _FRAME_BYTES, 0
        ended: list[bytes | FlowRecord] = []
        while done < count:
            done, events, nodes, text, places = self._table.feed_lanes(data, frames, done)
            if events:
                self._take(events, nodes)
            ended += self._ended(text, places)
        return ended

    def finish(self) -> Iterator[list[bytes | FlowRecord]]:
        """Close everything, some at a time; gives what `feed` gives."""
        done = 0
        while not done:
            done, events, nodes, text, places = self._table.finish_lanes()
            self._take(events, nodes)
            yield self._ended(text, places)

    def _ended(self, text: bytes, places: list[int]) -> list[bytes | FlowRecord]:
        """Put the tracker's records among the lines; it makes one of each `Closed`."""
        if not places:
            return [text] if text else []
        records, self._tracker.records = self._tracker.records, []
        assert len(records) == len(places)
        found: list[bytes | FlowRecord] = []
        at = 0
        for place, record in zip(places, records, strict=True):
            if place > at:
                found.append(text[at:place])
                at = place
            found.append(record)
        if at < len(text):
            found.append(text[at:])
        return found

    def counts(self) -> dict[str, int]:
        """The tracker's counts, with the fast lane's."""
        counts = self._table.lane_counts()
        return {**self._tracker.counts, **counts, "flows": self._tracker.counts["flows"] + counts["lane_flows"]}

    def remember(self, remembered: Remembered) -> None:
        """Keep what was learned, where anything was."""
        if self._table.lane_counts()["lane_learned"]:
            remembered.keep(self._table.keep())

    # -- learning -----------------------------------------------------------------------------------------------

    def _take(self, events: list[FlowEvent], nodes: list[int] | None) -> None:
        if nodes is None:
            self._tracker.feed(events)
        else:
            fed = 0
            for at, node in enumerate(nodes):
                if node:
                    self._tracker.feed(events[fed:at])
                    self._learn(events[at], node)
                    fed = at + 1
            self._tracker.feed(events[fed:])
        if self._reader.doubts and not self._doubting:
            self._doubting = True
            self._table.doubt()
        for hosts in list(self._tracker.hidden):
            for host in hosts:
                self._watch(_packed(host))

    def _learn(self, event: FlowEvent, node: int) -> None:
        """Have an event judged and tell the table what came of it."""
        tracker = self._tracker
        flow = tracker.flow(event.flow)
        if flow is None:
            tracker.feed((event,))
            return
        passive = flow.passive
        # Copies, so that it shows whether they are set anew, be it to the same value.
        name = passive.name = None if passive.name is None else "".join(list(passive.name))
        labelled = flow.verdict_ms = None if flow.verdict_ms is None else flow.verdict_ms + 0.0
        if isinstance(event, Closed):
            passing = _depends_on_others(flow)
            known = Shape.PYTHON if passing or _needs_python(flow) else Shape.KNOWN
            tracker.feed((event,))
            verdict = self._number(tracker.records[-1], flow) if known is Shape.KNOWN else 0
            if verdict and flow.verdict_ms is not labelled:
                known |= Shape.LABELS
            known = known if verdict else Shape.PYTHON
            self._table.learn(node, known | Shape.PASSING if passing else known, verdict)
            return
        tracker.feed((event,))
        passing = _depends_on_others(flow)
        if passing or not isinstance(event, Payload) or _needs_python(flow):
            self._table.learn(node, Shape.PYTHON | Shape.PASSING if passing else Shape.PYTHON, 0)
            return
        known = Shape.KNOWN
        if flow.verdict_ms is not labelled:
            known |= Shape.LABELS
        if passive.name is not name:
            known |= Shape.NAMED
        if flow.settled:
            known |= Shape.DONE
        if passive.services:
            known |= Shape.TOLD
        if passive.tls is not None:
            known |= Shape.TLS
            known |= Shape.READ_INITIATOR if passive.tls.read[0] else 0
            known |= Shape.READ_RESPONDER if passive.tls.read[1] else 0
        elif not passive.done:
            if self._reader.ignores_next(passive, 0):
                known |= Shape.QUIET_INITIATOR
            if self._reader.ignores_next(passive, 1):
                known |= Shape.QUIET_RESPONDER
        self._table.learn(node, known, 0)

    def _number(self, record: FlowRecord, flow: Followed) -> int:
        """The number of a record's verdict; 0 where it is the flow's alone."""
        if record.flow_id != flow.flow or record.hops or record.verdict.name != flow.passive.name:
            return 0
        evidence = tuple(one._replace(data=b"") for one in record.verdict.evidence)
        hellos = [at for at, one in enumerate(evidence) if one.signature == "tls/client-hello"]
        if len(hellos) > 1:
            return 0
        for at in hellos:
            evidence = (*evidence[:at], evidence[at]._replace(detail=HELLO), *evidence[at + 1 :])
        named = proto(record.key.transport, record.key.initiator_address)
        return self._kept(record.verdict._replace(name=None, evidence=evidence), named)

    @lru_cache(maxsize=4096)  # noqa: B019 - lives as long as its table
    def _kept(self, verdict: Verdict, named: str) -> int:
        return self._table.add_verdict(verdict_template(verdict, named))

    # -- flows that depend on others ----------------------------------------------------------------------------

    def _foretold(self, announcement: Announcement) -> None:
        """A flow is announced: those to its host are for Python, which knows when they may come."""
        self._watch(_packed(announcement.responder_address))

    def _watch(self, address: bytes) -> None:
        if address in self._watched:
            return
        self._watched.add(address)
        done = 0
        flows: list[list[FlowEvent]] = []
        while not done:
            done, events, *_ = self._table.watch(address)
            for event in events:
                if isinstance(event, Opened):
                    flows.append([])
                flows[-1].append(event)
        flows.sort(key=lambda events: events[0].time_ns)  # the latest counts, where several go to one place
        for events in flows:
            self._tracker.feed(events)


def _depends_on_others(flow: Followed) -> bool:
    """Whether other flows, or what the cache knows, decide what it is."""
    return bool(flow.beside or flow.from_cache is not None or flow.asked)


def _needs_python(flow: Followed) -> bool:
    """Whether more than its path decides what a flow is: codecs' state, what Skype's ports are known to be."""
    passive = flow.passive
    if not {"skype", "ftp", "dtls"}.isdisjoint(passive.services):  # changes what is made of others; has no codec in C
        return True
    return any(getattr(passive, slot) for slot in _OTHER_SLOTS)


_OTHER_SLOTS: Final = tuple(slot for slot in PassiveFlow.__slots__ if slot not in _LEARNED_SLOTS)


def _packed(address: str) -> bytes:
    return inet_pton(AF_INET6 if ":" in address else AF_INET, address)
