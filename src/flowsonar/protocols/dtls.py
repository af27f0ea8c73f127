"""DTLS: records and hellos that travel in clear (RFC 6347 for 1.2, RFC 4347 for 1.0, RFC 9147 for 1.3).

A hello is TLS's with a message sequence and fragments in its header and a cookie in its body; it is read by TLS's codec
once these are taken out. Everything here is pure and never reads past the datagram.
"""

from __future__ import annotations

from typing import Final, NamedTuple

from flowsonar.errors import MalformedError
from flowsonar.protocols import tls

__all__ = ["USE_SRTP", "HelloVerify", "Record", "is_record", "read_hello", "read_records", "version_name"]

ALERT: Final = 21
HANDSHAKE: Final = 22
USE_SRTP: Final = 14
"""The extension by which WebRTC and SIP agree on keys for media (RFC 5764)."""

_HEADER: Final = 13
_MESSAGE_HEADER: Final = 12
_CLIENT_HELLO, _SERVER_HELLO, _HELLO_VERIFY = 1, 2, 3
_VERSIONS: Final = {0xFEFF: "1.0", 0xFEFD: "1.2", 0xFEFC: "1.3"}
_TLS_VERSIONS: Final = {0xFEFF: 0x0302, 0xFEFD: 0x0303, 0xFEFC: 0x0304}
_COOKIE_BYTES: Final = 255
RECORDS: Final = 16
"""Of one datagram: a flight of a handshake has a handful."""


class Record(NamedTuple):
    """One record in clear."""

    kind: int
    version: int
    epoch: int
    sequence: int
    payload: bytes


class HelloVerify(NamedTuple):
    """A server's HelloVerifyRequest: it wants its cookie back before it keeps anything."""

    version: int
    cookie: bytes


def version_name(version: int) -> str:
    """`1.2`; a number that is none of DTLS's as hexadecimal."""
    return _VERSIONS.get(version, f"{version:04x}")


def is_record(data: bytes) -> bool:
    """Whether `data` begins with the header of a record in clear: a known type and version, epoch 0."""
    return (
        len(data) > _HEADER
        and 20 <= data[0] <= 25
        and data[1] == 0xFE
        and data[2] in (0xFF, 0xFD)
        and data[3:5] == b"\0\0"
        and 0 < data[11] << 8 | data[12] <= tls.MAX_RECORD
    )


def read_records(data: bytes) -> list[Record]:
    """The records of a datagram, those after the first encrypted or foreign one left out. Raises MalformedError."""
    records: list[Record] = []
    while len(records) < RECORDS and is_record(data):
        length = data[11] << 8 | data[12]
        payload = data[_HEADER : _HEADER + length]
        sequence = int.from_bytes(data[5:11], "big")
        records.append(Record(data[0], data[1] << 8 | data[2], 0, sequence, payload))
        if len(payload) < length:
            break  # cut by whoever kept it
        data = data[_HEADER + length :]
    if not records:
        raise MalformedError("not a DTLS record")
    return records


def read_hello(data: bytes) -> tls.ClientHello | tls.ServerHello | HelloVerify | tls.Alert:
    """The hello or alert that a datagram begins with; a hello in several datagrams as far as it goes.

    Versions are DTLS's own (`0xFEFD`). Raises MalformedError for anything else.
    """
    records = read_records(data)
    first = records[0]
    if first.kind == ALERT:
        if len(first.payload) != 2 or first.payload[0] not in (1, 2):
            raise MalformedError("not an alert in clear")
        return tls.Alert(first.payload[0], first.payload[1])
    if first.kind != HANDSHAKE:
        raise MalformedError("no handshake record")
    kind, length, body = _message(records)
    if kind == _HELLO_VERIFY:
        return _hello_verify(body)
    if kind not in (_CLIENT_HELLO, _SERVER_HELLO) or len(body) < 35:
        raise MalformedError("not a hello")
    version = body[0] << 8 | body[1]
    if version not in _VERSIONS:
        raise MalformedError("unknown version in hello")
    if kind == _CLIENT_HELLO:
        body, taken = _without_cookie(body)
        length -= taken
    head = bytes([kind]) + length.to_bytes(3, "big") + _TLS_VERSIONS[version].to_bytes(2, "big")
    message = head + body[2:]
    hello = tls.read_message(_with_versions(message), final=True)
    if isinstance(hello, tls.ServerHello):
        chosen = version if hello.version == _TLS_VERSIONS[version] else hello.version
        return hello._replace(version=chosen)
    if hello is None:
        raise MalformedError("hello is cut")
    return hello._replace(version=_chosen(hello.supported_versions, version), supported_versions=())


def _message(records: list[Record]) -> tuple[int, int, bytes]:
    """The first handshake message: its type, its whole length, and what of it came in order."""
    kind = length = -1
    body = bytearray()
    for record in records:
        payload = record.payload
        if record.kind != HANDSHAKE or len(payload) < _MESSAGE_HEADER:
            break
        size = int.from_bytes(payload[1:4], "big")
        offset, fragment = int.from_bytes(payload[6:9], "big"), int.from_bytes(payload[9:12], "big")
        if kind < 0:
            kind, length = payload[0], size
        if payload[0] != kind or size != length or offset != len(body) or offset + fragment > size:
            break
        body += payload[_MESSAGE_HEADER : _MESSAGE_HEADER + fragment]
        if len(body) == length:
            break
    if kind < 0 or not 3 <= length <= tls.MAX_HELLO:
        raise MalformedError("not a handshake message of that length")
    return kind, length, bytes(body)


def _hello_verify(body: bytes) -> HelloVerify:
    version = body[0] << 8 | body[1] if len(body) >= 3 else 0
    if version not in _VERSIONS or len(body) != 3 + body[2]:
        raise MalformedError("not a HelloVerifyRequest")
    return HelloVerify(version, body[3:])


def _without_cookie(body: bytes) -> tuple[bytes, int]:
    """A ClientHello's body as TLS has it, and the number of bytes taken out."""
    at = 35 + body[34]
    if body[34] > 32 or at >= len(body):
        raise MalformedError("session identifier longer than 32 bytes")
    taken = 1 + body[at]
    if at + taken > len(body):
        raise MalformedError("ClientHello ends inside its cookie")
    return body[:at] + body[at + taken :], taken


def _with_versions(message: bytes) -> bytes:
    """The highest legacy version that TLS's codec takes in a hello is 1.2."""
    return message[:4] + min(message[4:6], b"\x03\x03") + message[6:]


def _chosen(offered: tuple[int, ...], legacy: int) -> int:
    """The highest version that a client offers: DTLS counts downwards."""
    known = [version for version in offered if version in _VERSIONS]
    return min(known) if known else legacy
