"""TLS on the wire, as far as it is in clear: records, hellos, alerts.

RFC 8446 sections 4.1 and 5.1, RFC 5246 section 7.4.1, RFC 6066 section 3 (SNI), RFC 7301 (ALPN).
"""

from __future__ import annotations

from struct import Struct, unpack_from
from typing import Final, NamedTuple

from flowsonar.errors import MalformedError

__all__ = [
    "ALERT",
    "APPLICATION_DATA",
    "HANDSHAKE",
    "VERSIONS",
    "Alert",
    "ClientHello",
    "Hello",
    "ServerHello",
    "chosen_version",
    "is_grease",
    "is_record",
    "is_record_chain",
    "is_sslv2_hello",
    "read_first_flight",
    "read_message",
]

CHANGE_CIPHER_SPEC: Final = 0x14
ALERT: Final = 0x15
HANDSHAKE: Final = 0x16
APPLICATION_DATA: Final = 0x17
MAX_RECORD: Final = 16384 + 2048
"""RFC 5246 section 6.2.3: a protected record is at most 2^14 + 2048 bytes."""
MAX_HELLO: Final = 16384
"""A hello is one flight of a few kilobytes even with post-quantum keys; longer ones are not gathered."""

VERSIONS: Final = {
    0x0002: "SSL 2",
    0x0300: "SSL 3",
    0x0301: "TLS 1.0",
    0x0302: "TLS 1.1",
    0x0303: "TLS 1.2",
    0x0304: "TLS 1.3",
}


_SERVER_NAME: Final = 0x0000
_SIGNATURE_ALGORITHMS: Final = 0x000D
_ALPN: Final = 0x0010
_SUPPORTED_VERSIONS: Final = 0x002B
_WANTED: Final = frozenset({_SERVER_NAME, _SIGNATURE_ALGORITHMS, _ALPN, _SUPPORTED_VERSIONS})
_TWO_NUMBERS: Final = Struct(">HH").unpack_from
_HELLO_RETRY: Final = bytes.fromhex("cf21ad74e59a6111be1d8c021e65b891c2a211167abb8c5e079e09e2c8a8339c")
"""RFC 8446 section 4.1.3: the random of a HelloRetryRequest."""


class ClientHello(NamedTuple):
    """What a client offers. With `complete` false the tail was not captured and lists may be short."""

    version: int
    """The legacy field; `supported_versions` counts where it is there."""
    ciphers: bytes
    """Two bytes each, as sent."""
    extensions: tuple[int, ...]
    server_name: str | None
    alpn: tuple[str, ...]
    alpn_first: bytes
    """The first protocol name as bytes, for JA4."""
    supported_versions: tuple[int, ...]
    signature_algorithms: bytes
    """Two bytes each, as sent."""
    complete: bool


class ServerHello(NamedTuple):
    """What a server chose."""

    version: int
    """Chosen version: of `supported_versions` where it is there."""
    cipher: int
    alpn: str | None
    """TLS 1.2 and older show the chosen protocol in clear."""
    retry: bool
    """A HelloRetryRequest."""


class Alert(NamedTuple):
    """An alert in clear."""

    level: int
    description: int


Hello = ClientHello | ServerHello | Alert


def is_record(data: bytes) -> bool:
    """Whether `data` begins with the header of a TLS record."""
    return (
        len(data) >= 5
        and CHANGE_CIPHER_SPEC <= data[0] <= APPLICATION_DATA
        and data[1] == 3
        and data[2] <= 4
        and 0 < data[3] << 8 | data[4] <= MAX_RECORD
    )


def is_record_chain(data: bytes) -> bool:
    """Whether `data` is whole records one after the other, the last one perhaps cut; at least one is whole.

    A segment in the middle of a connection often starts with a record. The header has 24 fixed bits; a second
    header, or an end exactly at the segment's end, makes chance unlikely.
    """
    at = 0
    size = len(data)
    while at + 5 <= size:
        if not (
            CHANGE_CIPHER_SPEC <= data[at] <= APPLICATION_DATA and data[at + 1] == 3 and data[at + 2] == data[2] <= 4
        ):
            return False
        length = data[at + 3] << 8 | data[at + 4]
        if not 0 < length <= MAX_RECORD:
            return False
        at += 5 + length
        if at == size:
            return True
        if at > size:
            return at > 5 + length  # a whole record stood before the one that is cut
    return at > 5


