"""Records as JSON lines with the field names of Suricata's EVE; docs/records.md tells every field.

Each line is pure ASCII and valid JSON, whatever a peer said: characters that could steer a terminal are escaped, and
what is no text (lone surrogates) stands as its escape.
"""

from __future__ import annotations

import json
import math
import time
from functools import lru_cache
from json.encoder import encode_basestring_ascii as quoted
from typing import Any, Final

import orjson

from flowsonar.model import UNKNOWN, EndpointRecord, Evidence, FlowCounters, FlowRecord, RecordType, Transport, Verdict
from flowsonar.protocols.community import flow_community_id

__all__ = ["HELLO", "HELLO_REST", "encode", "endpoint_label", "proto", "state", "timestamp", "verdict_template"]

_PROTO: Final = {transport: transport.value.upper() for transport in Transport}
_ICMP: Final = Transport.ICMP  # Python 3.11 takes longer to look into an enumeration than for the rest of `proto`
_FLOW: Final = RecordType.FLOW
_WITH_PORTS: Final = frozenset({Transport.TCP, Transport.UDP, Transport.SCTP})


def encode(record: FlowRecord | EndpointRecord, *, data: bool = False) -> bytes:
    """Make one line, with its line end; `data` adds the bytes of the evidence as hex."""
    if isinstance(record, FlowRecord) and record.type is _FLOW:
        try:
            return _flow_line(record, data).encode("ascii")
        except (TypeError, UnicodeError):  # a peer's text that is not ASCII, or no text at all
            pass
    fields = _endpoint(record, data) if isinstance(record, EndpointRecord) else _flow(record, data)
    try:
        line = orjson.dumps(fields, option=orjson.OPT_APPEND_NEWLINE)
    except TypeError:  # a lone surrogate, or a number that JSON has no place for
        return _slowly(fields)
    return line if line.isascii() else _slowly(fields)


def timestamp(time_ns: int) -> str:
    """Write nanoseconds since the epoch as Suricata does: microseconds and zone, UTC."""
    seconds, rest_ns = divmod(time_ns, 1_000_000_000)
    return "%s.%06d+0000" % (_second(seconds), rest_ns // 1000)  # noqa: UP031 - a quarter faster than an f-string


@lru_cache(maxsize=4096)
def _second(seconds: int) -> str:
    try:
        return time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(seconds))
    except (OverflowError, ValueError, OSError):  # a capture may claim any time
        return "1970-01-01T00:00:00"


def proto(transport: Transport, address: str) -> str:
    """Name a transport as Suricata does."""
    if transport is _ICMP and ":" in address:
        return "IPv6-ICMP"
    return _PROTO[transport]


# -- the ends of flows, by far the most lines: written as text, in a third of the time that dictionaries take ------


def _flow_line(record: FlowRecord, data: bool) -> str:
    """Write what `_flow` makes for a flow that ended."""
    _, time_ns, flow_id, key, verdict, counters, verdict_ms, midstream, reason, interface, hops = record
    transport, source, source_port, destination, destination_port, vlan = key
    to_server, to_client, bytes_to_server, bytes_to_client, first_ns, last_ns = counters
    end = timestamp(last_ns or time_ns)
    time = end if time_ns == last_ns else timestamp(time_ns)
    start = end if first_ns == last_ns else timestamp(first_ns or time_ns)
    where = f'"in_iface":{quoted(interface)},' if interface else ""
    if vlan:
        where += f'"vlan":[{vlan}],'
    if transport in _WITH_PORTS:
        ends = (
            f'"src_ip":{quoted(source)},"src_port":{source_port},'
            f'"dest_ip":{quoted(destination)},"dest_port":{destination_port}'
        )
    else:
        ends = f'"src_ip":{quoted(source)},"dest_ip":{quoted(destination)}'
    community = flow_community_id(key)
    if community is not None:
        ends += f',"community_id":"{community}"'
    return (
        f'{{"timestamp":"{time}","flow_id":{flow_id},"event_type":"flow",{where}{ends},'
        f'"proto":"{proto(transport, source)}","app_proto":{quoted(verdict.service or "unknown")},'
        f'"flow":{{"pkts_toserver":{to_server},"pkts_toclient":{to_client},'
        f'"bytes_toserver":{bytes_to_server},"bytes_toclient":{bytes_to_client},'
        f'"start":"{start}","end":"{end}","age":{max(0, last_ns - first_ns) // 1_000_000_000},'
        f'"state":"{state(reason, counters)}","reason":{quoted(reason)}}},'
        f'"flowsonar":{_verdict_text(verdict, verdict_ms, data)[:-1]},"midstream":{"true" if midstream else "false"}'
        f"{_hops_text(hops) if hops else ''}}}}}\n"
    )


