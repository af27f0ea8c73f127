"""Truth and label side by side: gathers the records of one run and says for each service how they compare. Pure."""

from __future__ import annotations

import statistics
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from flowsonar.demo.plan import Judgement, Plan, Planned, judge, label_of

__all__ = ["Asked", "FlowSeen", "Results", "Row"]

Asked = Mapping[tuple[str, str, int], tuple[int, int]]
"""Connections and datagrams spent on an endpoint: (transport, address, port) to both numbers."""


@dataclass(slots=True)
class FlowSeen:
    """The newest record of one flow."""

    planned: Planned
    record: Mapping[str, Any]
    judgement: Judgement


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """One service in the closing table."""

    planned: Planned
    flows: int
    label: str
    """The labels of its flows, the most frequent first."""
    confidence: str
    """The least of its flows."""
    verdict_ms: float | None
    """Median time from a flow's first packet to its label."""
    asked: tuple[int, int] | None
    """Connections and datagrams spent on it; None when not known."""
    judgement: Judgement


_CONFIDENCES = ("unknown", "guess", "likely", "confirmed")
_SEVERITY = (Judgement.RIGHT, Judgement.PARTLY, Judgement.MISSED, Judgement.WRONG)


@dataclass(slots=True)
class Results:
    """Everything flowsonar said in this run."""

    plan: Plan
    flows: dict[Any, FlowSeen] = field(default_factory=dict)
    unplanned: dict[Any, Mapping[str, Any]] = field(default_factory=dict)
    """Flows that belong to no service: nothing but the plan should be seen."""

    def add(self, record: Mapping[str, Any]) -> FlowSeen | None:
        """Take one record; gives the flow when its label is new or changed, else None."""
        if record.get("event_type") not in {"flow", "verdict"} or record.get("proto") not in {"TCP", "UDP"}:
            return None
        number = record.get("flow_id")
        planned = self.plan.truth_of(record)
        if planned is None:
            self.unplanned[number] = record
            return None
        seen = FlowSeen(planned, record, judge(planned, record))
        before = self.flows.get(number)
        self.flows[number] = seen
        if before is not None and _shown(before.record) == _shown(record):
            return None
        return seen

    def settled(self) -> bool:
        """Whether every known service was seen and all of its flows so far are labelled right."""
        missing = {planned for planned in self.plan.planned if planned.service is not None}
        for seen in self.flows.values():
            if seen.planned.service is not None and seen.judgement is not Judgement.RIGHT:
                return False
            missing.discard(seen.planned)
        return not missing

    def rows(self, asked: Asked | None = None) -> list[Row]:
        """The closing table, in the plan's order."""
        return [self._row(planned, asked) for planned in self.plan.planned]

    def right(self) -> bool:
        """Whether everything was seen, labelled right, and nothing else was there."""
        return not self.unplanned and all(row.judgement is Judgement.RIGHT for row in self.rows())

    def _row(self, planned: Planned, asked: Asked | None) -> Row:
        flows = [seen for seen in self.flows.values() if seen.planned is planned]
        labels = Counter(label_of(seen.record) for seen in flows)
        ours = [seen.record.get("flowsonar") or {} for seen in flows]
        times = [one["verdict_ms"] for one in ours if one.get("verdict_ms") is not None]
        ports = range(planned.port, max(planned.port, planned.last_port) + 1)
        spent = None
        if asked is not None:
            each = [asked.get((planned.transport, planned.address, port), (0, 0)) for port in ports]
            spent = (sum(one[0] for one in each), sum(one[1] for one in each))
        worst = max((seen.judgement for seen in flows), key=_SEVERITY.index, default=Judgement.MISSED)
        return Row(
            planned=planned,
            flows=len(flows),
            label=", ".join(label for label, _ in labels.most_common()) or "not seen",
            confidence=min((str(one.get("confidence", "unknown")) for one in ours), key=_rank, default=""),
            verdict_ms=statistics.median(times) if times else None,
            asked=spent,
            judgement=worst,
        )


def _rank(confidence: str) -> int:
    return _CONFIDENCES.index(confidence) if confidence in _CONFIDENCES else 0


def _shown(record: Mapping[str, Any]) -> tuple[str, str]:
    ours = record.get("flowsonar") or {}
    return label_of(record), str(ours.get("confidence"))
