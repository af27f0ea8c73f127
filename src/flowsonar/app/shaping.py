"""What `flowsonar shape` does beside watching: keeps firewall and queues in step with verdicts and with the machine.

Traffic comes before marks: whatever goes wrong is told, and the packets go on as they did before.
"""

from __future__ import annotations

import socket
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import suppress
from typing import TYPE_CHECKING, Final

from flowsonar.app.listening import ListeningCache
from flowsonar.app.shapeplan import ShapePlan, alone
from flowsonar.app.shapequeues import Queues
from flowsonar.errors import FlowsonarError, ShapingError
from flowsonar.model import (
    Announcement,
    Endpoint,
    FlowKey,
    FlowRecord,
    MarkRecord,
    RecordType,
    TrafficClass,
    Verdict,
)
from flowsonar.shaping import tracking
from flowsonar.shaping.classes import by_name
from flowsonar.shaping.connmarks import clear_marks
from flowsonar.shaping.firewall import Firewall
from flowsonar.shaping.journal import Journal
from flowsonar.shaping.marking import Marker
from flowsonar.shaping.nftrules import ALIVE_S
from flowsonar.shaping.nftsocket import ElementSocket
from flowsonar.verdicts.store import LIVES_S

if TYPE_CHECKING:
    from flowsonar.signatures import SignatureSet
    from flowsonar.verdicts.store import Store
    from flowsonar.verdicts.tracker import Tracker

__all__ = ["Shaping"]

_LOOK_S: Final = 1.0
"""Machine and table are looked after this often."""
_BEAT_S: Final = ALIVE_S / 3
_AGAIN_S: Final = 10.0
"""A table that could not be put back is tried again after this long."""
_QUIET_S: Final = 0.0005
_SINGLE, _SINGLE_S = 32, 0.01
"""A verdict goes to the kernel at once; after so many within that time, with those of the next half millisecond."""
_KNOWN: Final = 65_536
"""Endpoints taken over from the verdict store at the start ..."""
_KNOWN_AT_ONCE: Final = 512
"""... so many in one turn."""
_FULL, _ROOM = 0.95, 0.8
"""Connection tracking is taken for full from here on, and for usable again below that."""


