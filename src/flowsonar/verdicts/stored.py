"""What the store keeps of an endpoint, as values, and verdicts as bytes and back."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import orjson

from flowsonar.model import (
    Confidence,
    Endpoint,
    Evidence,
    EvidenceKind,
    Layer,
    Side,
    TrafficClass,
    Transport,
    Verdict,
)

if TYPE_CHECKING:
    from flowsonar.probes.audit import AuditEntry

__all__ = [
    "Asked",
    "Change",
    "Stored",
    "audit_row",
    "change_row",
    "clean",
    "endpoint_key",
    "pack_verdict",
    "stored_from",
    "unpack_verdict",
    "verdict_from",
]


@dataclass(frozen=True, slots=True, kw_only=True)
class Change:
    """The label of an endpoint changed."""

    time_s: float
    event: str
    """`learned`, `forgotten` (a flow's own bytes contradicted it)."""
    service: str | None
    over: str | None = None
    product: str | None = None
    version: str | None = None
    confidence: str = Confidence.UNKNOWN


@dataclass(frozen=True, slots=True, kw_only=True)
class Asked:
    """An entry of the audit log: one act of a probe."""

    time_s: float
    action: str
    """`connect`, `send` or `end`."""
    probe: str
    bytes: int = 0
    """Payload bytes that left."""
    outcome: str | None = None
    detail: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Stored:
    """All that the store knows of an endpoint. Times are seconds since the epoch, 0 where nothing happened."""

    endpoint: Endpoint
    verdict: Verdict
    decided_s: float = 0.0
    expires_s: float = 0.0
    failures: int = 0
    """Questions in a row that gave nothing."""
    outcome: str | None = None
    """How the last of these ended."""
    retry_s: float = 0.0
    """Not asked again before."""
    history: tuple[Change, ...] = ()
    """Newest first."""
    asked: tuple[Asked, ...] = ()
    """Newest first."""


def clean(text: str | None) -> str | None:
    """Make text storable: what is not a character (a lone surrogate) becomes its escape."""
    if text is None or text.isascii():
        return text
    return text.encode("utf-8", "backslashreplace").decode()


def pack_verdict(verdict: Verdict) -> bytes:
    """A verdict with its evidence as JSON."""
    return orjson.dumps(
        {
            "service": clean(verdict.service),
            "over": verdict.over,
            "product": clean(verdict.product),
            "version": clean(verdict.version),
            "cpe": clean(verdict.cpe),
            "class": verdict.traffic_class,
            "confidence": verdict.confidence,
            "name": clean(verdict.name),
            "conflicts": [clean(other) for other in verdict.conflicts],
            "evidence": [_pack_evidence(piece) for piece in verdict.evidence],
        }
    )


def unpack_verdict(packed: bytes) -> Verdict:
    """Undo `pack_verdict`. Raises ValueError where the bytes are not one."""
    try:
        fields = orjson.loads(packed)
        return Verdict(
            service=fields["service"],
            over=_layer(fields["over"]),
            product=fields["product"],
            version=fields["version"],
            cpe=fields["cpe"],
            traffic_class=TrafficClass(fields["class"]),
            confidence=Confidence(fields["confidence"]),
            name=fields["name"],
            conflicts=tuple(fields["conflicts"]),
            evidence=tuple([_unpack_evidence(piece) for piece in fields["evidence"]]),
        )
    except (KeyError, TypeError) as error:
        raise ValueError(f"not a stored verdict: {error}") from error


# -- rows -------------------------------------------------------------------------------------------------------


def endpoint_key(endpoint: Endpoint) -> tuple[str, int, str]:
    """Make what tells an endpoint's rows."""
    return endpoint.address, endpoint.port, endpoint.transport.value


def change_row(endpoint: Endpoint, event: str, verdict: Verdict, now_s: float) -> tuple[Any, ...]:
    """Make a row of the history."""
    over = None if verdict.over is None else verdict.over.value
    label = (clean(verdict.service), over, clean(verdict.product), clean(verdict.version), verdict.confidence.value)
    return (*endpoint_key(endpoint), now_s, event, *label)


def audit_row(entry: AuditEntry) -> tuple[Any, ...]:
    """Make a row of the audit log."""
    outcome = None if entry.outcome is None else entry.outcome.value
    what = (entry.time_ns / 1e9, entry.action.value, clean(entry.probe), entry.bytes, outcome, clean(entry.detail))
    return (*endpoint_key(entry.endpoint), *what)


def verdict_from(packed: bytes | None) -> Verdict:
    """Unpack a verdict; a row that was damaged, or written by hand, is as if it were not there."""
    try:
        return Verdict() if packed is None else unpack_verdict(packed)
    except ValueError:
        return Verdict()


def stored_from(row: tuple[Any, ...], history: list[tuple[Any, ...]], asked: list[tuple[Any, ...]]) -> Stored:
    """Make the value of the rows of one endpoint."""
    address, port, transport, decided_s, expires_s, failures, outcome, retry_s, packed = row
    return Stored(
        endpoint=Endpoint(Transport(transport), address, port),
        verdict=verdict_from(packed),
        decided_s=decided_s,
        expires_s=expires_s,
        failures=failures,
        outcome=outcome,
        retry_s=retry_s,
        history=tuple([Change(**dict(zip(_CHANGE, change, strict=True))) for change in history]),
        asked=tuple([Asked(**dict(zip(_ASKED, act, strict=True))) for act in asked]),
    )


_CHANGE = ("time_s", "event", "service", "over", "product", "version", "confidence")
_ASKED = ("time_s", "action", "probe", "bytes", "outcome", "detail")


# -- evidence ---------------------------------------------------------------------------------------------------


def _pack_evidence(piece: Evidence) -> dict[str, Any]:
    return {
        "kind": piece.kind,
        "service": clean(piece.service),
        "confidence": piece.confidence,
        "side": piece.side,
        "over": piece.over,
        "product": clean(piece.product),
        "version": clean(piece.version),
        "cpe": clean(piece.cpe),
        "probe": clean(piece.probe),
        "signature": clean(piece.signature),
        "detail": clean(piece.detail),
        "data": piece.data.hex(),
        "specificity": piece.specificity,
    }


def _unpack_evidence(fields: dict[str, Any]) -> Evidence:
    return Evidence(
        **fields
        | {
            "kind": EvidenceKind(fields["kind"]),
            "confidence": Confidence(fields["confidence"]),
            "side": None if fields["side"] is None else Side(fields["side"]),
            "over": _layer(fields["over"]),
            "data": bytes.fromhex(fields["data"]),
        }
    )


def _layer(text: str | None) -> Layer | None:
    return None if text is None else Layer(text)
