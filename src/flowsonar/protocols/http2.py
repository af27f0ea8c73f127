"""HTTP/2 with prior knowledge: the client's preface and the SETTINGS frame both sides begin with (RFC 9113)."""

from __future__ import annotations

from typing import Final

__all__ = ["PREFACE", "is_preface", "is_settings"]

PREFACE: Final = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
"""RFC 9113 section 3.4."""
_MAX_SETTINGS: Final = 6 * 64
"""No one sends more than a few of the six-byte settings."""


def is_preface(data: bytes) -> bool:
    """Whether `data` begins with the connection preface, followed by nothing or by a SETTINGS frame."""
    if not data.startswith(PREFACE):
        return False
    rest = data[len(PREFACE) :]
    return len(rest) < 9 or is_settings(rest)


def is_settings(data: bytes) -> bool:
    """Whether `data` begins with a SETTINGS frame on stream 0 that is not an acknowledgement (section 6.5)."""
    if len(data) < 9 or data[3] != 4 or data[4] or data[5:9] != b"\0\0\0\0":
        return False
    length = data[0] << 16 | data[1] << 8 | data[2]
    if length % 6 or length > _MAX_SETTINGS:
        return False
    settings = data[9 : 9 + length]
    return all(settings[i] == 0 or settings[i] >= 0x0A for i in range(0, len(settings), 6))
