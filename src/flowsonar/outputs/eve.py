"""Records as JSON lines with the field names of Suricata's EVE; docs/records.md tells every field.

Each line is pure ASCII and valid JSON, whatever a peer said: characters that could steer a terminal are escaped, and
what is no text (lone surrogates) stands as its escape.
"""

from __future__ import annotations

import json
import math
import time
from functools import lru_cache
from typing import Any, Final

import orjson

from flowsonar.model import EndpointRecord, Evidence, FlowCounters, FlowRecord, RecordType, Transport, Verdict

__all__ = ["encode", "proto", "timestamp"]

_PROTO: Final = {
    Transport.TCP: "TCP",
    Transport.UDP: "UDP",
    Transport.SCTP: "SCTP",
    Transport.ICMP: "ICMP",
    Transport.OTHER: "OTHER",
}
_WITH_PORTS: Final = frozenset({Transport.TCP, Transport.UDP, Transport.SCTP})


def encode(record: FlowRecord | EndpointRecord, *, data: bool = False) -> bytes:
    """Make one line, with its line end; `data` adds the bytes of the evidence as hex."""
    fields = _endpoint(record, data) if isinstance(record, EndpointRecord) else _flow(record, data)
    try:
        line = orjson.dumps(fields, option=orjson.OPT_APPEND_NEWLINE)
    except TypeError:  # a lone surrogate, or a number that JSON has no place for
        return _slowly(fields)
    return line if line.isascii() else _slowly(fields)


def timestamp(time_ns: int) -> str:
    """Write nanoseconds since the epoch as Suricata does: microseconds and zone, UTC."""
    seconds, rest_ns = divmod(time_ns, 1_000_000_000)
    return f"{_second(seconds)}.{rest_ns // 1000:06d}+0000"


@lru_cache(maxsize=4096)
def _second(seconds: int) -> str:
    try:
        return time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(seconds))
    except (OverflowError, ValueError, OSError):  # a capture may claim any time
        return "1970-01-01T00:00:00"


def proto(transport: Transport, address: str) -> str:
    """Name a transport as Suricata does."""
    if transport is Transport.ICMP and ":" in address:
        return "IPv6-ICMP"
    return _PROTO[transport]


# -- records ----------------------------------------------------------------------------------------------------


def _flow(record: FlowRecord, data: bool) -> dict[str, Any]:
    key = record.key
    verdict = record.verdict
    transport = key.transport
    fields: dict[str, Any] = {
        "timestamp": timestamp(record.time_ns),
        "flow_id": record.flow_id,
        "event_type": record.type,
    }
    if record.interface:
        fields["in_iface"] = record.interface
    if key.vlan:
        fields["vlan"] = [key.vlan]
    fields["src_ip"] = key.initiator_address
    if transport in _WITH_PORTS:
        fields["src_port"] = key.initiator_port
        fields["dest_ip"] = key.responder_address
        fields["dest_port"] = key.responder_port
    else:
        fields["dest_ip"] = key.responder_address
    fields["proto"] = proto(transport, key.initiator_address)
    fields["app_proto"] = verdict.service or "unknown"
    fields["flow"] = _counters(record, record.counters)
    fields["flowsonar"] = _verdict(verdict, record.verdict_ms, data)
    fields["flowsonar"]["midstream"] = record.midstream
    if record.hops:
        fields["flowsonar"]["hops"] = record.hops
    return fields


def _counters(record: FlowRecord, counters: FlowCounters) -> dict[str, Any]:
    fields: dict[str, Any] = {
        "pkts_toserver": counters.packets_toserver,
        "pkts_toclient": counters.packets_toclient,
        "bytes_toserver": counters.bytes_toserver,
        "bytes_toclient": counters.bytes_toclient,
        "start": timestamp(counters.first_ns or record.time_ns),
    }
    if record.type is RecordType.FLOW:
        fields["end"] = timestamp(counters.last_ns or record.time_ns)
        fields["age"] = max(0, counters.last_ns - counters.first_ns) // 1_000_000_000
        if record.reason in ("fin", "rst"):
            fields["state"] = "closed"
        else:
            fields["state"] = "established" if counters.packets_toserver and counters.packets_toclient else "new"
        fields["reason"] = record.reason
    return fields


def _endpoint(record: EndpointRecord, data: bool) -> dict[str, Any]:
    endpoint = record.endpoint
    flowsonar = _verdict(record.verdict, record.verdict_ms, data)
    flowsonar["outcome"] = record.outcome
    flowsonar["connections"] = record.connections
    flowsonar["datagrams"] = record.datagrams
    flowsonar["rtt_ms"] = None if record.rtt_ms is None else round(record.rtt_ms, 3)
    flowsonar["detail"] = record.detail
    return {
        "timestamp": timestamp(record.time_ns),
        "event_type": record.type,
        "dest_ip": endpoint.address,
        "dest_port": endpoint.port,
        "proto": proto(endpoint.transport, endpoint.address),
        "app_proto": record.verdict.service or "unknown",
        "flowsonar": flowsonar,
    }


def _verdict(verdict: Verdict, verdict_ms: float | None, data: bool) -> dict[str, Any]:
    return {
        "service": verdict.service,
        "over": verdict.over,
        "product": verdict.product,
        "version": verdict.version,
        "cpe": verdict.cpe,
        "class": verdict.traffic_class,
        "confidence": verdict.confidence,
        "verdict_ms": None if verdict_ms is None else round(verdict_ms, 3),
        "name": verdict.name,
        "conflicts": verdict.conflicts,
        "evidence": [_evidence(piece, data) for piece in verdict.evidence],
    }


def _evidence(piece: Evidence, data: bool) -> dict[str, Any]:
    fields = {
        "kind": piece.kind,
        "service": piece.service,
        "confidence": piece.confidence,
        "side": piece.side,
        "over": piece.over,
        "probe": piece.probe,
        "signature": piece.signature,
        "detail": piece.detail,
    }
    if data:
        fields["data"] = piece.data.hex()
    return fields


# -- what orjson would not write, or not in ASCII ---------------------------------------------------------------


def _slowly(fields: dict[str, Any]) -> bytes:
    line = json.dumps(_clean(fields), separators=(",", ":"), ensure_ascii=True, allow_nan=False)
    return line.replace("\x7f", "\\u007f").encode("ascii") + b"\n"


def _clean(value: Any) -> Any:
    if isinstance(value, str):
        return str(value.encode("utf-8", "backslashreplace"), "utf-8")
    if isinstance(value, dict):
        return {key: _clean(inner) for key, inner in value.items()}
    if isinstance(value, list | tuple):
        return [_clean(inner) for inner in value]
    if isinstance(value, float) and not math.isfinite(value):
        return None
    return value
