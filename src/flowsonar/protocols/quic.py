"""QUIC on the wire, as far as anyone can read it: long headers, version negotiation, the Initials of both sides.

RFC 8999 (what all versions share), RFC 9000 section 17.2, RFC 9001 section 5, RFC 9369 (version 2); drafts 22 to 34 and
Google's Q050, T050 and T051 have the same header. Older versions of Google's are in `gquic`.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from enum import IntEnum
from typing import Final, NamedTuple

from flowsonar.errors import MalformedError
from flowsonar.protocols.quic_keys import TAG_BYTES, InitialKeys, Scheme, initial_keys, scheme_of

__all__ = [
    "MIN_INITIAL",
    "RESERVED_VERSION",
    "Initials",
    "Kind",
    "Packet",
    "Pieces",
    "build_initial",
    "build_unknown_version",
    "each_frame",
    "is_known_version",
    "is_long_header",
    "is_reserved",
    "read_negotiation",
    "read_packets",
    "read_varint",
    "skip_ack",
    "write_varint",
]

MIN_INITIAL: Final = 1200
"""RFC 9000 section 14.1: a client's datagram with an Initial has at least so many bytes."""
RESERVED_VERSION: Final = 0x1A2A3A4A
"""One of those that no server speaks (RFC 9000 section 15): it answers with its list."""
MAX_CRYPTO: Final = 8192
"""Bytes of one side's handshake that are gathered: a ClientHello with post-quantum keys has about 1800."""
MAX_PIECES: Final = 64
"""Separate runs of bytes kept while some between them are missing; Chrome cuts its hello into about ten."""
MAX_PACKETS: Final = 8
"""Packets read of one datagram: Initial, 0-RTT, Handshake, and a few more."""
MAX_FRAMES: Final = 512
"""Frames read of one packet, runs of padding counted as one."""
MAX_INITIAL: Final = 4096
"""A longer Initial is not opened: no path carries one unless on loopback."""
MAX_ID: Final = 20


class Kind(IntEnum):
    """What a long header begins, by the number that version 1 has for it."""

    INITIAL = 0
    ZERO_RTT = 1
    HANDSHAKE = 2
    RETRY = 3
    NEGOTIATION = 4
    """Version 0: the versions that a server speaks."""
    UNKNOWN = 5
    """A version that is not known: only the invariant part is read."""


class Packet(NamedTuple):
    """One packet with a long header, and where it stands in its datagram."""

    kind: Kind
    version: int
    destination: bytes
    source: bytes
    token: bytes
    start: int
    at: int
    """Where the packet number stands, or what follows the connection ids where there is none."""
    end: int


def is_reserved(version: int) -> bool:
    """Whether it is one of the versions kept to provoke negotiation (RFC 9000 section 15)."""
    return version & 0x0F0F0F0F == 0x0A0A0A0A


def is_known_version(version: int) -> bool:
    """Whether some implementation speaks it, or is meant to provoke negotiation with it."""
    return scheme_of(version) is not None or is_reserved(version)


def is_long_header(data: bytes) -> bool:
    """Whether `data` begins like a packet of a known version, or like version negotiation."""
    if len(data) < 7 or not data[0] & 0x80:
        return False
    version = int.from_bytes(data[1:5], "big")
    if version == 0:
        return read_negotiation(data) is not None
    if not data[0] & 0x40 or data[5] > MAX_ID or not is_known_version(version):
        return False
    at = 6 + data[5]
    return at < len(data) and data[at] <= MAX_ID and at + 1 + data[at] <= len(data)


class Negotiation(NamedTuple):
    """A server's list of versions."""

    destination: bytes
    source: bytes
    versions: tuple[int, ...]


def read_negotiation(data: bytes) -> Negotiation | None:
    """Read a Version Negotiation packet (RFC 8999 section 6); None where `data` is not one."""
    if len(data) < 11 or not data[0] & 0x80 or data[1:5] != b"\0\0\0\0":
        return None
    at = 6 + data[5]
    if at >= len(data) or at + 1 + data[at] > len(data):
        return None
    end = at + 1 + data[at]
    rest = data[end:]
    if not rest or len(rest) % 4 or len(rest) > 4 * 64:
        return None
    versions = tuple(int.from_bytes(rest[i : i + 4], "big") for i in range(0, len(rest), 4))
    return Negotiation(data[6:at], data[at + 1 : end], versions) if 0 not in versions else None


def read_packets(datagram: bytes) -> list[Packet]:
    """Read the long headers of a datagram, which may hold several packets; raises MalformedError at the first one.

    What follows the last packet that can be read (padding, a short header) is left out.
    """
    found = [_read_packet(datagram, 0)]
    while len(found) < MAX_PACKETS and found[-1].end + 7 <= len(datagram):
        try:
            packet = _read_packet(datagram, found[-1].end)
        except MalformedError:
            break
        if packet.version != found[0].version:
            break
        found.append(packet)
    return found