class Shaping:
    """Given to `Watching`, which calls it; `records`, `problems` and `counters` tell what it does."""

    def __init__(self, planned: ShapePlan, *, journal: Journal | None = None) -> None:
        self.planned = planned
        self.records: list[MarkRecord] = []
        """Marks since the caller emptied it."""
        self.problems: list[str] = []
        self._journal = journal
        self._held: socket.socket | None = None
        self._firewall: Firewall | None = None
        self._elements: ElementSocket | None = None
        self._queues = Queues()
        self._marker: Marker | None = None
        self._tracker: Tracker | None = None
        self._store: Store | None = None
        self._signatures: SignatureSet | None = None
        self._unwritten: list[MarkRecord] = []  # marks that the journal does not have yet
        self._known: Iterator[tuple[Endpoint, str]] = iter(())
        self._clock: Callable[[], float] = time.monotonic
        self._flushed_s = self._look_s = self._beat_s = self._again_s = self._single_s = 0.0
        self._singles = 0
        self._renewal: Callable[[], ShapePlan] | None = None
        self._present = False
        self._withdrawn = False

    @property
    def preferred(self) -> tuple[int, int] | None:
        """Packet priority and code point of our own questions, where queues of ours are."""
        control = by_name(self.planned.policy.classes, TrafficClass.CONTROL)
        return (control.priority, control.dscp) if self._queues.there else None

    # -- beginning and end --------------------------------------------------------------------------------------

    def open(self, store: Store | None, signatures: SignatureSet) -> None:
        """Put table and queues there, in place of what an earlier run has left. Raises ShapingError, nothing left."""
        self._held = alone()
        if self._held is None:
            raise ShapingError("another shape run is going on here: end it first")
        try:
            self._firewall = Firewall()
            tracking.remember()
            self._firewall.install(self.planned.rules)
            self._present = True
            self._elements = ElementSocket()
            self._queues.set_up(self.planned)
        except BaseException:
            with suppress(ShapingError):
                self.close()
            raise
        self._marker = Marker(
            self.planned.policy,
            self._elements.apply,
            peers=lambda service: service in signatures.services and signatures.services[service].peers,
        )
        self._signatures = signatures
        self._store = store
        if store is not None:
            self._known = iter(reversed(store.lately(_KNOWN)))

    def attach(self, tracker: Tracker) -> None:
        """Whose flows are decided about."""
        self._tracker = tracker
        tracker.foretold = self.foretold

    def listening(self, store: Store) -> ListeningCache:
        """Give the store as the tracker sees it."""
        return ListeningCache(store, self)

    def close(self) -> None:
        """Take all away. Raises ShapingError where something could not be; the rest is gone all the same."""
        failures = []
        if self._elements is not None:
            self._elements.close()
            self._elements = None
        try:
            if self._present and self._firewall is not None:
                self._present = False
                self._firewall.remove()
                clear_marks()
                tracking.restore()
        except ShapingError as error:
            failures.append(error)
        try:
            self._queues.close()
        except ShapingError as error:
            failures.append(error)
        if self._journal is not None:
            self._write_down()
        if self._journal is not None:
            self._journal.close()
        if self._held is not None:
            self._held.close()
            self._held = None
        if failures:
            raise failures[0]

    # -- what the tracker tells ---------------------------------------------------------------------------------

    def decided(self, number: int, key: FlowKey, verdict: Verdict) -> None:
        """A flow's label was decided, or has changed."""
        assert self._marker is not None
        assert self._tracker is not None
        flow = self._tracker.flow(number)
        if flow is None or flow.hops:  # inside a tunnel the addresses are others than the packets'
            return
        now_ns = time.time_ns()
        self._marker.decided(number, key, verdict, now_ns=now_ns, first_ns=flow.first_ns)
        self._at_once(now_ns)

    def learned(self, endpoint: Endpoint, now_s: float) -> None:
        """The store knows more of an endpoint."""
        assert self._store is not None
        assert self._marker is not None
        verdict = self._store.verdict(endpoint, now_s)
        if verdict is not None:
            lives_s = LIVES_S.get(verdict.confidence, 0.0)
            self._marker.learned(endpoint, verdict, now_ns=int(now_s * 1e9), lives_s=lives_s)
            self._at_once(int(now_s * 1e9))

    def foretold(self, announcement: Announcement) -> None:
        """A flow said that another one will come (media of a call, a file): its first packet is to be marked too."""
        assert self._marker is not None
        assert self._signatures is not None
        evidence = announcement.evidence
        if evidence.service is None:
            return
        endpoint = Endpoint(announcement.transport, announcement.responder_address, announcement.responder_port)
        verdict = Verdict(
            service=evidence.service,
            over=evidence.over,
            traffic_class=self._signatures.traffic_class(evidence.service),
            confidence=evidence.confidence,
            evidence=(evidence,),
        )
        now_ns = time.time_ns()
        self._marker.foretold(endpoint, verdict, now_ns=now_ns)
        self._at_once(now_ns)

    def forgot(self, endpoint: Endpoint) -> None:
        """The store does not believe any more what it knew of an endpoint."""
        assert self._marker is not None
        self._marker.forgot(endpoint)

    # -- another policy -----------------------------------------------------------------------------------------

    def renew(self, make: Callable[[], ShapePlan]) -> None:
        """Change to another plan with the next turn. May be called from a signal handler."""
        self._renewal = make

    def _renew(self, make: Callable[[], ShapePlan], now_ns: int) -> None:
        """Where the new plan cannot be made or set up, the old one stays."""
        assert self._marker is not None
        assert self._tracker is not None
        assert self._firewall is not None
        before = self.planned
        try:
            planned = make()
            if self._present:
                self._firewall.install(planned.rules)  # one transaction: until it is done the old rules hold
        except FlowsonarError as error:
            self._problem(f"the policy was read again and is not followed: {error}; the one before stays")
            return
        self.planned = planned
        self._marker.refill()
        self._marker.follow(planned.policy, now_ns=now_ns)
        for number, key, verdict in self._tracker.labelled():
            self.decided(number, key, verdict)
        self._flush(now_ns)
        try:
            self._queues.change(planned, before)
        except ShapingError as error:
            self._problem(f"the queues could not be changed: {error}")
        self._problem(f"following {planned.policy.source or 'the built-in policy'} as it is now")

    # -- each turn ----------------------------------------------------------------------------------------------

    def turn(self, records: Iterable[FlowRecord], now_ns: int) -> None:
        """Bring to the kernel what this turn has decided; look after table and machine when it is time."""
        assert self._marker is not None
        for record in records:
            if record.type is RecordType.FLOW and record.reason != "active":
                self._marker.ended(record.flow_id)
        if self._renewal is not None:
            make, self._renewal = self._renewal, None
            self._renew(make, now_ns)
        for _ in range(_KNOWN_AT_ONCE):
            found = next(self._known, None)
            if found is None:
                break
            self.learned(found[0], now_ns / 1e9)
        self._flush(now_ns)
        self.records += self._marker.records
        if self._journal is not None:
            self._unwritten += self._marker.records
        self._marker.records.clear()
        now_s = self._clock()
        if now_s >= self._look_s:
            self._look_s = now_s + _LOOK_S
            self._write_down()
            self._look_after(now_s, now_ns)

    def _write_down(self) -> None:
        """Let the journal have what was marked: not at once, for a verdict may wait behind this one."""
        unwritten, self._unwritten = self._unwritten, []
        if self._journal is not None and unwritten:
            self._journal.keep(unwritten)
            if self._journal.problem is not None:
                self._problem(self._journal.problem)
                self._journal = None

    def counters(self) -> dict[str, int]:
        """What was marked so far."""
        return {} if self._marker is None else dict(self._marker.counts)

    def by_rule(self) -> dict[str, int]:
        """Flows that were marked, by the rule that decided."""
        return {} if self._marker is None else dict(self._marker.by_rule)

    def flows(self) -> dict[str, int]:
        """Marked flows that live, by class."""
        return {} if self._marker is None else {name.value: count for name, count in self._marker.classes().items()}

    # -- what goes wrong ----------------------------------------------------------------------------------------

    def _at_once(self, now_ns: int) -> None:
        now_s = self._clock()
        if now_s - self._single_s > _SINGLE_S:
            self._single_s, self._singles = now_s, 0
        if self._singles < _SINGLE or now_s - self._flushed_s > _QUIET_S:
            self._singles += 1
            self._flush(now_ns)

    def _flush(self, now_ns: int) -> None:
        assert self._marker is not None
        self._flushed_s = self._clock()
        if not self._present:
            return
        refused = self._marker.counts["marks_refused"]
        try:
            self._marker.flush(now_ns)
        except ShapingError as error:
            self._lost(error, now_ns)
        if self._marker.counts["marks_refused"] > refused:
            self._problem("the firewall's maps are full: some flows keep what they have")

    def _lost(self, error: ShapingError, now_ns: int) -> None:
        """The table does not take elements: put it there anew, now or later."""
        assert self._marker is not None
        assert self._firewall is not None
        self._present = False
        self._again_s = self._clock() + _AGAIN_S
        try:
            self._firewall.install(self.planned.rules)
            self._marker.refill()
            self._marker.flush(now_ns)
        except ShapingError as second:
            self._problem(f"{error}; it cannot be put back ({second}): traffic goes on unmarked, tried again")
        else:
            self._present = True
            self._problem(f"{error}; it was put back")

    def _look_after(self, now_s: float, now_ns: int) -> None:
        assert self._marker is not None
        self._tracking()
        if not self._present and not self._withdrawn and now_s >= self._again_s:
            self._lost(ShapingError("the firewall's table is not there"), now_ns)
        if self._present and now_s >= self._beat_s:
            self._beat_s = now_s + _BEAT_S
            try:
                self._marker.beat()
            except ShapingError as error:
                self._lost(error, now_ns)
        for text in self._queues.look(self.planned):
            self._problem(text)

    def _tracking(self) -> None:
        """A full table of connections drops packets: where only our rules need it, they go until there is room."""
        assert self._firewall is not None
        assert self._marker is not None
        used = tracking.used()
        if used is None:
            return
        if used < _ROOM and self._withdrawn:
            self._withdrawn, self._again_s = False, 0.0
        if used < _FULL or self._withdrawn or not self._present:
            return
        advice = "raise net.netfilter.nf_conntrack_max (sysctl)"
        try:
            if self._firewall.others_track():
                self._problem(f"connection tracking is nearly full: new connections may be dropped; {advice}")
                return
            self._firewall.remove()
        except ShapingError as error:
            self._problem(str(error))
            return
        self._present, self._withdrawn = False, True
        self._problem(f"connection tracking is nearly full: nothing is marked until there is room again; {advice}")

    def _problem(self, text: str) -> None:
        if text not in self.problems[-16:]:
            self.problems.append(text)
