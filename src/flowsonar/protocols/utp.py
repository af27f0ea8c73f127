"""uTP, version 1 (BEP 29): the header of 20 bytes and its chain of extensions, as far as they tell uTP from chance."""

from __future__ import annotations

import struct
from typing import Final, NamedTuple

__all__ = ["DATA", "FIN", "HEADER_BYTES", "RESET", "STATE", "SYN", "Header", "is_like", "parse"]

DATA, FIN, STATE, RESET, SYN = range(5)
HEADER_BYTES: Final = 20
_VERSION: Final = 1
_LAST_EXTENSION: Final = 3
"""0 none, 1 selective acknowledgement, 2 extension bits, 3 the reason of an end (libtorrent)."""
_STUN_COOKIE: Final = b"\x21\x12\xa4\x42"
"""RFC 8489 section 5."""
_EXTENSIONS: Final = 3
"""Of one datagram; real ones carry one."""


class Header(NamedTuple):
    """What stands in every datagram."""

    type: int
    connection: int
    """The same in all of a direction; of the two directions one is higher by 1, but in the SYN."""
    sent_us: int
    """The sender's clock, modulo 2**32."""
    window: int
    sequence: int
    acknowledges: int
    payload: int
    """Bytes after header and extensions."""


def is_like(data: bytes) -> bool:
    """Whether a datagram may be uTP's, by its first two bytes: cheap, and wrong once in a few hundred.

    Answers of STUN begin alike; their cookie stands where uTP has its sender's clock.
    """
    if len(data) < HEADER_BYTES or data[0] & 15 != _VERSION or data[4:8] == _STUN_COOKIE:
        return False
    return data[0] >> 4 <= SYN and data[1] <= _LAST_EXTENSION


def parse(data: bytes, length: int | None = None) -> Header | None:
    """Read a datagram of `length` bytes of which `data` is the beginning; None: it is not uTP."""
    if not is_like(data):
        return None
    kind, extension = data[0] >> 4, data[1]
    connection, sent_us, _, window, sequence, acknowledges = struct.unpack_from("!HIIIHH", data, 2)
    end = HEADER_BYTES
    for _ in range(_EXTENSIONS):
        if not extension:
            break
        if extension > _LAST_EXTENSION or end + 2 > len(data):
            return None
        following, size = data[end], data[end + 1]
        # BEP 29: a selective acknowledgement is a multiple of 4 bytes; libutp's extension bits are 8, the reason 4
        if not size or size % 4 or size > 64:
            return None
        end += 2 + size
        extension = following
    payload = (len(data) if length is None else length) - end
    if extension or payload < 0 or (payload and kind in {STATE, RESET, SYN}) or (kind == DATA and not payload):
        return None
    return Header(kind, connection, sent_us, window, sequence, acknowledges, payload)
