"""Records of lines: the fast lane writes JSON, and every other format is made of records.

Lines are those of `Reading.lines(whole=True)`: times have nanoseconds, every protocol has its ports. What JSON lines do
not tell of evidence (the bytes, an own product) is not in the records either; no format writes it.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from datetime import datetime
from functools import lru_cache
from typing import Any, Final

import orjson

from flowsonar.model import (
    UNKNOWN,
    Confidence,
    Evidence,
    EvidenceKind,
    FlowCounters,
    FlowKey,
    FlowRecord,
    Layer,
    RecordType,
    Side,
    TrafficClass,
    Transport,
    Verdict,
)

__all__ = ["records"]

_TRANSPORTS: Final = {transport.value.upper(): transport for transport in Transport} | {"IPV6-ICMP": Transport.ICMP}
_KINDS: Final = {kind.value: kind for kind in EvidenceKind}
_CONFIDENCES: Final = {confidence.value: confidence for confidence in Confidence}
_CLASSES: Final = {one.value: one for one in TrafficClass}
_SIDES: Final = {None: None} | {side.value: side for side in Side}
_LAYERS: Final = {None: None} | {layer.value: layer for layer in Layer}
_FLOW: Final = RecordType.FLOW


def records(ended: Iterable[bytes | FlowRecord]) -> Iterator[FlowRecord]:
    """The records, in order; those that are records already as they are."""
    for one in ended:
        if isinstance(one, bytes):
            yield from map(_record, map(orjson.loads, one.splitlines()))
        else:
            yield one


def _record(line: dict[str, Any]) -> FlowRecord:
    flow, said = line["flow"], line["flowsonar"]
    key = FlowKey(
        _TRANSPORTS[line["proto"].upper()],
        line["src_ip"],
        line["src_port"],
        line["dest_ip"],
        line["dest_port"],
        line["vlan"][0] if "vlan" in line else 0,
    )
    counters = FlowCounters(
        flow["pkts_toserver"],
        flow["pkts_toclient"],
        flow["bytes_toserver"],
        flow["bytes_toclient"],
        _time_ns(flow["start"]),
        _time_ns(flow["end"]),
    )
    return FlowRecord(
        _FLOW,
        _time_ns(line["timestamp"]),
        line["flow_id"],
        key,
        _verdict(said),
        counters,
        said["verdict_ms"],
        said["midstream"],
        flow["reason"],
        line.get("in_iface", ""),
        tuple(said.get("hops", ())),
    )


def _verdict(said: dict[str, Any]) -> Verdict:
    if said["service"] is None and not said["evidence"] and said["name"] is None:
        return UNKNOWN
    return Verdict(
        said["service"],
        _LAYERS[said["over"]],
        said["product"],
        said["version"],
        said["cpe"],
        _CLASSES[said["class"]],
        _CONFIDENCES[said["confidence"]],
        said["name"],
        tuple(
            Evidence(
                _KINDS[piece["kind"]],
                piece["service"],
                _CONFIDENCES[piece["confidence"]],
                _SIDES[piece["side"]],
                _LAYERS[piece["over"]],
                probe=piece["probe"],
                signature=piece["signature"],
                detail=piece["detail"],
            )
            for piece in said["evidence"]
        ),
        tuple(said["conflicts"]),
    )


def _time_ns(text: str) -> int:
    """`2026-11-22T13:41:07.123456789+0000`."""
    return _second(text[:19]) * 1_000_000_000 + int(text[20:29])


@lru_cache(maxsize=4096)
def _second(text: str) -> int:
    return int(datetime.fromisoformat(text + "+00:00").timestamp())
