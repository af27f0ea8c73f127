"""SRT's and UDT's acknowledgements: a header of 16 bytes and their lengths (draft-sharabayko-srt section 3.2)."""

from __future__ import annotations

import struct
from typing import Final, NamedTuple

__all__ = ["ACKNOWLEDGES", "ACKNOWLEDGES_BACK", "HEADER_BYTES", "Control", "is_like", "parse"]

HEADER_BYTES: Final = 16
ACKNOWLEDGES: Final = 2
ACKNOWLEDGES_BACK: Final = 6
_BEGINS: Final = {ACKNOWLEDGES: b"\x80\x02\x00\x00", ACKNOWLEDGES_BACK: b"\x80\x06\x00\x00"}
_SIZES: Final = {ACKNOWLEDGES: frozenset({20, 32, 40, 44}), ACKNOWLEDGES_BACK: frozenset({16, 20})}
"""Of whole datagrams: an acknowledgement tells the last number alone, or times and rates behind it; the answer to it
tells nothing, or libsrt's four zeros."""


class Control(NamedTuple):
    """An acknowledgement, or the answer to one."""

    type: int
    number: int
    """Of the acknowledgement; its answer repeats it."""
    sent_us: int
    """Microseconds since the connection began, modulo 2**32."""
    socket: int
    """The receiver's; the same in all of a direction."""


def is_like(data: bytes) -> bool:
    """Whether a datagram begins as one of the two: once in two thousand million times by chance."""
    return len(data) >= HEADER_BYTES and data[:4] in _BEGINS.values()


def parse(data: bytes, length: int | None = None) -> Control | None:
    """Read a datagram of `length` bytes of which `data` is the beginning; None: it is not one of the two."""
    if not is_like(data):
        return None
    kind = data[1]
    number, sent_us, socket = struct.unpack_from("!III", data, 4)
    if not socket or (len(data) if length is None else length) not in _SIZES[kind]:
        return None
    return Control(kind, number, sent_us, socket)
