"""From verdicts to elements in the firewall's maps: what is marked, what changes, what goes. No socket and no file.

`apply` is the way to the kernel; what `decided`, `learned` and the others have gathered goes there with `flush`.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from typing import Final, NamedTuple

from flowsonar import limits
from flowsonar.model import Endpoint, FlowKey, MarkAction, MarkRecord, TrafficClass, Verdict
from flowsonar.shaping.nftmessages import ALIVE, Drop, Operation, Place, Put, endpoint_place, flow_places
from flowsonar.shaping.nftrules import ALIVE_S, CLEAR, ELEMENTS, LEFT, Treatment
from flowsonar.shaping.policy import Decision, Policy, about_endpoint, about_flow

__all__ = ["FLOW_S", "Marker"]

FLOW_S: Final = 600
"""An element lasts this long, then the connection's own mark goes on alone: the first packet after it has taken it."""
ENDPOINT_S: Final = 600
"""An endpoint's element lasts this long after we have died; while we live it is renewed at half time."""
RENEW_S: Final = 60.0
"""Endpoints' elements are looked through this often."""
_EVENTS: Final = 65_536
"""Records that wait to be taken; older ones are dropped and counted."""


class _Marked(NamedTuple):
    """A flow that lives and was decided about."""

    key: FlowKey
    treatment: Treatment | None
    value: int
    """What stands in the map."""


class _Known(NamedTuple):
    """An endpoint with elements."""

    verdict: Verdict
    treatment: Treatment
    valid_s: float
    """Until when the verdict is believed."""
    places: tuple[tuple[Place, Treatment], ...]