def is_sslv2_hello(data: bytes) -> bool:
    """Whether `data` is a ClientHello in SSL 2 framing that offers SSL 3 or TLS (RFC 5246 appendix E.2)."""
    if len(data) < 11 or not data[0] & 0x80 or data[2] != 1 or data[3] != 3 or data[4] > 3:
        return False
    length = (data[0] & 0x7F) << 8 | data[1]
    ciphers = data[5] << 8 | data[6]
    session = data[7] << 8 | data[8]
    challenge = data[9] << 8 | data[10]
    return (
        len(data) >= 2 + length
        and length == 9 + ciphers + session + challenge
        and ciphers % 3 == 0
        and ciphers > 0
        and session in {0, 16}
        and 16 <= challenge <= 32
    )


def read_first_flight(data: bytes, *, final: bool = False) -> Hello | None:
    """Read the first message of one direction from the first bytes of its stream.

    None: more bytes are needed. With `final` there will be no more: a ClientHello that is cut is read as far as
    it goes. Raises MalformedError for what is not a hello or alert.
    """
    if len(data) >= 2 and (not ALERT <= data[0] <= HANDSHAKE or data[1] != 3):
        raise MalformedError("not a TLS handshake or alert record")
    if len(data) < 5:
        if final:
            raise MalformedError("TLS record header is cut")
        return None
    if not is_record(data):
        raise MalformedError("not a TLS record")
    if data[0] == ALERT:
        return _read_alert(data, final=final)
    message, whole = _handshake_bytes(data)
    hello = read_message(message, final=final)
    if hello is None and whole:
        raise MalformedError("hello is followed by another record type")
    return hello


def read_message(message: bytes, *, final: bool = False) -> ClientHello | ServerHello | None:
    """Read a hello without records around it, as QUIC carries it; None and errors are as for `read_first_flight`."""
    if len(message) < 4:
        if final:
            raise MalformedError("TLS handshake header is cut")
        return None
    kind = message[0]
    length = message[1] << 16 | message[2] << 8 | message[3]
    if length > MAX_HELLO or length < 38 or kind not in {1, 2}:
        raise MalformedError("not a hello")
    body = message[4 : 4 + length]
    complete = len(body) == length
    if not complete and not final:
        return None
    if kind == 1:
        return _read_client_hello(body, complete=complete)
    if not complete:
        raise MalformedError("ServerHello is cut")
    return _read_server_hello(body)


def _read_alert(data: bytes, *, final: bool) -> Alert | None:
    if data[3] << 8 | data[4] != 2:
        raise MalformedError("alert record of another length than 2")
    if len(data) < 7:
        if final:
            raise MalformedError("alert is cut")
        return None
    if data[5] not in {1, 2}:
        raise MalformedError("unknown alert level")
    return Alert(data[5], data[6])


def _handshake_bytes(data: bytes) -> tuple[bytes, bool]:
    """Join the payloads of the handshake records at the start; True where another record type follows."""
    length = data[3] << 8 | data[4]
    if len(data) <= 5 + length:
        return data[5:], False
    parts = [data[5 : 5 + length]]
    at = 5 + length
    while at + 5 <= len(data):
        if data[at] != HANDSHAKE or data[at + 1] != 3:
            return b"".join(parts), True
        length = data[at + 3] << 8 | data[at + 4]
        if not 0 < length <= MAX_RECORD:
            return b"".join(parts), True
        parts.append(data[at + 5 : at + 5 + length])
        at += 5 + length
    return b"".join(parts), False


def _read_client_hello(body: bytes, *, complete: bool) -> ClientHello:
    version = body[0] << 8 | body[1] if len(body) >= 2 else 0
    if version >> 8 != 3 or version > 0x0304:
        raise MalformedError("unknown version in ClientHello")
    if len(body) < 35:
        raise MalformedError("ClientHello is cut")
    at = 35 + body[34]  # version, random, session identifier
    if body[34] > 32:
        raise MalformedError("session identifier longer than 32 bytes")
    if at + 2 > len(body):
        raise MalformedError("ClientHello is cut")
    length = body[at] << 8 | body[at + 1]
    ciphers = body[at + 2 : at + 2 + length]
    if not length or length % 2:
        raise MalformedError("odd list of ciphers")
    at += 2 + length
    if at >= len(body):
        if complete:
            raise MalformedError("ClientHello ends inside its ciphers")
        return ClientHello(version, ciphers[: len(ciphers) & ~1], (), None, (), b"", (), b"", complete=False)
    if not body[at]:
        raise MalformedError("no compression method offered")
    at += 1 + body[at]
    fields = _NO_EXTENSIONS
    if at < len(body):
        fields = _read_extensions(body, at, complete=complete)
    elif at > len(body) and complete:
        raise MalformedError("ClientHello ends inside its compression methods")
    return ClientHello(
        version,
        ciphers,
        fields.types,
        fields.server_name,
        tuple(name.decode("latin-1") for name in fields.alpn),
        fields.alpn[0] if fields.alpn else b"",
        fields.versions,
        fields.signature_algorithms,
        complete=complete,
    )