def _read_packet(data: bytes, start: int) -> Packet:
    if len(data) < start + 7 or not data[start] & 0x80:
        raise MalformedError("not a QUIC long header")
    version = int.from_bytes(data[start + 1 : start + 5], "big")
    destination, at = _sized(data, start + 5)
    source, at = _sized(data, at)
    scheme = scheme_of(version)
    if scheme is None or not version:
        kind = Kind.UNKNOWN if version else Kind.NEGOTIATION
        return Packet(kind, version, destination, source, b"", start, at, len(data))
    if not data[start] & 0x40 or len(destination) > MAX_ID or len(source) > MAX_ID:
        raise MalformedError("fixed bit or connection id of a QUIC packet is wrong")
    kind = Kind(((data[start] >> 4 & 3) - scheme.initial) % 4)
    if kind is Kind.RETRY:
        if len(data) < at + TAG_BYTES:
            raise MalformedError("QUIC Retry is cut")
        return Packet(kind, version, destination, source, data[at:-TAG_BYTES], start, at, len(data))
    token = b""
    if kind is Kind.INITIAL:
        size, at = read_varint(data, at)
        token = data[at : at + size]
        at += size
    length, at = read_varint(data, at)
    if length < 4 + TAG_BYTES or at + length > len(data):
        raise MalformedError("QUIC packet is cut")
    return Packet(kind, version, destination, source, token, start, at, at + length)


def _sized(data: bytes, at: int) -> tuple[bytes, int]:
    end = at + 1 + data[at] if at < len(data) else at + 1
    if end > len(data):
        raise MalformedError("QUIC connection id is cut")
    return data[at + 1 : end], end


def read_varint(data: bytes, at: int) -> tuple[int, int]:
    """Read a number of variable length (RFC 9000 section 16); give it and where it ends."""
    if at >= len(data):
        raise MalformedError("QUIC number is cut")
    size = 1 << (data[at] >> 6)
    if at + size > len(data):
        raise MalformedError("QUIC number is cut")
    return int.from_bytes(data[at : at + size], "big") & ((1 << (8 * size - 2)) - 1), at + size


# -- handshake bytes --------------------------------------------------------------------------------------------


class Pieces:
    """Bytes that come in any order, put in their places; of bytes that come twice the later ones count."""

    __slots__ = ("_data", "_most", "_runs")

    def __init__(self, most: int = MAX_CRYPTO) -> None:
        self._most = most
        self._data = bytearray()
        self._runs: list[tuple[int, int]] = []
        """Begin and end of what is there: in order, and never touching each other."""

    def add(self, offset: int, data: bytes) -> bool:
        """Put `data` at `offset`; False where it would be more than is kept."""
        end = offset + len(data)
        if not data:
            return True
        if end > self._most:
            return False
        before = [run for run in self._runs if run[1] < offset]
        after = [run for run in self._runs if run[0] > end]
        touching = self._runs[len(before) : len(self._runs) - len(after)]
        if len(before) + 1 + len(after) > MAX_PIECES:
            return False
        if end > len(self._data):
            self._data.extend(bytes(end - len(self._data)))
        self._data[offset:end] = data
        low = min([offset, *(run[0] for run in touching)])
        high = max([end, *(run[1] for run in touching)])
        self._runs = [*before, (low, high), *after]
        return True

    @property
    def size(self) -> int:
        """How many bytes are kept, gaps included."""
        return len(self._data)

    def head(self) -> bytes:
        """Give what is there without a gap from the beginning."""
        return bytes(self._data[: self._runs[0][1]]) if self._runs and not self._runs[0][0] else b""


