"""The pcap format in all its byte orders (draft-ietf-opsawg-pcap), and the modified form of libpcap 0.4."""

from __future__ import annotations

import struct
from collections.abc import Iterator
from typing import Final

from flowsonar._native.framing import index_pcap
from flowsonar.capture import linktypes
from flowsonar.model import Block

__all__ = ["HEADER_BYTES", "MAGICS", "PcapReader"]

HEADER_BYTES: Final = 24

MAGICS: Final = {
    b"\xd4\xc3\xb2\xa1": ("<", 1000, 0),
    b"\xa1\xb2\xc3\xd4": (">", 1000, 0),
    b"\x4d\x3c\xb2\xa1": ("<", 1, 0),
    b"\xa1\xb2\x3c\x4d": (">", 1, 0),
    b"\x34\xcd\xb2\xa1": ("<", 1000, 8),
    b"\xa1\xb2\xcd\x34": (">", 1000, 8),
}
"""First four bytes: byte order, nanoseconds per unit of the fraction, bytes that each record header has beyond 16
(the modified form adds interface index, protocol and packet type)."""

_RECORD_BYTES: Final = 16


class PcapReader:
    """Finds the packets of one pcap stream; sans-I/O."""

    interfaces: list[str]
    """Always one, without a name: the format has no place for it."""
    problem: str | None
    """Set when a record cannot be true; nothing after it can be found then."""
    consumed: int
    """Bytes of the last `blocks` argument that are done with."""

    def __init__(self, header: bytes) -> None:
        """`header` is the first `HEADER_BYTES` of the stream, its magic one of `MAGICS`."""
        self.interfaces = [""]
        self.problem = None
        self.consumed = 0
        self._byteorder, self._fraction_ns, self._extra = MAGICS[header[:4]]
        major, minor = struct.unpack_from(self._byteorder + "HH", header, 4)
        self._old = (major, minor) <= (2, 3)
        (linktype,) = struct.unpack_from(self._byteorder + "I", header, 20)
        self._linktype = linktypes.normal(linktype)

    @property
    def skipping(self) -> bool:
        """Never: there is nothing but packets in this format."""
        return False

    def blocks(self, data: bytes | memoryview) -> Iterator[Block]:
        """The packets of all whole records at the start of `data`; what is left from `consumed` on, next time again."""
        readable = self._exchanged(data) if self._old else data
        frames, self.consumed, self.problem = index_pcap(
            readable, self._byteorder, self._fraction_ns, self._extra, self._linktype, 0
        )
        if frames:
            yield Block(data, frames)

    def needed(self, rest: bytes) -> int:
        """How many bytes the record at the start of `rest`, which is not whole, takes at least."""
        head = _RECORD_BYTES + self._extra
        if len(rest) < head:
            return head
        captured, length = struct.unpack_from(self._byteorder + "II", rest, 8)
        return head + int(min(captured, length) if self._old else captured)

    def _exchanged(self, data: bytes | memoryview) -> bytearray:
        """A copy with the two lengths of each record in today's order.

        Before version 2.3 the length on the wire stood first, and in 2.3 one or the other did; captured is never
        the larger one. Files of before 1997: speed does not matter here.
        """
        lengths = struct.Struct(self._byteorder + "II")
        exchanged = bytearray(data)
        at = 0
        while at + _RECORD_BYTES + self._extra <= len(data):
            captured, length = sorted(lengths.unpack_from(data, at + 8))
            lengths.pack_into(exchanged, at + 8, captured, length)
            at += _RECORD_BYTES + self._extra + captured
        return exchanged
