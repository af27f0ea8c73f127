"""Tunnels whose packets only count: WireGuard's data and ESP in UDP, judged over several packets.

WireGuard: type 4, the receiver's index, a counter (wireguard.com, protocol). ESP in UDP: index and sequence number
(RFC 4303 section 2), on port 4500 only (RFC 3948). Three packets in order are `likely`; both directions of WireGuard
are `confirmed`, for its first four and last bytes of the counter are fixed as well.
"""

from __future__ import annotations

from typing import Final

from flowsonar.flows.events import Opened, Payload
from flowsonar.model import Confidence, Evidence, EvidenceKind, Side

__all__ = ["CountedFlow", "counts"]

_SIDES: Final = (Side.INITIATOR, Side.RESPONDER)
_DATA: Final = b"\x04\x00\x00\x00"
_LOST: Final = 64
_STEPS: Final = 2
_NAT_TRAVERSAL: Final = 4500  # RFC 3948 section 2
_ESP_LEAST: Final = 256  # RFC 4303 section 2.1: smaller indexes are reserved


def counts(opened: Opened, data: bytes) -> bool:
    """Whether a datagram may be one of a tunnel that only counts."""
    if data.startswith(_DATA):
        return len(data) >= 32 and data[12:16] == b"\0\0\0\0"
    return (
        _NAT_TRAVERSAL in (opened.initiator_port, opened.responder_port)
        and len(data) >= 24
        and int.from_bytes(data[:4], "big") >= _ESP_LEAST
    )


class CountedFlow:
    """One flow; each direction has an index and a number that goes up."""

    __slots__ = ("_last", "_steps", "_told", "_wireguard")

    def __init__(self, data: bytes) -> None:
        self._wireguard = data.startswith(_DATA)
        self._last: list[tuple[bytes, int]] = [(b"", 0), (b"", 0)]
        self._steps = [0, 0]
        self._told = Confidence.UNKNOWN

    def feed(self, event: Payload) -> Evidence | None:
        """Take one datagram; give evidence when it makes the flow surer than before."""
        data, direction = event.data, event.direction
        if len(data) < 16 or (self._wireguard and not data.startswith(_DATA)):
            return None
        if self._wireguard:
            index, number = data[4:8], int.from_bytes(data[8:16], "little")
        else:
            index, number = data[:4], int.from_bytes(data[4:8], "big")
        before, counted = self._last[direction]
        self._last[direction] = (index, number)
        if before == index and 0 < number - counted <= _LOST:
            self._steps[direction] += 1
        elif before:
            self._steps[direction] = 0
        return self._evidence(event)

    def _evidence(self, event: Payload) -> Evidence | None:
        if max(self._steps) < _STEPS:
            return None
        sure = self._wireguard and min(self._steps) >= 1
        confidence = Confidence.CONFIRMED if sure else Confidence.LIKELY
        if confidence.rank <= self._told.rank:
            return None
        self._told = confidence
        service = "wireguard" if self._wireguard else "ipsec"
        return Evidence(
            kind=EvidenceKind.PAYLOAD,
            service=service,
            confidence=confidence,
            side=_SIDES[event.direction],
            signature=f"{service}/counter",
            detail="one index, numbers that go up" if self._wireguard else "ESP in UDP: one index, numbers that go up",
            data=event.data[:32],
            specificity=50,
        )
