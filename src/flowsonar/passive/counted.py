"""Tunnels whose packets only count: WireGuard's data, ESP in UDP and OpenVPN's data, judged over several packets.

WireGuard: type 4, the receiver's index, a counter (wireguard.com, protocol). ESP in UDP: index and sequence number
(RFC 4303 section 2), on port 4500 only (RFC 3948). OpenVPN: opcode 9 with the key's number, the peer's identifier, a
counter, a tag (P_DATA_V2 with an AEAD cipher; its source, ssl_pkt.h and crypto.c), and behind that what looks random.
Three packets in order are `likely`; both directions of WireGuard are `confirmed`, for its first four and last bytes of
the counter are fixed as well.
"""

from __future__ import annotations

from typing import Final

from flowsonar.flows.events import Opened, Payload
from flowsonar.model import Confidence, Evidence, EvidenceKind, Side
from flowsonar.signatures.randomness import looks_random

__all__ = ["CountedFlow", "counts", "openvpn_streams"]

_SIDES: Final = (Side.INITIATOR, Side.RESPONDER)
_DATA: Final = b"\x04\x00\x00\x00"
_LOST: Final = 64
_STEPS: Final = 2
_NAT_TRAVERSAL: Final = 4500  # RFC 3948 section 2
_ESP_LEAST: Final = 256  # RFC 4303 section 2.1: smaller indexes are reserved
_DATA_V2: Final = 9 << 3
_OPENVPN_LEAST: Final = 25  # opcode and peer, counter, tag of 16, and at least one byte
_FRAME_MOST: Final = 4096  # of OpenVPN over TCP; tunnels carry packets

_DETAILS: Final = {
    "wireguard": "one index, numbers that go up",
    "ipsec": "ESP in UDP: one index, numbers that go up",
    "openvpn": "data packets of one peer, numbers that go up",
}


def counts(opened: Opened, data: bytes) -> bool:
    """Whether a datagram may be one of a tunnel that only counts."""
    if data.startswith(_DATA):
        return len(data) >= 32 and data[12:16] == b"\0\0\0\0"
    return _is_openvpn(data) or (
        _NAT_TRAVERSAL in (opened.initiator_port, opened.responder_port)
        and len(data) >= 24
        and int.from_bytes(data[:4], "big") >= _ESP_LEAST
    )


def _is_openvpn(data: bytes) -> bool:
    """Whether it has the head of OpenVPN's data: a small number after a peer that is no word, and then random bytes."""
    return (
        len(data) >= _OPENVPN_LEAST
        and data[0] & 0xF8 == _DATA_V2
        and not data[4]
        and not data[1:4].isalnum()
        and looks_random(data[8:])
    )


def openvpn_streams(one: bytes, other: bytes) -> Evidence | None:
    """What two directions' segments say together that begin with OpenVPN's data in its framing: both name one peer."""
    for data in (one, other):
        if not 0 < int.from_bytes(data[:2], "big") <= _FRAME_MOST or not _is_openvpn(data[2:]):
            return None
    if one[2:6] != other[2:6]:
        return None
    return Evidence(
        kind=EvidenceKind.PAYLOAD,
        service="openvpn",
        confidence=Confidence.LIKELY,
        signature="openvpn/peer",
        detail="data packets of one peer in both directions",
        data=one[:32],
        specificity=50,
    )


class CountedFlow:
    """One flow; each direction has an index and a number that goes up."""

    __slots__ = ("_last", "_service", "_steps", "_told")

    def __init__(self, data: bytes) -> None:
        self._service = "wireguard" if data.startswith(_DATA) else "openvpn" if _is_openvpn(data) else "ipsec"
        self._last: list[tuple[bytes, int]] = [(b"", 0), (b"", 0)]
        self._steps = [0, 0]
        self._told = Confidence.UNKNOWN

    def feed(self, event: Payload) -> Evidence | None:
        """Take one datagram; give evidence when it makes the flow surer than before."""
        data, direction = event.data, event.direction
        if len(data) < 16 or (self._service == "wireguard" and not data.startswith(_DATA)):
            return None
        if self._service == "openvpn" and not _is_openvpn(data):
            return None
        if self._service == "wireguard":
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

    def _is_one_peer(self) -> bool:
        """Whether OpenVPN's peer is one of a server's small numbers, or both directions name the same."""
        one, other = (index for index, _ in self._last)
        return (one or other)[1:3] == b"\0\0" or one == other

    def _evidence(self, event: Payload) -> Evidence | None:
        if max(self._steps) < _STEPS or (self._service == "openvpn" and not self._is_one_peer()):
            return None
        sure = self._service == "wireguard" and min(self._steps) >= 1
        confidence = Confidence.CONFIRMED if sure else Confidence.LIKELY
        if confidence.rank <= self._told.rank:
            return None
        self._told = confidence
        return Evidence(
            kind=EvidenceKind.PAYLOAD,
            service=self._service,
            confidence=confidence,
            side=_SIDES[event.direction],
            signature=f"{self._service}/counter",
            detail=_DETAILS[self._service],
            data=event.data[:32],
            specificity=50,
        )
