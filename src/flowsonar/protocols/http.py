"""HTTP/1.x heads: request line, status line, and the few header fields that name things (RFC 9112)."""

from __future__ import annotations

from typing import Final, NamedTuple

from flowsonar.errors import MalformedError

__all__ = [
    "METHODS",
    "Request",
    "Response",
    "body_to_come",
    "host_of",
    "is_request",
    "is_response",
    "read_request",
    "read_response",
]

METHODS: Final = frozenset(
    b"GET HEAD POST PUT DELETE OPTIONS PATCH CONNECT TRACE PROPFIND PROPPATCH MKCOL COPY MOVE LOCK UNLOCK "
    b"REPORT SEARCH NOTIFY SUBSCRIBE UNSUBSCRIBE M-SEARCH PURGE BITS_POST CCM_POST RPC_IN_DATA RPC_OUT_DATA "
    b"RPC_CONNECT ICY".split()
)
"""RFC 9110, WebDAV (RFC 4918), and those met in the field."""

HEAD_BYTES: Final = 8192
"""As much of a head as is looked through; what comes later is not needed."""

SHORT_BODY_BYTES: Final = 8192
"""A body of this length is worth waiting for to its end."""


class Request(NamedTuple):
    """The first line and the fields that say who is asked by what."""

    method: str
    target: str
    version: str
    host: str | None
    user_agent: str | None


class Response(NamedTuple):
    """The status line and what the server calls itself."""

    version: str
    status: int
    server: str | None


def is_request(data: bytes) -> bool:
    """Whether `data` begins with a known method and a space."""
    space = data.find(b" ", 0, 18)
    return space > 0 and data[:space] in METHODS


def is_response(data: bytes) -> bool:
    """Whether `data` begins with a status line."""
    return data[:7] == b"HTTP/1." and data[8:9] == b" " and data[9:12].isdigit() and b"1" <= data[9:10] <= b"5"


def read_request(data: bytes) -> Request:
    """Read a request's head, as far as it is there; raises MalformedError when the first line is not a request's."""
    line, fields = _head(data)
    parts = line.split(b" ")
    if len(parts) != 3 or parts[0] not in METHODS or not parts[2].startswith(b"HTTP/1.") or not parts[1]:
        raise MalformedError("not a request line")
    host = _text(fields.get(b"host"))
    if parts[1][:7].lower() == b"http://" and host is None:
        host = _text(parts[1][7:].split(b"/", 1)[0])  # absolute form (RFC 9112 section 3.2.2)
    return Request(
        parts[0].decode("ascii"),
        parts[1].decode("latin-1"),
        parts[2][5:].decode("latin-1"),
        host,
        _text(fields.get(b"user-agent")),
    )


def host_of(data: bytes) -> str | None:
    """Find the host of what `is_request`, without reading the rest: the Host field, or an absolute target."""
    end = data.find(b"\r\n\r\n")
    head = data[: end + 2] if 0 <= end < HEAD_BYTES else data[:HEAD_BYTES]
    line = head.find(b"\r\n")
    if line < 0 or head.rfind(b" HTTP/1.", 0, line) < 0:
        return None
    at = head.find(b"\r\nHost:", line)
    if at < 0:
        at = head.lower().find(b"\r\nhost:", line)
    if at >= 0:
        end = head.find(b"\r\n", at + 7)
        return _text(head[at + 7 : end].strip(b" \t")) if end >= 0 else None
    start = head.find(b" ") + 1
    if head[start : start + 7].lower() == b"http://":
        return _text(head[start + 7 : head.find(b" ", start)].split(b"/", 1)[0])
    return None


def read_response(data: bytes) -> Response:
    """Read a response's head, as far as it is there; raises MalformedError when it is not one."""
    line, fields = _head(data)
    if not is_response(line):
        raise MalformedError("not a status line")
    return Response(line[5:8].decode("latin-1"), int(line[9:12]), _text(fields.get(b"server")))


def body_to_come(data: bytes) -> bool:
    """Whether a response's head is whole and promises a body of which nothing came, or not all of a short one."""
    end = data.find(b"\r\n\r\n", 0, HEAD_BYTES)
    if end < 0 or not is_response(data):
        return False
    came = len(data) - end - 4
    head = data[: end + 2].lower()
    at = head.find(b"\r\ncontent-length:")
    if at < 0:
        return not came and b"\r\ntransfer-encoding:" in head
    length = head[at + 17 : head.find(b"\r\n", at + 17)].strip(b" \t")
    if not length.isdigit() or len(length) > 9:
        return False
    return came < int(length) and (not came or int(length) <= SHORT_BODY_BYTES)


def _head(data: bytes) -> tuple[bytes, dict[bytes, bytes]]:
    """Split the first line, and the whole header lines after it; a line that is cut at the end is left out."""
    head = data[:HEAD_BYTES]
    end = head.find(b"\r\n\r\n")
    lines = head[:end].split(b"\r\n") if end >= 0 else head.split(b"\r\n")[:-1]
    fields: dict[bytes, bytes] = {}
    for line in lines[1:]:
        name, colon, value = line.partition(b":")
        if colon:
            fields.setdefault(name.lower(), value.strip(b" \t"))
    return (lines[0] if lines else b""), fields


def _text(value: bytes | None) -> str | None:
    if not value or len(value) > 1024:
        return None
    text = value.decode("latin-1")
    return text if text.isprintable() else None
