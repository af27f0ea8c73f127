"""RTP and RTCP headers: RFC 3550 sections 5.1, 5.3.1 and 6.4. The bodies are media, or SRTP's ciphertext."""

from __future__ import annotations

from typing import Final, NamedTuple

from flowsonar.errors import MalformedError

__all__ = ["Control", "Packet", "is_like", "read_control", "read_packet"]

_VERSION: Final = 0x80
_HEADER: Final = 12
_CONTROL_TYPES: Final = range(192, 214)
"""FIR to TMMBN's kin; 72 to 76 as payload types with the marker bit are these (RFC 5761 section 4)."""
_DYNAMIC: Final = range(96, 128)
_STATIC: Final = range(35)
_REPORTS: Final = (200, 201)
_SENDER: Final = 200
_DESCRIPTION: Final = 202
_CANONICAL: Final = b"\x01"
_CHAIN: Final = 32
"""Control packets in one datagram; a real one has two to five."""
_REPORT_WORDS: Final = {200: 6, 201: 1}
_BLOCK_WORDS: Final = 6
"""Of a report: it is as long as what it begins with and a block for each source (RFC 3550 section 6.4)."""
_TRAILERS: Final = (14, 4)
"""Bytes from the trailer to the end: a tag of 80 bits stands behind it, or one before it (RFC 7714 section 9)."""
_TRAILER: Final = b"\x80\x00"
"""Enciphered, and fewer than 65,536 control packets so far: some hours have a few thousand."""


class Packet(NamedTuple):
    """One RTP header."""

    kind: int
    """Payload type."""
    sequence: int
    timestamp: int
    source: int
    """SSRC."""
    marker: bool = False
    """Of video the last of a picture, of sound the first after silence."""


class Control(NamedTuple):
    """One datagram of RTCP."""

    kind: int
    """Type of its first packet."""
    source: int
    """SSRC of the sender."""
    about: tuple[int, ...]
    """SSRCs that its first report speaks of."""
    named: bool = False
    """A report and the canonical name of the same source fill the datagram to its end (RFC 3550 section 6.1)."""
    clock_s: int = -1
    """The sender's clock in a report that is all of its datagram: with most, seconds since 1900."""
    sealed: bool = False
    """A report as long as its count of sources asks, enciphered, with SRTCP's trailer (RFC 3711 section 3.4)."""


def is_like(data: bytes) -> bool:
    """Whether bytes begin with RTP's version: a quarter of all random bytes do."""
    return len(data) >= 8 and data[0] & 0xC0 == _VERSION


def read_packet(data: bytes) -> Packet:
    """Read an RTP header. Raises MalformedError where lengths or payload type do not fit."""
    if len(data) < _HEADER or data[0] & 0xC0 != _VERSION:
        raise MalformedError("not RTP")
    kind = data[1] & 0x7F
    if kind not in _STATIC and kind not in _DYNAMIC:
        raise MalformedError("not a payload type")
    end = _HEADER + 4 * (data[0] & 0x0F)
    if data[0] & 0x10:
        if len(data) < end + 4:
            raise MalformedError("header extension is cut")
        end += 4 + 4 * int.from_bytes(data[end + 2 : end + 4], "big")
    if len(data) < end:
        raise MalformedError("header is cut")
    return Packet(
        kind,
        int.from_bytes(data[2:4], "big"),
        int.from_bytes(data[4:8], "big"),
        int.from_bytes(data[8:12], "big"),
        data[1] >= 0x80,
    )


def read_control(data: bytes, length: int | None = None) -> Control:
    """Read a datagram of RTCP; `length` is that of the whole datagram where `data` was cut.

    Raises MalformedError. SRTCP's trailer (RFC 3711 section 3.4) may follow the first packet, so only what begins
    like another packet must fit.
    """
    whole = len(data) if length is None else length
    if len(data) < 8 or data[0] & 0xC0 != _VERSION or data[1] not in _CONTROL_TYPES:
        raise MalformedError("not RTCP")
    first = 4 * (int.from_bytes(data[2:4], "big") + 1)
    if first < 8 or first > whole:
        raise MalformedError("length does not fit")
    at = first
    source = data[4:8]
    named = False
    for _ in range(_CHAIN):
        if at + 4 > len(data) or data[at] & 0xC0 != _VERSION or data[at + 1] not in _CONTROL_TYPES:
            break
        named = named or (data[at + 1] == _DESCRIPTION and data[at + 4 : at + 9] == source + _CANONICAL)
        at += 4 * (int.from_bytes(data[at + 2 : at + 4], "big") + 1)
        if at > whole:
            raise MalformedError("length does not fit")
    start = {200: 28, 201: 8}.get(data[1], len(data))
    reports = min(data[0] & 0x1F, max(0, (min(first, len(data)) - start) // 24))
    about = tuple(int.from_bytes(data[start + 24 * i : start + 24 * i + 4], "big") for i in range(reports))
    named = named and data[1] in _REPORTS and at == whole
    whole_report = data[1] == _SENDER and at == whole and len(data) >= 28
    clock_s = int.from_bytes(data[8:12], "big") if whole_report else -1
    return Control(data[1], int.from_bytes(source, "big"), about, named, clock_s, _is_sealed(data, first, whole))


def _is_sealed(data: bytes, first: int, whole: int) -> bool:
    """Whether a report's own length is right, and a trailer says that the rest is enciphered."""
    words = _REPORT_WORDS.get(data[1])
    if words is None or len(data) != whole or first != 4 * (1 + words + _BLOCK_WORDS * (data[0] & 0x1F)):
        return False
    for behind in _TRAILERS:
        at = whole - behind
        if at >= first and data[at : at + 2] == _TRAILER:
            return True
    return False
