"""Header fields of HTTP/3 as QPACK writes them (RFC 9204), as far as they need no dynamic table: we allow none.

Huffman's code is RFC 7541's (appendix B): the codes follow from the lengths, shorter first, then by symbol.
"""

from __future__ import annotations

from functools import lru_cache
from typing import Final

from flowsonar.errors import MalformedError

__all__ = ["encode", "read_fields"]

FIELDS: Final = 64
TEXT_BYTES: Final = 4096

STATIC: Final = (
    (":authority", ""), (":path", "/"), ("age", "0"), ("content-disposition", ""), ("content-length", "0"),
    ("cookie", ""), ("date", ""), ("etag", ""), ("if-modified-since", ""), ("if-none-match", ""),
    ("last-modified", ""), ("link", ""), ("location", ""), ("referer", ""), ("set-cookie", ""),
    (":method", "CONNECT"), (":method", "DELETE"), (":method", "GET"), (":method", "HEAD"), (":method", "OPTIONS"),
    (":method", "POST"), (":method", "PUT"), (":scheme", "http"), (":scheme", "https"), (":status", "103"),
    (":status", "200"), (":status", "304"), (":status", "404"), (":status", "503"), ("accept", "*/*"),
    ("accept", "application/dns-message"), ("accept-encoding", "gzip, deflate, br"), ("accept-ranges", "bytes"),
    ("access-control-allow-headers", "cache-control"), ("access-control-allow-headers", "content-type"),
    ("access-control-allow-origin", "*"), ("cache-control", "max-age=0"), ("cache-control", "max-age=2592000"),
    ("cache-control", "max-age=604800"), ("cache-control", "no-cache"), ("cache-control", "no-store"),
    ("cache-control", "public, max-age=31536000"), ("content-encoding", "br"), ("content-encoding", "gzip"),
    ("content-type", "application/dns-message"), ("content-type", "application/javascript"),
    ("content-type", "application/json"), ("content-type", "application/x-www-form-urlencoded"),
    ("content-type", "image/gif"), ("content-type", "image/jpeg"), ("content-type", "image/png"),
    ("content-type", "text/css"), ("content-type", "text/html; charset=utf-8"), ("content-type", "text/plain"),
    ("content-type", "text/plain;charset=utf-8"), ("range", "bytes=0-"),
    ("strict-transport-security", "max-age=31536000"),
    ("strict-transport-security", "max-age=31536000; includesubdomains"),
    ("strict-transport-security", "max-age=31536000; includesubdomains; preload"), ("vary", "accept-encoding"),
    ("vary", "origin"), ("x-content-type-options", "nosniff"), ("x-xss-protection", "1; mode=block"),
    (":status", "100"), (":status", "204"), (":status", "206"), (":status", "302"), (":status", "400"),
    (":status", "403"), (":status", "421"), (":status", "425"), (":status", "500"), ("accept-language", ""),
    ("access-control-allow-credentials", "FALSE"), ("access-control-allow-credentials", "TRUE"),
    ("access-control-allow-headers", "*"), ("access-control-allow-methods", "get"),
    ("access-control-allow-methods", "get, post, options"), ("access-control-allow-methods", "options"),
    ("access-control-expose-headers", "content-length"), ("access-control-request-headers", "content-type"),
    ("access-control-request-method", "get"), ("access-control-request-method", "post"), ("alt-svc", "clear"),
    ("authorization", ""),
    ("content-security-policy", "script-src 'none'; object-src 'none'; base-uri 'none'"), ("early-data", "1"),
    ("expect-ct", ""), ("forwarded", ""), ("if-range", ""), ("origin", ""), ("purpose", "prefetch"), ("server", ""),
    ("timing-allow-origin", "*"), ("upgrade-insecure-requests", "1"), ("user-agent", ""), ("x-forwarded-for", ""),
    ("x-frame-options", "deny"), ("x-frame-options", "sameorigin"),
)  # fmt: skip
"""RFC 9204 appendix A."""

_HUFFMAN: Final = {
    5: b"012aceiost",
    6: b" %-./3456789=A_bdfghlmnpru",
    7: b":BCDEFGHIJKLMNOPQRSTUVWYjkqvwxyz",
    8: b"&*,;XZ",
    10: b'!"()?',
    11: b"'+|",
    12: b"#>",
    13: b"\x00$@[]~",
    14: b"^}",
    15: b"<`{",
    19: bytes.fromhex("5cc3d0"),
    20: bytes.fromhex("808283a2b8c2e0e2"),
    21: bytes.fromhex("99a1a7acb0b1b3d1d8d9e3e5e6"),
    22: bytes.fromhex("8184858688929a9ca0a3a4a9aaadb2b5b9babbbdbec4c6e4e8e9"),
    23: bytes.fromhex("0187898a8b8c8d8f93959697989b9d9ea5a6a8aeafb4b6b7bcbfc5e7ef"),
    24: bytes.fromhex("098e9091949fabced7e1eced"),
    25: bytes.fromhex("c7cfeaeb"),
    26: bytes.fromhex("c0c1c8c9cacdd2d5dadbeef0f2f3ff"),
    27: bytes.fromhex("cbccd3d4d6dddedff1f4f5f6f7f8fafbfcfdfe"),
    28: bytes.fromhex("020304050607080b0c0e0f1011121314151718191a1b1c1d1e1f7fdcf9"),
    30: bytes.fromhex("0a0d16"),
}
"""Symbols by the length of their code in bits; the end of the string, also of 30 bits, is never written."""


