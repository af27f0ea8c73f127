"""The frames of a QUIC packet that a client of our kind looks at; the others are read over (RFC 9000 section 19)."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final, NamedTuple

from flowsonar.errors import MalformedError
from flowsonar.protocols.quic import each_frame, read_varint, skip_ack, write_varint

__all__ = ["CLOSE", "CRYPTO", "STREAM", "Frame", "read_frames", "stream"]

CRYPTO, STREAM, CLOSE = 0x06, 0x08, 0x1C
"""What kinds of frames are given, by the first number of each."""

_NUMBERS: Final = {
    0x01: 0, 0x04: 3, 0x05: 2, 0x10: 1, 0x11: 2, 0x12: 1, 0x13: 1, 0x14: 1, 0x15: 2, 0x16: 1, 0x17: 1, 0x19: 1, 0x1E: 0,
}  # fmt: skip
"""How many numbers follow the type of a frame that is read over."""
_PATH_BYTES: Final = 8
_TOKEN_BYTES: Final = 16


class Frame(NamedTuple):
    """One frame: a piece of the handshake or of a stream, or the end."""

    kind: int
    number: int
    """The stream's number, or the code of the end."""
    offset: int
    data: bytes
    """The piece, or the reason for the end."""


def read_frames(payload: bytes) -> Iterator[Frame]:
    """Frames in their order, until one of a kind that is not known; raises MalformedError for one that is cut."""
    found: list[Frame] = []

    def read(kind: int, at: int) -> int | None:
        if kind == CRYPTO or 0x08 <= kind <= 0x0F:
            frame, after = _piece(payload, at, kind)
            found.append(frame)
            return after
        if kind in (0x1C, 0x1D):
            found.append(_close(payload, at, kind))
            return None
        return _over(payload, at, kind)

    try:
        each_frame(payload, read)
    except MalformedError:
        yield from found
        raise
    yield from found


def _piece(payload: bytes, at: int, kind: int) -> tuple[Frame, int]:
    number = offset = 0
    length = len(payload)
    if kind != CRYPTO:
        number, at = read_varint(payload, at)
    if kind == CRYPTO or kind & 4:
        offset, at = read_varint(payload, at)
    if kind == CRYPTO or kind & 2:
        length, at = read_varint(payload, at)
    data = payload[at : at + length]
    return Frame(CRYPTO if kind == CRYPTO else STREAM, number, offset, data), at + len(data)


def _close(payload: bytes, at: int, kind: int) -> Frame:
    code, at = read_varint(payload, at)
    if kind == CLOSE:
        _, at = read_varint(payload, at)  # the frame that was wrong
    length, at = read_varint(payload, at)
    return Frame(CLOSE, code, 0, payload[at : at + length])


def _over(payload: bytes, at: int, kind: int) -> int | None:
    """Where the next frame begins; None where that is not known."""
    if kind in (2, 3):
        return skip_ack(payload, at, counts=kind == 3)
    if kind in (0x1A, 0x1B):
        return at + _PATH_BYTES
    if kind == 0x07:  # NEW_TOKEN
        length, at = read_varint(payload, at)
        return at + length
    if kind == 0x18:  # NEW_CONNECTION_ID
        _, at = read_varint(payload, at)
        _, at = read_varint(payload, at)
        return at + 1 + (payload[at] if at < len(payload) else 0) + _TOKEN_BYTES
    if kind not in _NUMBERS:
        return None
    for _ in range(_NUMBERS[kind]):
        _, at = read_varint(payload, at)
    return at


def stream(number: int, data: bytes, *, final: bool) -> bytes:
    """A STREAM frame from the stream's beginning."""
    return bytes([0x0A | final]) + write_varint(number) + write_varint(len(data)) + data