class Marker:
    """Decides by the policy and keeps in step what the kernel has.

    `peers` tells services whose programs are client and server on one port.
    """

    def __init__(
        self,
        policy: Policy,
        apply: Callable[[Sequence[Operation]], int],
        *,
        peers: Callable[[str], bool] = lambda _: False,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._policy = policy
        self._apply = apply
        self._peers = peers
        self._clock = clock
        self._flows: dict[int, _Marked] = {}
        self._endpoints: dict[Endpoint, _Known] = {}
        self._elements: dict[Place, tuple[int, float]] = {}  # what the kernel has: value, and until when
        self._pending: list[Operation] = []
        self._told: list[tuple[MarkRecord, float]] = []  # with the moment of the verdict
        self._renew_s = clock() + RENEW_S
        self.records: list[MarkRecord] = []
        """What was done; the caller empties it."""
        self.counts: dict[str, int] = {
            "flows_marked": 0,
            "flows_remarked": 0,
            "flows_cleared": 0,
            "endpoints_marked": 0,
            "marks_refused": 0,
            "mark_records_dropped": 0,
        }
        self.by_rule: dict[str, int] = {}
        """Flows that were marked, by the rule that decided."""

    # -- flows --------------------------------------------------------------------------------------------------

    def decided(self, number: int, key: FlowKey, verdict: Verdict, *, now_ns: int, first_ns: int) -> None:
        """A flow's label was decided, or has changed."""
        places = flow_places(key)
        if places is None:
            return
        decision = self._policy.decide(about_flow(key, verdict))
        assert decision is not None  # of a flow everything is known
        before = self._flows.get(number)
        treatment = decision.treatment
        value = treatment.value if treatment is not None else LEFT if decision.leave else CLEAR
        if before is not None and before.value == value:
            return
        needless = value == CLEAR or self._policy.unknown is None  # what has no mark needs none taken away
        if treatment is None and before is None and needless and not self._known(key):
            return
        self._flows[number] = _Marked(key, treatment, value)
        for place in places:
            self._put(place, value, FLOW_S)
        if treatment is None:
            action = MarkAction.CLEARED
            self.counts["flows_cleared"] += 1
        elif before is None or before.treatment is None:
            action = MarkAction.MARKED
            self.counts["flows_marked"] += 1
        else:
            action = MarkAction.REMARKED
            self.counts["flows_remarked"] += 1
        self.by_rule[decision.rule] = self.by_rule.get(decision.rule, 0) + 1
        old = before.treatment.shaped.name if before is not None and before.treatment is not None else None
        self._tell(number, key, verdict, action, decision, old, now_ns, max(0, now_ns - first_ns) / 1e6)

    def ended(self, number: int) -> None:
        """A flow has ended: its ports may be another's soon."""
        marked = self._flows.pop(number, None)
        if marked is not None:
            for place in flow_places(marked.key) or ():
                self._drop(place)

    def _known(self, key: FlowKey) -> bool:
        """Whether an endpoint's element has marked it, or may."""
        return key.responder in self._endpoints or key.initiator in self._endpoints

    # -- endpoints ----------------------------------------------------------------------------------------------

    def learned(self, endpoint: Endpoint, verdict: Verdict, *, now_ns: int, lives_s: float) -> None:
        """An endpoint was identified: its flows are marked from their first packet, where all of them are the same."""
        before = self._endpoints.get(endpoint)
        decision = self._policy.decide(about_endpoint(endpoint, verdict))
        treatment = None if decision is None else decision.treatment
        if before is not None and before.treatment != treatment:
            self.forgot(endpoint)
        if treatment is None or decision is None or len(self._endpoints) >= ELEMENTS:
            return
        targets = [("endpoints", treatment)]
        if verdict.service is not None and self._peers(verdict.service):
            begun = self._policy.decide(about_endpoint(endpoint, verdict, as_client=True))
            if begun is not None and begun.treatment is not None:
                targets.append(("peers", begun.treatment))
        placed = tuple(
            (place, target) for kind, target in targets if (place := endpoint_place(endpoint, kind)) is not None
        )
        if not placed:
            return
        self._endpoints[endpoint] = known = _Known(verdict, treatment, self._clock() + lives_s, placed)
        self._place(known)
        if before is None or before.treatment != treatment:
            self.counts["endpoints_marked"] += 1
            old = None if before is None else before.treatment.shaped.name
            action = MarkAction.MARKED if old is None else MarkAction.REMARKED
            self._tell(0, endpoint, verdict, action, decision, old, now_ns, None)

    def foretold(self, endpoint: Endpoint, verdict: Verdict, *, now_ns: int) -> None:
        """Another flow said what will come there: its first packet may be the next one. What is known goes before."""
        if endpoint not in self._endpoints:
            self.learned(endpoint, verdict, now_ns=now_ns, lives_s=limits.ANNOUNCEMENT_TTL_S)

    def forgot(self, endpoint: Endpoint) -> None:
        """What was known of an endpoint is not believed any more."""
        known = self._endpoints.pop(endpoint, None)
        if known is not None:
            for place, _ in known.places:
                self._drop(place)

    def _place(self, known: _Known) -> None:
        """Put an endpoint's elements, or renew them where half their time is over."""
        now_s = self._clock()
        lasts_s = min(ENDPOINT_S, known.valid_s - now_s)
        for place, treatment in known.places:
            value, until_s = self._elements.get(place, (0, 0.0))
            if value != treatment.value or until_s < now_s + lasts_s / 2:
                self._put(place, treatment.value, lasts_s)

    # -- the kernel ---------------------------------------------------------------------------------------------

    def flush(self, now_ns: int) -> None:
        """Bring what was gathered to the kernel. Raises ShapingError where that cannot be; `refill` mends it."""
        if self._pending:
            pending, self._pending = self._pending, []
            self.counts["marks_refused"] += self._apply(pending)
        if self._told:
            done_s = self._clock()
            for record, decided_s in self._told:
                waited_ms = max(0.0, (done_s - decided_s) * 1e3)
                mark_ms = None if record.mark_ms is None else record.mark_ms + waited_ms
                self.records.append(record._replace(time_ns=now_ns, waited_ms=waited_ms, mark_ms=mark_ms))
            self._told.clear()
            if len(self.records) > _EVENTS:
                self.counts["mark_records_dropped"] += len(self.records) - _EVENTS
                del self.records[: len(self.records) - _EVENTS]

    def beat(self) -> None:
        """Tell the rules that we live, at least every `ALIVE_S` seconds; renew what is due. Raises ShapingError."""
        for place in ALIVE:
            self._apply((Drop(place), Put(place, None, ALIVE_S * 1000)))
        now_s = self._clock()
        if now_s >= self._renew_s:
            self._renew_s = now_s + RENEW_S
            for endpoint, known in list(self._endpoints.items()):
                if known.valid_s <= now_s + 1:
                    self.forgot(endpoint)
                else:
                    self._place(known)
            for place in [place for place, (_, until_s) in self._elements.items() if until_s <= now_s]:
                del self._elements[place]

    def refill(self) -> None:
        """The table is new and empty: put everything that is valid there again with the next `flush`."""
        self._elements.clear()
        self._pending.clear()
        for known in self._endpoints.values():
            self._place(known)
        for marked in self._flows.values():
            for place in flow_places(marked.key) or ():
                self._put(place, marked.value, FLOW_S)

    def follow(self, policy: Policy, *, now_ns: int) -> None:
        """Another policy holds from now on: decide anew about endpoints. The caller does so about flows (`decided`)."""
        self._policy = policy
        now_s = self._clock()
        for endpoint, known in list(self._endpoints.items()):
            # Where only what it begins is treated otherwise, the treatment is the same and the places are not.
            self.forgot(endpoint)
            if known.valid_s > now_s:
                self.learned(endpoint, known.verdict, now_ns=now_ns, lives_s=known.valid_s - now_s)

    def classes(self) -> dict[TrafficClass, int]:
        """Flows that live and are marked, by class."""
        found: dict[TrafficClass, int] = {}
        for marked in self._flows.values():
            if marked.treatment is not None:
                name = marked.treatment.shaped.name
                found[name] = found.get(name, 0) + 1
        return found

    def _put(self, place: Place, value: int, lasts_s: float) -> None:
        now_s = self._clock()
        _, until_s = self._elements.get(place, (0, 0.0))
        if until_s > now_s + 1:  # what times out about now would make the whole batch fail
            self._pending.append(Drop(place))
        self._pending.append(Put(place, value, max(1, int(lasts_s * 1000))))
        self._elements[place] = (value, now_s + lasts_s)

    def _drop(self, place: Place) -> None:
        _, until_s = self._elements.pop(place, (0, 0.0))
        if until_s > self._clock():
            self._pending.append(Drop(place))

    def _tell(
        self,
        number: int,
        key: FlowKey | Endpoint,
        verdict: Verdict,
        action: MarkAction,
        decision: Decision,
        before: TrafficClass | None,
        now_ns: int,
        mark_ms: float | None,
    ) -> None:
        treatment = decision.treatment
        record = MarkRecord(
            time_ns=now_ns,
            flow_id=number,
            key=key,
            verdict=verdict,
            action=action,
            traffic_class=None if treatment is None else treatment.shaped.name,
            before=before,
            dscp=None if treatment is None else treatment.dscp,
            mark=0 if treatment is None else treatment.mark,
            rule=decision.rule,
            waited_ms=0.0,
            mark_ms=mark_ms,
        )
        self._told.append((record, self._clock()))