def _verdict_text(verdict: Verdict, verdict_ms: float | None, data: bool) -> str:
    if verdict is UNKNOWN and verdict_ms is None:
        return _UNKNOWN_TEXT
    return orjson.dumps(_verdict(verdict, verdict_ms, data)).decode()


def _hops_text(hops: tuple[str, ...]) -> str:
    return f',"hops":{orjson.dumps(hops).decode()}'


# -- what the native core writes the ends of flows with (`_native/lines.c`) ---------------------------------------


HELLO: Final = "\x03"
"""The detail of evidence that each flow tells in other words."""
HELLO_REST: Final = "\x05"
"""The end of such a detail, where its beginning is the same for all."""


def verdict_template(verdict: Verdict, named: str) -> bytes:
    """Write what `_flow_line` makes of a verdict, from `proto` (`named`) on, with holes for what is each flow's own.

    Holes are bytes that JSON has not: 1 for `verdict_ms`, 2 for `name`, 3 for each `detail` that is `HELLO`, 4 for the
    object `flow`, 5 for the end of a `detail` that is `HELLO_REST`. The last brace is left out: `midstream` follows.
    """
    fields = _verdict(verdict, None, data=False)
    fields["verdict_ms"], fields["name"] = "\x01", "\x02"
    text = orjson.dumps(fields)
    if not text.isascii():
        text = _slowly(fields)[:-1]
    text = text.replace(b'"verdict_ms":"\\u0001"', b'"verdict_ms":\x01', 1)
    text = text.replace(b'"name":"\\u0002"', b'"name":\x02', 1)
    text = text.replace(b'"detail":"\\u0003"', b'"detail":\x03')
    text = text.replace(b"\\u0005", b"\x05", 1)
    service = quoted(verdict.service or "unknown").encode("ascii")
    return f'"proto":"{named}","app_proto":'.encode("ascii") + service + b',\x04,"flowsonar":' + text[:-1]


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
    community = flow_community_id(key)
    if community is not None:
        fields["community_id"] = community
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
    if record.type is _FLOW:
        fields["end"] = timestamp(counters.last_ns or record.time_ns)
        fields["age"] = max(0, counters.last_ns - counters.first_ns) // 1_000_000_000
        fields["state"] = state(record.reason, counters)
        fields["reason"] = record.reason
    return fields


def state(reason: str, counters: FlowCounters) -> str:
    """Name a flow's state as Suricata does."""
    if reason in ("fin", "rst"):
        return "closed"
    return "established" if counters.packets_toserver and counters.packets_toclient else "new"


def endpoint_label(record: EndpointRecord, *, data: bool = False) -> dict[str, Any]:
    """Make the `flowsonar` object of an endpoint's record. What nobody could identify comes with its bytes."""
    flowsonar = _verdict(record.verdict, record.verdict_ms, data or record.verdict.service is None)
    flowsonar["outcome"] = record.outcome
    flowsonar["connections"] = record.connections
    flowsonar["datagrams"] = record.datagrams
    flowsonar["needed"] = record.needed
    flowsonar["bytes_sent"] = record.bytes_sent
    flowsonar["rtt_ms"] = None if record.rtt_ms is None else round(record.rtt_ms, 3)
    flowsonar["detail"] = record.detail
    return flowsonar


def _endpoint(record: EndpointRecord, data: bool) -> dict[str, Any]:
    endpoint = record.endpoint
    return {
        "timestamp": timestamp(record.time_ns),
        "event_type": record.type,
        "dest_ip": endpoint.address,
        "dest_port": endpoint.port,
        "proto": proto(endpoint.transport, endpoint.address),
        "app_proto": record.verdict.service or "unknown",
        "flowsonar": endpoint_label(record, data=data),
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


_UNKNOWN_TEXT: Final = orjson.dumps(_verdict(UNKNOWN, None, data=False)).decode()


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
