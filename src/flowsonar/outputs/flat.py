"""A record as one flat row: what columns, CSV and Zeek's log are made from."""

from __future__ import annotations

from typing import Final, NamedTuple

from flowsonar.model import EndpointRecord, Evidence, FlowRecord, Transport
from flowsonar.outputs.eve import proto, state
from flowsonar.protocols.community import flow_community_id, protocol_number

__all__ = ["Row", "flat", "protocol_number"]

_WITH_PORTS: Final = frozenset({Transport.TCP, Transport.UDP, Transport.SCTP})


class Row(NamedTuple):
    """One record; the names are those of the JSON lines (docs/records.md), nested ones without their parent's.

    Times are nanoseconds since the epoch. What a record has no value for is None: an endpoint's source, for one.
    """

    timestamp: int
    event_type: str
    flow_id: int | None
    in_iface: str | None
    vlan: int | None
    src_ip: str | None
    src_port: int | None
    dest_ip: str
    dest_port: int | None
    proto: str
    community_id: str | None
    pkts_toserver: int | None
    pkts_toclient: int | None
    bytes_toserver: int | None
    bytes_toclient: int | None
    start: int | None
    end: int | None
    state: str | None
    reason: str | None
    service: str | None
    over: str | None
    product: str | None
    version: str | None
    cpe: str | None
    traffic_class: str
    confidence: str
    verdict_ms: float | None
    name: str | None
    midstream: bool | None
    hops: tuple[str, ...]
    conflicts: tuple[str, ...]
    evidence: tuple[Evidence, ...]
    outcome: str | None


def flat(record: FlowRecord | EndpointRecord) -> Row:
    """Make the row."""
    return _endpoint(record) if isinstance(record, EndpointRecord) else _flow(record)


def _flow(record: FlowRecord) -> Row:
    key, counters, verdict = record.key, record.counters, record.verdict
    ports = key.transport in _WITH_PORTS
    return Row(
        timestamp=record.time_ns,
        event_type=record.type.value,
        flow_id=record.flow_id,
        in_iface=record.interface or None,
        vlan=key.vlan or None,
        src_ip=key.initiator_address,
        src_port=key.initiator_port if ports else None,
        dest_ip=key.responder_address,
        dest_port=key.responder_port if ports else None,
        proto=proto(key.transport, key.initiator_address),
        community_id=flow_community_id(key),
        pkts_toserver=counters.packets_toserver,
        pkts_toclient=counters.packets_toclient,
        bytes_toserver=counters.bytes_toserver,
        bytes_toclient=counters.bytes_toclient,
        start=counters.first_ns or record.time_ns,
        end=counters.last_ns or record.time_ns,
        state=state(record.reason, counters),
        reason=record.reason or None,
        service=verdict.service,
        over=verdict.over,
        product=verdict.product,
        version=verdict.version,
        cpe=verdict.cpe,
        traffic_class=verdict.traffic_class,
        confidence=verdict.confidence,
        verdict_ms=_rounded(record.verdict_ms),
        name=verdict.name,
        midstream=record.midstream,
        hops=record.hops,
        conflicts=verdict.conflicts,
        evidence=verdict.evidence,
        outcome=None,
    )


def _endpoint(record: EndpointRecord) -> Row:
    endpoint, verdict = record.endpoint, record.verdict
    return Row(
        timestamp=record.time_ns,
        event_type=record.type.value,
        flow_id=None,
        in_iface=None,
        vlan=None,
        src_ip=None,
        src_port=None,
        dest_ip=endpoint.address,
        dest_port=endpoint.port,
        proto=proto(endpoint.transport, endpoint.address),
        community_id=None,
        pkts_toserver=None,
        pkts_toclient=None,
        bytes_toserver=None,
        bytes_toclient=None,
        start=None,
        end=None,
        state=None,
        reason=None,
        service=verdict.service,
        over=verdict.over,
        product=verdict.product,
        version=verdict.version,
        cpe=verdict.cpe,
        traffic_class=verdict.traffic_class,
        confidence=verdict.confidence,
        verdict_ms=_rounded(record.verdict_ms),
        name=verdict.name,
        midstream=None,
        hops=(),
        conflicts=verdict.conflicts,
        evidence=verdict.evidence,
        outcome=record.outcome,
    )


def _rounded(milliseconds: float | None) -> float | None:
    """As the JSON lines have it."""
    return None if milliseconds is None else round(milliseconds, 3)