class Initials:
    """One connection's Initials: its keys, and the handshake bytes of the client (0) and the server (1)."""

    __slots__ = ("_keys", "crypto", "destination", "scheme")

    def __init__(self) -> None:
        self.scheme: Scheme | None = None
        self._keys: tuple[InitialKeys, InitialKeys] | None = None
        self.destination = b""
        """Of the client's first Initial, or of the first one after a Retry: what the keys were made of."""
        self.crypto = (Pieces(), Pieces())

    def begin(self, version: int, destination: bytes) -> None:
        """Make the keys of a connection that we begin ourselves."""
        scheme = scheme_of(version)
        assert scheme is not None
        self.scheme, self.destination = scheme, destination
        self._keys = initial_keys(scheme, destination)

    def open(self, datagram: bytes, packet: Packet, likely_side: int = 0) -> int | None:
        """Open an Initial and gather its handshake bytes; 0: the client's, 1: the server's, None: it cannot be opened.

        Where the known keys do not fit, it is tried as a client's first: that is how keys are made.
        """
        whole = datagram[packet.start : packet.end]
        at = packet.at - packet.start
        if len(whole) > MAX_INITIAL:
            return None
        if self._keys is not None:
            for side in (likely_side, 1 - likely_side):
                payload = self._keys[side].open(whole, at)
                if payload is not None:
                    self._frames(payload, side)
                    return side
        scheme = scheme_of(packet.version)
        if scheme is None or (self._keys is not None and packet.destination == self.destination):
            return None
        keys = initial_keys(scheme, packet.destination)
        payload = keys[0].open(whole, at)
        if payload is None:
            return None
        self.scheme, self.destination, self._keys = scheme, packet.destination, keys
        self._frames(payload, 0)
        return 0

    def _frames(self, payload: bytes, side: int) -> None:
        """Gather the CRYPTO frames; stops at what is not a frame that an Initial may have (RFC 9000 section 17.2.2)."""
        assert self.scheme is not None
        crypto = self.scheme.crypto

        def read(kind: int, at: int) -> int | None:
            if kind == crypto:
                offset, at = read_varint(payload, at)
                length, at = read_varint(payload, at)
                whole = at + length <= len(payload)
                return at + length if whole and self.crypto[side].add(offset, payload[at : at + length]) else None
            if crypto == 0x06 and kind in (2, 3):
                return skip_ack(payload, at, counts=kind == 3)
            return at if kind == (1 if crypto == 0x06 else 7) else None  # PING

        with contextlib.suppress(MalformedError):
            each_frame(payload, read)


def each_frame(payload: bytes, read: Callable[[int, int], int | None]) -> None:
    """Call `read` with the kind of each frame and where its fields begin; PADDING is read over.

    It gives where the next frame begins, or None where there is nothing more to be had.
    """
    at, size = 0, len(payload)
    for _ in range(MAX_FRAMES):
        while at < size and not payload[at]:
            at += 1
        if at >= size:
            return
        after = read(payload[at], at + 1)
        if after is None:
            return
        at = after


def skip_ack(payload: bytes, at: int, *, counts: bool) -> int:
    """RFC 9000 section 19.3."""
    _, at = read_varint(payload, at)
    _, at = read_varint(payload, at)
    ranges, at = read_varint(payload, at)
    _, at = read_varint(payload, at)
    for _ in range(2 * ranges + 3 * counts):
        _, at = read_varint(payload, at)
    return at


# -- what we say ------------------------------------------------------------------------------------------------


def build_initial(
    version: int,
    destination: bytes,
    source: bytes,
    crypto: bytes,
    *,
    offset: int = 0,
    number: int = 0,
    token: bytes = b"",
    keys_from: bytes | None = None,
    size: int = MIN_INITIAL,
) -> bytes:
    """Make a client's Initial with one CRYPTO frame, padded to a datagram of `size` bytes where it is shorter.

    `keys_from` is the destination of the client's first Initial, where the server has named another one since.
    """
    scheme = scheme_of(version)
    assert scheme is not None
    assert len(destination) <= MAX_ID
    assert len(source) <= MAX_ID
    frame = bytes([scheme.crypto]) + write_varint(offset) + write_varint(len(crypto)) + crypto
    head = (
        bytes([0xC0 | scheme.initial << 4])
        + version.to_bytes(4, "big")
        + bytes([len(destination)])
        + destination
        + bytes([len(source)])
        + source
        + write_varint(len(token))
        + token
    )
    payload = frame + bytes(max(size - len(head) - 2 - 4 - len(frame) - TAG_BYTES, 0))
    length = 4 + len(payload) + TAG_BYTES
    keys = initial_keys(scheme, destination if keys_from is None else keys_from)
    return keys[0].seal(head + (0x4000 | length).to_bytes(2, "big"), number, payload)


def build_unknown_version(destination: bytes, source: bytes, rest: bytes, version: int = RESERVED_VERSION) -> bytes:
    """Make a datagram that every QUIC server answers with its list of versions, and that begins no connection.

    It has the form of an Initial of version 1, since some servers look at that first; `rest` (random bytes) fills it.
    """
    head = bytes([0xC0]) + version.to_bytes(4, "big")
    head += bytes([len(destination)]) + destination + bytes([len(source)]) + source + b"\0"
    return head + (0x4000 | len(rest)).to_bytes(2, "big") + rest


def write_varint(value: int) -> bytes:
    """A number of variable length, below 2**30."""
    if value < 1 << 6:
        return bytes([value])
    return (0x4000 | value).to_bytes(2, "big") if value < 1 << 14 else (0x80000000 | value).to_bytes(4, "big")
