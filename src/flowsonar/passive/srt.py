"""SRT and UDT picked up in the middle: the receiver counts its acknowledgements, and the sender repeats each number.

| what is seen | confidence |
|---|---|
| two of one direction: one receiver, numbers that go up, the sender's clock gone on as ours has | likely |
| an acknowledgement and its number repeated by the other side | likely |
| both | confirmed |

Type, length and receiver are fixed in 80 bits or more, and the clock counts microseconds in 32. Data between them has
no mark of its own, and is not looked at.
"""

from __future__ import annotations

from typing import Final

from flowsonar.flows.events import Payload
from flowsonar.model import Confidence, Evidence, EvidenceKind, Side
from flowsonar.protocols import srt

__all__ = ["SrtFlow"]

_SIDES: Final = (Side.INITIATOR, Side.RESPONDER)
_CLOCK: Final = 1 << 32
_TOLERANCE_US: Final = 30_000
"""A clock is read before a datagram is queued, and seen when it has come: what lies between varies."""
_LONGEST_US: Final = 60_000_000
_LOST: Final = 1024
"""Acknowledgements between two that are seen: one every ten milliseconds."""


class SrtFlow:
    """One flow: the last of each direction, and what they proved."""

    __slots__ = ("_last", "_repeated", "_steps", "told")

    def __init__(self) -> None:
        self._last: list[tuple[srt.Control, int] | None] = [None, None]
        self._steps = 0
        self._repeated = 0
        self.told = Confidence.UNKNOWN

    def feed(self, event: Payload) -> Evidence | None:
        """Take one datagram; give evidence when it makes the flow surer than before."""
        control = srt.parse(event.data, event.wire_length)
        if control is None:
            return None
        before, other = self._last[event.direction], self._last[1 - event.direction]
        if before is not None and _goes_on(*before, control, event.time_ns):
            self._steps += 1
        if other is not None and control.type == srt.ACKNOWLEDGES_BACK and _repeats(control, other[0]):
            self._repeated += 1
        self._last[event.direction] = (control, event.time_ns)
        if not self._steps and not self._repeated:
            return None
        confidence = Confidence.CONFIRMED if self._steps and self._repeated else Confidence.LIKELY
        if confidence.rank <= self.told.rank:
            return None
        self.told = confidence
        return Evidence(
            kind=EvidenceKind.PAYLOAD,
            service="srt",
            confidence=confidence,
            side=_SIDES[event.direction],
            signature="srt/acknowledgements",
            detail="acknowledgements of one receiver, and a clock that goes with ours"
            if self._steps
            else "an acknowledgement and the other side's answer to it",
            data=event.data[:32],
            specificity=50,
        )


def _goes_on(before: srt.Control, before_ns: int, control: srt.Control, now_ns: int) -> bool:
    """Whether one comes after another one of its direction."""
    passed_us, theirs_us = (now_ns - before_ns) // 1000, (control.sent_us - before.sent_us) % _CLOCK
    allowed_us = _TOLERANCE_US + passed_us // 16
    return (
        control.socket == before.socket
        and control.type == before.type
        and 0 <= passed_us < _LONGEST_US
        and 0 < theirs_us < passed_us + allowed_us
        and theirs_us + allowed_us > passed_us
        and (control.number - before.number) % _CLOCK < _LOST
    )


def _repeats(control: srt.Control, other: srt.Control) -> bool:
    """Whether it answers the other side's last acknowledgement."""
    return other.type == srt.ACKNOWLEDGES and 0 < control.number == other.number and control.socket != other.socket
