"""uTP picked up anywhere: its clock goes with ours, its numbers with each other.

| what is seen | confidence |
|---|---|
| two datagrams of one direction: one connection, numbers in order, the sender's clock gone on as ours has | likely |
| one of each direction: connections that differ by 1 (or a SYN's own), each acknowledging the other | likely |
| both | confirmed |

The clock counts microseconds in 32 bits. Random datagrams that begin like uTP meet the first once in 10**13 pairs, the
second three times in 10**8. Nobody but BitTorrent clients uses uTP in the open; what it carries may be enciphered.
"""

from __future__ import annotations

from typing import Final

from flowsonar.flows.events import Payload
from flowsonar.model import Confidence, Evidence, EvidenceKind, Side
from flowsonar.protocols import utp

__all__ = ["UtpFlow"]

_SIDES: Final = (Side.INITIATOR, Side.RESPONDER)
_CLOCK: Final = 1 << 32
_TOLERANCE_US: Final = 30_000
"""A clock is read before a datagram is queued, and seen when it has come: what lies between varies."""
_LONGEST_US: Final = 60_000_000
_AHEAD: Final = 1024
"""Datagrams under way at once, at most: libtorrent's and libutp's windows are smaller."""


class UtpFlow:
    """One flow: the last datagram of each direction, and what they proved."""

    __slots__ = ("_last", "_pairs", "_steps", "told")

    def __init__(self) -> None:
        self._last: list[tuple[utp.Header, int] | None] = [None, None]
        self._steps = 0
        self._pairs = 0
        self.told = Confidence.UNKNOWN

    def feed(self, event: Payload) -> Evidence | None:
        """Take one datagram; give evidence when it makes the flow surer than before."""
        header = utp.parse(event.data, event.wire_length)
        if header is None:
            return None
        before, other = self._last[event.direction], self._last[1 - event.direction]
        if before is not None and _goes_on(*before, header, event.time_ns):
            self._steps += 1
        if other is not None and _belongs(header, other[0]):
            self._pairs += 1
        self._last[event.direction] = (header, event.time_ns)
        if not self._steps and not self._pairs:
            return None
        confidence = Confidence.CONFIRMED if self._steps and self._pairs else Confidence.LIKELY
        if confidence.rank <= self.told.rank:
            return None
        self.told = confidence
        detail = "uTP: the sender's clock goes with ours" if self._steps else "uTP: each side acknowledges the other"
        return Evidence(
            kind=EvidenceKind.PAYLOAD,
            service="bittorrent",
            confidence=confidence,
            side=_SIDES[event.direction],
            signature="bittorrent/utp-connection",
            detail="uTP: clock, sequence and acknowledgements go on" if self._steps and self._pairs else detail,
            data=event.data[:32],
            specificity=50,
        )


def _goes_on(before: utp.Header, before_ns: int, header: utp.Header, now_ns: int) -> bool:
    """Whether a datagram comes after another one of its direction."""
    passed_us, theirs_us = (now_ns - before_ns) // 1000, (header.sent_us - before.sent_us) % _CLOCK
    allowed_us = _TOLERANCE_US + passed_us // 16
    return (
        header.connection in {before.connection, (before.connection + (before.type == utp.SYN)) & 0xFFFF}
        and 0 <= passed_us < _LONGEST_US
        and 0 < theirs_us < passed_us + allowed_us
        and theirs_us + allowed_us > passed_us
        and (header.sequence - before.sequence) & 0xFFFF < _AHEAD
        and (header.acknowledges - before.acknowledges) & 0xFFFF < _AHEAD
    )


def _belongs(header: utp.Header, other: utp.Header) -> bool:
    """Whether a datagram answers one of the other direction: connections side by side, numbers that fit."""
    apart = (header.connection - other.connection) & 0xFFFF
    types = {header.type, other.type}
    if utp.RESET in types or not (apart in {1, 0xFFFF} or (not apart and utp.SYN in types)):
        return False
    # a SYN acknowledges nothing yet
    mutual = utp.SYN in types or _near(other.acknowledges, header.sequence)
    return mutual and (header.type == utp.SYN or _near(header.acknowledges, other.sequence))


def _near(one: int, other: int) -> bool:
    """Whether what one side acknowledges is about what the other has sent."""
    return (one - other + _AHEAD) & 0xFFFF < 2 * _AHEAD
