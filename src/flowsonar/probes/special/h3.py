"""One GET over HTTP/3, and its answer written as HTTP/1.1 writes it, so that the same patterns read both.

Specification: RFC 9114 (frames, streams), RFC 9204 (fields). Default port: 443/udp.
Sends: a control stream with empty SETTINGS, and a GET of / with our name in User-Agent.
What could look the same: other applications on top of HTTP/3's SETTINGS (WebTransport, MASQUE) are HTTP/3 too.
"""

from __future__ import annotations

from typing import Final

from flowsonar.errors import MalformedError
from flowsonar.probes.special.quicframes import stream
from flowsonar.protocols.qpack import encode, read_fields
from flowsonar.protocols.quic import read_varint, write_varint

__all__ = ["answer", "has_settings", "request"]

_DATA, _HEADERS, _SETTINGS = 0, 1, 4
_CONTROL: Final = 0  # the type of a control stream
_FRAMES: Final = 16
_BODY_BYTES: Final = 1024


def request(authority: str, agent: str) -> bytes:
    """STREAM frames: our control stream, and the request on the first of our streams."""
    fields = [
        (":method", "GET"),
        (":scheme", "https"),
        (":authority", authority),
        (":path", "/"),
        ("user-agent", agent),
    ]
    block = encode(fields)
    headers = bytes([_HEADERS]) + write_varint(len(block)) + block
    return stream(2, bytes([_CONTROL, _SETTINGS, 0]), final=False) + stream(0, headers, final=True)


def has_settings(streams: dict[int, bytes]) -> bool:
    """Whether a stream of the server's begins as its control stream must: with SETTINGS (RFC 9114 section 6.2.1)."""
    return any(
        number & 3 == 3 and data[:2] == bytes([_CONTROL, _SETTINGS]) and len(data) > 2
        for number, data in streams.items()
    )


def answer(data: bytes) -> bytes:
    """What came on the request's stream, as HTTP/1.1 would say it; nothing where no whole header came."""
    try:
        return _answer(data)
    except MalformedError:
        return b""


def _answer(data: bytes) -> bytes:
    at, head, body = 0, b"", b""
    for _ in range(_FRAMES):
        try:
            kind, at = read_varint(data, at)
            size, at = read_varint(data, at)
        except MalformedError:
            break  # the next frame has not come
        if kind == _HEADERS and not head and at + size <= len(data):
            head = _head(read_fields(data[at : at + size]))
        elif kind == _DATA and head:
            body += data[at : at + size]
        at += size
        if at >= len(data) or len(body) >= _BODY_BYTES:
            break
    return head + body[:_BODY_BYTES] if head else b""


def _head(fields: list[tuple[str, str]]) -> bytes:
    status = next((value for name, value in fields if name == ":status"), "")
    if len(status) != 3 or not status.isdecimal() or status[0] == "1":
        return b""  # an interim answer: the real one follows
    lines = [f"HTTP/1.1 {status} "]
    lines += [f"{name}: {value}" for name, value in fields if not name.startswith(":")]
    text = "\r\n".join(line.replace("\r", " ").replace("\n", " ") for line in lines)
    return text.encode("latin-1") + b"\r\n\r\n"
