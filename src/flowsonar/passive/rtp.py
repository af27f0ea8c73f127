"""RTP by what several packets of a flow say together: one source, numbers that go up by one, time that goes on.

One packet proves nothing: a quarter of all random bytes begin like it. A control packet that brings its source's name
to the datagram's end, a sender's report with the time of day, or a report with SRTCP's trailer is `likely` by itself: a
stream may have no second one for a while. Three packets in a row of one direction are `likely` too, both directions
`confirmed`; after STUN in the same flow one direction is enough (RFC 7983), or two packets of it and a control packet:
source, number and time of the second are 57 bits that follow from the first. However many of one direction alone stay
`likely`: a game's counter, clock and session number look the same.
"""

from __future__ import annotations

from typing import Final

from flowsonar.errors import MalformedError
from flowsonar.flows.events import Payload
from flowsonar.model import Confidence, Evidence, EvidenceKind, Side
from flowsonar.protocols import rtp

__all__ = ["RtpFlow"]

_SIDES: Final = (Side.INITIATOR, Side.RESPONDER)
_LOST: Final = 8
"""Packets that may be missing between two that are seen."""
_TIME: Final = 1 << 20
"""Longest step of the timestamp between two packets: 11 s of video's clock of 90 kHz, 22 s of 48 kHz audio."""
_SINCE_1900_S: Final = 2_208_988_800
"""What NTP's clock is ahead of ours (RFC 5905 section 6)."""
_DAY_S: Final = 86_400
_LIKELY_STEPS: Final = 2
_GUESS, _LIKELY, _CONFIRMED = 1, 2, 3
_BY_RANK: Final = {_LIKELY: Confidence.LIKELY, _CONFIRMED: Confidence.CONFIRMED}


class _Direction:
    """What one side sent."""

    __slots__ = ("control", "kind", "last", "named", "reports", "source", "steps")

    def __init__(self) -> None:
        self.last: rtp.Packet | None = None
        self.kind = 0
        self.steps = 0
        """Packets that followed the one before as they must; back to 0 at one that does not."""
        self.control = 0
        """Control packets of one source in a row."""
        self.named = False
        """One of them brought its source's name, the time of day, or SRTCP's trailer."""
        self.source = -1
        """Of the control packets."""
        self.reports: tuple[int, ...] = ()
        """Sources that they speak of."""


class RtpFlow:
    """One flow over UDP."""

    __slots__ = ("_sides", "_told")

    def __init__(self) -> None:
        self._sides = (_Direction(), _Direction())
        self._told = 0

    def feed(self, event: Payload, *, after_stun: bool = False) -> Evidence | None:
        """Take one datagram; give evidence when it makes the flow surer than before."""
        side = self._sides[event.direction]
        if not self._control(side, event):
            self._packet(side, event.data)
        rank = self._rank(after_stun=after_stun)
        if rank <= self._told:
            return None
        self._told = rank
        return Evidence(
            kind=EvidenceKind.PAYLOAD,
            service="rtp",
            confidence=_BY_RANK[rank],
            side=_SIDES[event.direction],
            signature="rtp/sequence",
            detail=self._detail(side),
            data=event.data[:32],
            specificity=60,
        )

    @staticmethod
    def _packet(side: _Direction, data: bytes) -> None:
        before = side.last
        try:
            packet = rtp.read_packet(data)
        except MalformedError:
            side.last, side.steps = None, 0
            return
        side.last, side.kind = packet, packet.kind
        if before is None:
            return
        step = (packet.sequence - before.sequence) & 0xFFFF
        time = (packet.timestamp - before.timestamp) & 0xFFFFFFFF
        # A mark ends a picture: the next packet has another time. Without that, MessagePack's maps count up as well.
        stands = time == 0 and packet.marker and before.marker
        if packet.source != before.source or not 0 < step <= _LOST or time > _TIME or stands:
            if packet != before:  # captured twice
                side.steps = 0
        else:
            side.steps += 1

    @staticmethod
    def _control(side: _Direction, event: Payload) -> bool:
        """Whether it is a control packet; both kinds may share a flow (RFC 5761)."""
        try:
            control = rtp.read_control(event.data, event.wire_length)
        except MalformedError:
            return False
        side.control = side.control + 1 if side.source in (-1, control.source) else 1
        side.source = control.source
        side.reports = control.about
        now_s = event.time_ns // 1_000_000_000 + _SINCE_1900_S
        side.named = side.named or control.named or control.sealed or abs(control.clock_s - now_s) < _DAY_S
        return True

    def _rank(self, *, after_stun: bool) -> int:
        one, other = self._sides
        steps = (one.steps, other.steps)
        if min(steps) >= _LIKELY_STEPS:
            return _CONFIRMED
        agree = one.source in other.reports or other.source in one.reports
        if agree and one.control and other.control:
            return _CONFIRMED
        both = one.control + other.control >= 1 and max(steps) >= 1
        if max(steps) >= _LIKELY_STEPS or both:
            return _CONFIRMED if after_stun else _LIKELY
        named = one.named or other.named
        return _LIKELY if named or max(one.control, other.control) > _LIKELY_STEPS else 0

    def _detail(self, side: _Direction) -> str:
        if side.steps:
            return f"payload type {side.kind}, {side.steps + 1} packets of one source in order"
        return f"{side.control} control packets of one source"