def _read_server_hello(body: bytes) -> ServerHello:
    version = body[0] << 8 | body[1]
    if version >> 8 != 3 or version > 0x0304:
        raise MalformedError("unknown version in ServerHello")
    if body[34] > 32:
        raise MalformedError("session identifier longer than 32 bytes")
    at = 35 + body[34]
    if at + 3 > len(body):
        raise MalformedError("ServerHello ends inside its session identifier")
    cipher = body[at] << 8 | body[at + 1]
    at += 3
    fields = _read_extensions(body, at, complete=True) if at < len(body) else _NO_EXTENSIONS
    if fields.versions:
        version = fields.versions[0]
    alpn = fields.alpn[0].decode("latin-1") if fields.alpn else None
    return ServerHello(version, cipher, alpn, body[2:34] == _HELLO_RETRY)


class _Extensions(NamedTuple):
    """The extensions of a hello that matter here."""

    types: tuple[int, ...] = ()
    server_name: str | None = None
    alpn: tuple[bytes, ...] = ()
    versions: tuple[int, ...] = ()
    signature_algorithms: bytes = b""


_NO_EXTENSIONS: Final = _Extensions()


def _read_extensions(body: bytes, at: int, *, complete: bool) -> _Extensions:
    """Read the list at `at`; what is cut is left out unless the hello claims to be complete. A hot loop."""
    size = len(body)
    if at + 2 > size or (complete and at + 2 + (body[at] << 8 | body[at + 1]) != size):
        if complete:
            raise MalformedError("extensions do not end where the hello ends")
        return _NO_EXTENSIONS
    at += 2
    types: list[int] = []
    server_name: str | None = None
    alpn: tuple[bytes, ...] = ()
    versions: tuple[int, ...] = ()
    algorithms = b""
    while at + 4 <= size:
        kind, length = _TWO_NUMBERS(body, at)
        at += 4
        end = at + length
        types.append(kind)
        if end > size:
            if complete:
                raise MalformedError("an extension reaches past the hello")
            at = size
            break
        if kind in _WANTED:
            if kind == _SERVER_NAME:
                server_name = _server_name(body, at, end)
            elif kind == _ALPN:
                alpn = _protocol_names(body, at, end)
            elif kind == _SUPPORTED_VERSIONS:
                versions = _versions(body[at:end])
            else:
                algorithms = body[at + 2 : end]
        at = end
    if at != size and complete:
        raise MalformedError("bytes are left after the last extension")
    return _Extensions(tuple(types), server_name, alpn, versions, algorithms)


def _server_name(body: bytes, at: int, end: int) -> str | None:
    """Read the host name (RFC 6066 section 3); None for an empty list (a server's) or bytes that no name has."""
    if end - at < 5 or body[at + 2]:
        return None
    length = body[at + 3] << 8 | body[at + 4]
    name = body[at + 5 : at + 5 + length]
    if at + 5 + length > end or not name or len(name) > 255:
        return None
    text = name.decode("latin-1")
    return text if text.isprintable() and " " not in text else None


def _protocol_names(body: bytes, at: int, end: int) -> tuple[bytes, ...]:
    names = []
    at += 2
    while at < end:
        length = body[at]
        if not length or at + 1 + length > end:
            break
        names.append(body[at + 1 : at + 1 + length])
        at += 1 + length
    return tuple(names)


def _versions(value: bytes) -> tuple[int, ...]:
    """Read a client's list, which has a length byte before it, or a server's choice of two bytes."""
    if len(value) == 2:
        return (value[0] << 8 | value[1],)
    count = min(len(value) - 1, value[0]) // 2 if value else 0
    return unpack_from(f">{count}H", value, 1) if count else ()


def is_grease(value: int) -> bool:
    """RFC 8701: values that mean nothing and keep servers tolerant."""
    return value & 0x0F0F == 0x0A0A and value >> 8 == value & 0xFF


def chosen_version(hello: ClientHello) -> int:
    """Give the highest version a client offers."""
    offered = [version for version in hello.supported_versions if version & 0x0F0F != 0x0A0A]
    return max(offered) if offered else hello.version
