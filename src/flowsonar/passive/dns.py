"""DNS messages of a flow, over UDP or TCP: a response is held against its query."""

from __future__ import annotations

from typing import Final

from flowsonar.model import Confidence
from flowsonar.passive import evidence
from flowsonar.passive.flow import NOTHING, SIDES, Findings, PassiveFlow
from flowsonar.protocols import dns

__all__ = ["read"]

_LIKELY: Final = Confidence.LIKELY.rank


def read(flow: PassiveFlow, direction: int, data: bytes) -> Findings | None:
    """Read a DNS message; confirmed only when a response agrees with its query. None: not DNS."""
    side = SIDES[direction]
    query = flow.query
    if query is not None and dns.agrees(query[0], data, query[1]):
        return flow.take(evidence.DNS_AGREES[side], done=True)
    end = dns.question_end(data)
    if not end:
        return None
    if query is None and not data[2] & 0x80:
        flow.query = (data[:end], end)
    return NOTHING if flow.services.get("dns", 0) >= _LIKELY else flow.take(evidence.DNS_SANE[side])
