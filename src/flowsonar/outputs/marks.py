"""Marks and classes as JSON lines and as lines for people; docs/records.md tells every field."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any, NamedTuple

import orjson

from flowsonar.model import Endpoint, FlowKey, MarkRecord
from flowsonar.outputs.eve import proto, timestamp
from flowsonar.verdicts.visible import visible

__all__ = ["ClassRow", "encode_classes", "encode_mark", "mark_line"]


class ClassRow(NamedTuple):
    """One class as it stands: what the firewall counted, and the queue where there is one."""

    name: str
    direction: str
    """`up` or `down` for a queue; empty for what the firewall marked in both."""
    flows: int | None
    packets: int
    bytes: int
    rate_kbit: float
    """Since the row before."""
    drops: int | None = None
    backlog_bytes: int | None = None
    delay_ms: float | None = None


def encode_mark(record: MarkRecord, dscp: str | None) -> bytes:
    """Make one line, with its line end; `dscp` is the code point's name."""
    verdict = record.verdict
    fields: dict[str, Any] = {
        "timestamp": timestamp(record.time_ns),
        "flow_id": record.flow_id or None,
        "event_type": record.type,
        **_ends(record.key),
        "app_proto": verdict.service or "unknown",
        "flowsonar": {
            "service": verdict.service,
            "over": verdict.over,
            "product": verdict.product,
            "class": verdict.traffic_class,
            "confidence": verdict.confidence,
            "name": verdict.name,
        },
        "shaping": {
            "action": record.action,
            "of": "flow" if isinstance(record.key, FlowKey) else "endpoint",
            "class": record.traffic_class,
            "before": record.before,
            "dscp": dscp,
            "mark": f"{record.mark:#010x}" if record.mark else None,
            "rule": record.rule,
            "waited_ms": round(record.waited_ms, 3),
            "mark_ms": None if record.mark_ms is None else round(record.mark_ms, 3),
        },
    }
    return _line({key: value for key, value in fields.items() if value is not None})


def encode_classes(rows: Sequence[ClassRow], *, time_ns: int, by_rule: dict[str, int], counts: dict[str, int]) -> bytes:
    """Make one line of the classes as they stand."""
    return _line(
        {
            "timestamp": timestamp(time_ns),
            "event_type": "classes",
            "shaping": {
                "classes": [
                    {
                        key: round(value, 3) if isinstance(value, float) else value
                        for key, value in row._asdict().items()
                    }
                    for row in rows
                ],
                "rules": by_rule,
                "counters": counts,
            },
        }
    )


def mark_line(record: MarkRecord, dscp: str | None) -> str:
    """One mark for people."""
    verdict = record.verdict
    if isinstance(record.key, FlowKey):
        ends = f"{_at(record.key.initiator)} > {_at(record.key.responder)}"
    else:
        ends = f"endpoint {_at(record.key)}"
    name = f" {visible(verdict.name)}" if verdict.name else ""
    what = "left as it is" if record.traffic_class is None else f"{record.traffic_class} {dscp}"
    before = f" (was {record.before})" if record.before else ""
    label = f"{visible(verdict.service or 'unknown')} {verdict.confidence}{name}"
    moment = timestamp(record.time_ns)[11:23]
    return f"{moment} {record.action:<9} {ends}/{record.key.transport}  {label}  {what}{before}  {visible(record.rule)}"


def _ends(key: FlowKey | Endpoint) -> dict[str, object]:
    if isinstance(key, Endpoint):
        return {"dest_ip": key.address, "dest_port": key.port, "proto": proto(key.transport, key.address)}
    return {
        "src_ip": key.initiator_address,
        "src_port": key.initiator_port,
        "dest_ip": key.responder_address,
        "dest_port": key.responder_port,
        "proto": proto(key.transport, key.initiator_address),
    }


def _at(endpoint: Endpoint) -> str:
    return f"[{endpoint.address}]:{endpoint.port}" if ":" in endpoint.address else f"{endpoint.address}:{endpoint.port}"


def _line(fields: dict[str, Any]) -> bytes:
    try:
        line = orjson.dumps(fields, option=orjson.OPT_APPEND_NEWLINE)
        if line.isascii():
            return line
    except TypeError:  # a lone surrogate in a name
        pass
    return json.dumps(fields, separators=(",", ":")).encode("ascii") + b"\n"
