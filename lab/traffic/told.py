"""What flowsonar's records say of each flow of any IP protocol."""

from __future__ import annotations

import ipaddress
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

__all__ = ["Flow", "Key", "flows", "key_of"]

Key = tuple[str, frozenset[tuple[str, int]]]
"""Transport in small letters, and both ends; port 0 where the protocol has none."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Flow:
    """The last word on a flow."""

    key: Key
    service: str | None
    over: str | None
    confidence: str
    ms: float | None
    """From the flow's first packet seen to the first verdict that said the same; None where only its end told."""
    how: str
    """Kinds of the evidence that named it."""
    packets: int

    def __str__(self) -> str:
        """As it is printed."""
        if self.service is None:
            return "unknown"
        return f"{self.service} over {self.over}" if self.over else self.service


def key_of(record: dict[str, Any]) -> Key:
    """The key of a record."""
    ends = (
        (str(ipaddress.ip_address(str(record[f"{side}_ip"]))), int(record.get(f"{side}_port") or 0))
        for side in ("src", "dest")
    )
    return str(record.get("proto", "")).lower(), frozenset(ends)


def _said(record: dict[str, Any]) -> tuple[str | None, str | None]:
    said = record.get("flowsonar", {})
    service = said.get("service")
    return (None if service in {None, "unknown"} else service), said.get("over")


def flows(records: Iterable[dict[str, Any]]) -> list[Flow]:
    """One entry a flow, in the order of their first records. A guess by port shapes nothing and counts as unknown."""
    by_flow: dict[object, list[dict[str, Any]]] = {}
    for record in records:
        if record.get("event_type") in {"verdict", "flow"} and "src_ip" in record and "dest_ip" in record:
            by_flow.setdefault(record.get("flow_id"), []).append(record)
    found = []
    for events in by_flow.values():
        last = events[-1]
        same = next(event for event in events if _said(event) == _said(last))
        own = last.get("flowsonar", {})
        service, over = _said(last)
        confidence = str(own.get("confidence", "unknown"))
        if confidence not in {"confirmed", "likely"}:
            service, over = None, None
        counts = last.get("flow", {})
        kinds = sorted({str(one.get("kind")) for one in own.get("evidence", ()) if one.get("service", service)})
        found.append(
            Flow(
                key=key_of(last),
                service=service,
                over=over,
                confidence=confidence,
                ms=same.get("flowsonar", {}).get("verdict_ms") if service else None,
                how=" ".join(kinds),
                packets=int(counts.get("pkts_toserver", 0)) + int(counts.get("pkts_toclient", 0)),
            )
        )
    return found
