"""What an endpoint answered that nobody could identify: which probe, how much, hex and text."""

from __future__ import annotations

from typing import Final

from flowsonar.model import EndpointRecord
from flowsonar.verdicts.visible import visible

__all__ = ["answers_of"]

_SHOWN: Final = 3
_BYTES: Final = 24


def answers_of(record: EndpointRecord) -> str:
    """One line; empty where the endpoint gave no byte."""
    address, port = record.endpoint.address, record.endpoint.port
    where = f"[{address}]:{port}" if ":" in address else f"{address}:{port}"
    heard = [piece for piece in record.verdict.evidence if piece.data]
    parts = []
    for piece in heard[:_SHOWN]:
        text = visible(piece.data[:_BYTES].decode("latin-1"), _BYTES * 4)
        more = "..." if len(piece.data) > _BYTES else ""
        asked = piece.probe or "before it was asked"
        parts.append(f"{asked}: {piece.data[:_BYTES].hex(' ')}{more} |{text}{more}|")
    return f"not identified: {where}/{record.endpoint.transport} answered {'; '.join(parts)}" if parts else ""
