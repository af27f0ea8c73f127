"""Google's QUIC before it took IETF's packets: versions Q024 to Q046, and the tags of its hellos.

The wire image is as Chromium's "QUIC Wire Layout Specification" tells it: a public header with flags, an 8-byte
connection id and the version in text; in a client's first packets a hello in clear, a table of tags. Q046 has a long
header of its own; Q050 has IETF's packets (see `quic`) with the same table inside.
"""

from __future__ import annotations

from typing import Final, NamedTuple

from flowsonar.errors import MalformedError

__all__ = ["Header", "Hello", "find_hello", "is_header", "read_header", "read_hello"]

_VERSION_FLAG: Final = 0x01
_RESET_FLAG: Final = 0x02
_ID_FLAG: Final = 0x08
_MAX_TAGS: Final = 128
"""Tags of one hello; Chromium's have about 25, and its own bound is 128."""
_HELLO_WITHIN: Final = 64
"""A hello begins this soon after the header: packet number, hash, one frame's head."""
_KINDS: Final = (b"CHLO", b"REJ\0", b"SHLO", b"SREJ")


class Header(NamedTuple):
    """A packet's public header."""

    version: str | None
    """Only in a client's packets before the server's answer, and in a Q046 long header."""
    connection: bytes
    long: bool
    """Q046's long header."""
    versions: tuple[str, ...]
    """A server's list: it does not speak what was asked."""
    at: int
    """Where the packet number stands."""


class Hello(NamedTuple):
    """A message of tags: client hello, rejection, server hello."""

    kind: str
    server_name: str | None
    agent: str | None


def _version(data: bytes) -> str | None:
    """Read `Q` and three digits, from 024 up to 046."""
    if len(data) != 4 or data[:2] != b"Q0" or not data[2:].isdigit():
        return None
    text = data.decode("ascii")
    return text if "Q024" <= text <= "Q046" else None


def is_header(data: bytes) -> bool:
    """Whether `data` begins like a packet that names its version."""
    if len(data) < 19:
        return False
    if data[0] & 0x80:
        return data[0] & 0x40 != 0 and data[1:5] == b"Q046" and data[5] in (0x50, 0x05)
    return (
        data[0] & 0xC0 == 0
        and data[0] & 0x09 == 0x09
        and not data[0] & _RESET_FLAG
        and _version(data[9:13]) is not None
    )


def read_header(data: bytes) -> Header:
    """Read a header with an 8-byte connection id; raises MalformedError."""
    if len(data) < 10:
        raise MalformedError("Google QUIC header is cut")
    if data[0] & 0x80:
        if data[1:5] != b"Q046" or data[5] not in (0x50, 0x05) or len(data) < 18:
            raise MalformedError("not a long header of Q046")
        return Header("Q046", data[6:14], True, (), 14)
    if data[0] & 0xC0 or not data[0] & _ID_FLAG:
        raise MalformedError("not a header of Google QUIC with a connection id")
    if not data[0] & _VERSION_FLAG or data[0] & _RESET_FLAG:
        return Header(None, data[1:9], False, (), 9)
    version = _version(data[9:13])
    if version is None:
        raise MalformedError("unknown version of Google QUIC")
    rest = data[9:]
    listed = tuple(rest[i : i + 4].decode("latin-1") for i in range(0, len(rest), 4))
    only = not len(rest) % 4 and len(rest) <= 128 and all(text[0] in "QT" and text[1:].isdigit() for text in listed)
    return Header(version, data[1:9], False, listed if only else (), 13)


def find_hello(data: bytes, at: int) -> Hello | None:
    """Find a hello in clear after a header that ends at `at`; None where there is none."""
    for kind in _KINDS:
        found = data.find(kind, at, at + _HELLO_WITHIN)
        if found >= 0:
            try:
                return read_hello(data[found:])
            except MalformedError:
                return None
    return None


def read_hello(data: bytes) -> Hello:
    """Read a table of tags as far as it is there: name and end of each value, little-endian; raises MalformedError."""
    if len(data) < 8 or data[:4] not in _KINDS:
        raise MalformedError("not a message of Google QUIC")
    count = data[4] | data[5] << 8
    start = 8 + 8 * count
    if not 0 < count <= _MAX_TAGS or start > len(data):
        raise MalformedError("table of tags is cut or too long")
    values: dict[bytes, bytes] = {}
    before = 0
    for i in range(8, start, 8):
        end = int.from_bytes(data[i + 4 : i + 8], "little")
        if end < before:
            raise MalformedError("tags are not in order")
        if data[i : i + 4] in (b"SNI\0", b"UAID") and start + end <= len(data):
            values[data[i : i + 4]] = data[start + before : start + end]
        before = end
    kind = data[:4].rstrip(b"\0").decode("ascii")
    return Hello(kind, _text(values.get(b"SNI\0"), spaces=False), _text(values.get(b"UAID"), spaces=True))


def _text(value: bytes | None, *, spaces: bool) -> str | None:
    if not value or len(value) > 255:
        return None
    text = value.decode("latin-1")
    return text if text.isprintable() and (spaces or " " not in text) else None
