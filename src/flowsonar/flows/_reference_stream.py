"""One direction of a TCP stream: which segments bring new bytes, and where in the stream they stand."""

from __future__ import annotations

__all__ = ["WINDOW", "Stream"]

WINDOW = 1 << 24
"""A segment further than this from where the stream stands is taken for a new start, not for a gap: more than what
captures lose in one piece, less than half the sequence space."""


def _signed(difference: int) -> int:
    """Difference of sequence numbers modulo 2^32 (RFC 9293 section 3.4) as a signed number."""
    return (difference + 0x80000000 & 0xFFFFFFFF) - 0x80000000


class Stream:
    """Counts stream offsets from the SYN, or from the first payload byte seen where no SYN was."""

    __slots__ = ("end", "end_sequence", "hole", "hole_back", "started", "syn_seen")

    def __init__(self) -> None:
        # Whether `end` and `end_sequence` mean anything.
        self.started = False
        # The start is the byte after a SYN.
        self.syn_seen = False
        # Offset after the last byte seen, and the sequence number that belongs to it.
        self.end = 0
        self.end_sequence = 0
        # One gap is remembered, so that a reordered segment is not taken for a retransmission: its length
        # (0: none), and how far before `end` it ends; hole_back <= WINDOW.
        self.hole = 0
        self.hole_back = 0

    def start(self, sequence: int) -> None:
        """The byte with this sequence number is number 0."""
        self.started = True
        self.end, self.end_sequence = 0, sequence

    def starts_at(self, sequence: int) -> bool:
        """Whether a SYN was seen whose next byte has this sequence number."""
        return self.syn_seen and (self.end_sequence - self.end) & 0xFFFFFFFF == sequence

    def segment(self, sequence: int, length: int) -> tuple[int | None, bool]:
        """Offset of a segment's first byte, None when it brings nothing new; and whether the stream lost its place."""
        if not self.started:
            self.start(sequence)
        distance = _signed(sequence - self.end_sequence)
        lost = abs(distance) > WINDOW
        if lost:
            distance, self.end_sequence, self.hole = 0, sequence, 0
        offset = self.end + distance
        end = offset + length
        new = self._fill(offset, end)
        if end > self.end:
            new = True
            if self.hole:
                self.hole_back += end - self.end
            elif distance > 0:
                self.hole, self.hole_back = distance, length
            if self.hole_back > WINDOW:
                self.hole = self.hole_back = 0
            self.end = end
            self.end_sequence = (sequence + length) & 0xFFFFFFFF
        return (offset if new else None), lost

    def _fill(self, offset: int, end: int) -> bool:
        hole_end = self.end - self.hole_back
        hole_start = hole_end - self.hole
        if not self.hole or offset >= hole_end or end <= hole_start:
            return False
        if offset <= hole_start:
            hole_start = min(end, hole_end)
        else:
            hole_end = offset
        self.hole = hole_end - hole_start
        self.hole_back = self.end - hole_end if self.hole else 0
        return True