def read_fields(block: bytes) -> list[tuple[str, str]]:
    """The fields of an encoded field section; raises MalformedError, also where it needs a dynamic table."""
    required, at = _number(block, 0, 8)
    _, at = _number(block, at, 7)
    if required:
        raise MalformedError("needs a dynamic table")
    found: list[tuple[str, str]] = []
    while at < len(block) and len(found) < FIELDS:
        first = block[at]
        if first & 0x80:  # indexed
            index, at = _number(block, at, 6)
            found.append(_static(index, static=bool(first & 0x40)))
        elif first & 0x40:  # literal with a name's reference
            index, at = _number(block, at, 4)
            name, _ = _static(index, static=bool(first & 0x10))
            value, at = _text(block, at, 7)
            found.append((name, value))
        elif first & 0x20:  # literal
            name, at = _text(block, at, 3)
            value, at = _text(block, at, 7)
            found.append((name, value))
        else:
            raise MalformedError("needs a dynamic table")
    return found


def encode(fields: list[tuple[str, str]]) -> bytes:
    """An encoded field section without Huffman's code."""
    out = bytearray(2)
    for name, value in fields:
        if (name, value) in STATIC:
            out += _write(STATIC.index((name, value)), 6, 0xC0)
            continue
        known = next((index for index, one in enumerate(STATIC) if one[0] == name), None)
        if known is None:
            out += _write(len(name), 3, 0x20) + name.encode("ascii")
        else:
            out += _write(known, 4, 0x50)
        out += _write(len(value), 7, 0) + value.encode("ascii")
    return bytes(out)


def _static(index: int, *, static: bool) -> tuple[str, str]:
    if not static or index >= len(STATIC):
        raise MalformedError("no such field in the static table")
    return STATIC[index]


def _text(data: bytes, at: int, bits: int) -> tuple[str, int]:
    """A string literal whose length has so many bits in its first byte, and before them one for Huffman's code."""
    if at >= len(data):
        raise MalformedError("field is cut")
    huffman = data[at] >> bits & 1
    size, at = _number(data, at, bits)
    text = data[at : at + size]
    if len(text) < size or size > TEXT_BYTES:
        raise MalformedError("field is cut")
    return (_unhuffman(text) if huffman else text).decode("latin-1"), at + size


def _number(data: bytes, at: int, bits: int) -> tuple[int, int]:
    """RFC 7541 section 5.1, up to 28 bits more."""
    if at >= len(data):
        raise MalformedError("field is cut")
    most = (1 << bits) - 1
    value = data[at] & most
    at += 1
    if value < most:
        return value, at
    for shift in range(0, 28, 7):
        if at >= len(data):
            break
        value += (data[at] & 0x7F) << shift
        at += 1
        if not data[at - 1] & 0x80:
            return value, at
    raise MalformedError("number is cut")


def _write(value: int, bits: int, first: int) -> bytes:
    most = (1 << bits) - 1
    if value < most:
        return bytes([first | value])
    out, value = bytearray([first | most]), value - most
    while value >= 0x80:
        out.append(0x80 | value & 0x7F)
        value >>= 7
    return bytes([*out, value])


@lru_cache(maxsize=1)
def _codes() -> dict[tuple[int, int], int]:
    found: dict[tuple[int, int], int] = {}
    code = before = 0
    for bits, symbols in _HUFFMAN.items():
        code <<= bits - before
        before = bits
        for symbol in symbols:
            found[bits, code] = symbol
            code += 1
    return found


def _unhuffman(data: bytes) -> bytes:
    """What is left at the end is padding: fewer than eight ones."""
    codes, out = _codes(), bytearray()
    code = bits = 0
    for byte in data:
        for place in range(7, -1, -1):
            code, bits = code << 1 | byte >> place & 1, bits + 1
            symbol = codes.get((bits, code))
            if symbol is not None:
                out.append(symbol)
                code = bits = 0
            elif bits > 30:
                raise MalformedError("no such code")
    if bits > 7 or code != (1 << bits) - 1:
        raise MalformedError("padding that is none")
    return bytes(out)
