"""A QUIC connection of our own as datagrams in, datagrams out: as far as the server's certificate, ALPN, and a stream.

Specification: RFC 9000, 9001, 9369 (version 2). Default ports: 443 and each service's own.
Sends: one Initial of 1200 bytes with the flow's SNI and ALPN, or, where the flow showed none, a reserved name (RFC
8701) before those that services have: who picks anything picks the reserved one. Then the end of the handshake
with what is to be said on a stream, and CONNECTION_CLOSE, so that the server keeps nothing.
On the other side: one handshake, logged by some servers. An answer is at most three times the question before the
server has heard from us again (RFC 9000 section 8.1).
What could look the same: nothing else answers with packets sealed by keys made of our random connection id.
"""

from __future__ import annotations

import random
import re
from collections.abc import Callable, Sequence
from typing import Final

from flowsonar.errors import MalformedError
from flowsonar.probes.special.quicframes import CLOSE, CRYPTO, read_frames
from flowsonar.probes.special.quickeys import PacketKeys, Secrets
from flowsonar.probes.special.quictls import Handshake
from flowsonar.protocols import quic
from flowsonar.protocols.quic_keys import TAG_BYTES, initial_keys, scheme_of, version_name

__all__ = ["HANDSHAKE_BYTES", "NO_APPLICATION_PROTOCOL", "RESERVED_NAME", "QuicClient"]

HANDSHAKE_BYTES: Final = 1 << 16
"""Of the server's flight that are kept: certificate chains of a few KiB are usual."""
RESERVED_NAME: Final = b"\x0a\x0a"
"""An ALPN name that no service has (RFC 8701 section 5)."""
NO_APPLICATION_PROTOCOL: Final = 0x178
"""CONNECTION_CLOSE says so where none of our ALPN names is served (RFC 9001 section 8.1)."""

_ID_BYTES: Final = 8
_WAITING: Final = 8
"""Packets kept that came before their keys."""
_STREAMS: Final = 6
_STREAM_BYTES: Final = 1 << 14
_PARAMETERS: Final = {0x01: 2000, 0x03: 1472, 0x04: 1 << 16, 0x05: 1 << 15, 0x06: 1 << 15, 0x07: 1 << 14, 0x09: 8}
"""Transport parameters (RFC 9000 section 18.2): idle after 2 s, room for one small answer."""
_DRAFT_EXTENSION, _EXTENSION = 0xFFA5, 0x39
_REASON_BYTES: Final = 80
_HOST = re.compile(r"(?!-)[A-Za-z0-9_-]{1,63}(\.[A-Za-z0-9_-]{1,63})*", re.ASCII)


class QuicClient:
    """One client side of QUIC without a socket. No method raises for what the peer sends: `problem` says it."""

    def __init__(
        self,
        name: str | None,
        alpn: Sequence[bytes],
        pick: random.Random,
        *,
        version: int = 1,
        says: Callable[[bytes | None], bytes] = lambda _alpn: b"",
    ) -> None:
        """`says`: frames (`quicframes.stream`) that go with the end of our handshake, by the server's ALPN name."""
        scheme = scheme_of(version)
        assert scheme is not None
        assert scheme.tls
        self.version = version
        self._scheme = scheme
        self._pick = pick
        self._destination = self._origin = pick.randbytes(_ID_BYTES)
        self._source = pick.randbytes(_ID_BYTES)
        self._token = b""
        draft = version >> 8 == 0xFF0000 and version & 0xFF < 33
        host = name.rstrip(".") if name else ""
        self.tls = Handshake(
            host if len(host) < 254 and _HOST.fullmatch(host) else None,
            alpn,
            self._parameters(),
            _DRAFT_EXTENSION if draft else _EXTENSION,
            pick,
        )
        self._says = says
        self._numbers = [0, 0, 0]  # the next packet's, by level: Initial, Handshake, application
        self._seen: list[set[int]] = [set(), set(), set()]
        self._keys: dict[int, tuple[PacketKeys, PacketKeys]] = {}  # ours and theirs, by level
        self._waiting: list[tuple[int, bytes, int]] = []
        self._crypto = (quic.Pieces(), quic.Pieces(HANDSHAKE_BYTES))
        self._streams: dict[int, quic.Pieces] = {}
        self._out: list[bytes] = []
        self._answered = False
        self.heard = False  # a packet of the server's opened: it speaks QUIC
        self.retried = False
        self.versions: tuple[int, ...] = ()  # those it speaks, where it does not speak ours
        self.closed: int | None = None  # the code of its CONNECTION_CLOSE
        self.reason = ""
        self.problem = ""
        self.received = 0
        self._begin()

    @property
    def done(self) -> bool:
        """Our side's end of the handshake was made."""
        return self._answered

    @property
    def ended(self) -> bool:
        """Nothing more will come of it."""
        return bool(self.problem) or self.closed is not None or bool(self.versions)

    def outgoing(self) -> list[bytes]:
        """Datagrams to be sent now."""
        out, self._out = self._out, []
        return out

    def line(self) -> str:
        """Version and cipher suite, for people."""
        suite = self.tls.suite
        return f"QUIC {version_name(self.version)}" + (f"; {suite.name}" if suite else "")

    def streams(self) -> dict[int, bytes]:
        """What came on each stream, as far as it is whole."""
        return {number: pieces.head() for number, pieces in self._streams.items()}

    # -- what we say --------------------------------------------------------------------------------------------

    def _parameters(self) -> bytes:
        numbers = {kind: quic.write_varint(value) for kind, value in _PARAMETERS.items()}
        known = {0x0F: self._source, **numbers}
        return b"".join(
            quic.write_varint(kind) + quic.write_varint(len(value)) + value for kind, value in known.items()
        )

    def _begin(self) -> None:
        self._out.append(
            quic.build_initial(
                self.version, self._destination, self._source, self.tls.hello, number=self._next(0),
                token=self._token, keys_from=self._origin,
            )
        )  # fmt: skip

    def again(self) -> None:
        """Nothing came in time: say the last thing once more, or acknowledge what came so that more may."""
        if self.ended:
            return
        if self._answered:
            self._out.append(self._end())
        elif self._seen[1]:
            self._out.append(self._packet(1, self._acknowledge(1)))
        elif not self.heard:
            self._begin()

    def close(self) -> bytes:
        """A datagram that ends the connection on the other side too; nothing where there is nothing to end."""
        if self.ended or not self.heard:
            return b""
        if self._answered:
            return self._packet(2, b"\x1d\x41\x00\x00")  # H3_NO_ERROR, which other applications ignore
        if 1 in self._keys:
            return self._packet(1, b"\x1c\x00\x00\x00")
        return b""

    def _end(self) -> bytes:
        """Our Finished, and what is to be said on streams."""
        finished = self.tls.answer()
        crypto = b"\x06\0" + quic.write_varint(len(finished)) + finished
        return self._packet(1, self._acknowledge(1) + crypto) + self._packet(
            2, self._acknowledge(2) + self._says(self.tls.alpn)
        )

    def _packet(self, level: int, payload: bytes) -> bytes:
        payload += bytes(max(0, 4 - len(payload)))
        number = self._next(level)
        if level == 2:
            return self._keys[2][0].seal(b"\x40" + self._destination, number, payload)
        kind = (2 + self._scheme.initial) % 4
        head = bytes([0xC0 | kind << 4]) + self.version.to_bytes(4, "big")
        head += bytes([len(self._destination)]) + self._destination + bytes([len(self._source)]) + self._source
        head += (0x4000 | 4 + len(payload) + TAG_BYTES).to_bytes(2, "big")
        return self._keys[1][0].seal(head, number, payload)

    def _next(self, level: int) -> int:
        number = self._numbers[level]
        self._numbers[level] += 1
        return number

    def _acknowledge(self, level: int) -> bytes:
        """An ACK of the longest run of packets (RFC 9000 section 19.3); nothing where none came."""
        seen = self._seen[level]
        if not seen:
            return b""
        last = first = max(seen)
        while first - 1 in seen:
            first -= 1
        write = quic.write_varint
        return b"\x02" + write(last) + b"\0\0" + write(last - first)

    # -- what comes ---------------------------------------------------------------------------------------------

    def feed(self, datagram: bytes) -> None:
        """A datagram came."""
        self.received += len(datagram)
        try:
            self._feed(datagram)
        except MalformedError as problem:
            self.problem = self.problem or str(problem)

    def _feed(self, datagram: bytes) -> None:
        at = 0
        if datagram[:1] and datagram[0] & 0x80:
            try:
                packets = quic.read_packets(datagram)
            except MalformedError:
                return  # not QUIC, and so not of this connection
            for packet in packets:
                at = packet.end
                if packet.destination == self._source:
                    self._long(datagram, packet)
        if len(datagram) > at + _ID_BYTES and not datagram[at] & 0x80:
            rest = datagram[at:]
            if rest[1 : 1 + _ID_BYTES] == self._source:
                self._open(2, rest, 1 + _ID_BYTES)
        if 1 in self._keys and not self._answered and self.tls.done and not self.ended:
            self._answered = True
            self._out.append(self._end())

    def _long(self, datagram: bytes, packet: quic.Packet) -> None:
        if packet.kind is quic.Kind.NEGOTIATION:
            told = quic.read_negotiation(datagram)
            if told is not None and told.source == self._origin and not self.heard:
                self.heard = True
                self.versions = told.versions
        elif packet.kind is quic.Kind.RETRY:
            if not self.retried and not self.heard:  # it may be from anybody: what follows proves itself
                self.retried = True
                self._token, self._destination, self._origin = packet.token, packet.source, packet.source
                self._begin()
        elif packet.kind is quic.Kind.INITIAL:
            whole = datagram[packet.start : packet.end]
            payload = initial_keys(self._scheme, self._origin)[1].open(whole, packet.at - packet.start)
            if payload is not None:
                self.heard = True
                self._destination = packet.source
                self._frames(0, payload)
        elif packet.kind is quic.Kind.HANDSHAKE:
            self._open(1, datagram[packet.start : packet.end], packet.at - packet.start)

    def _open(self, level: int, packet: bytes, at: int) -> None:
        keys = self._keys.get(level)
        if keys is None:
            if len(self._waiting) < _WAITING:
                self._waiting.append((level, packet, at))
            return
        opened = keys[1].open(packet, at)
        if opened is not None:
            if len(self._seen[level]) < HANDSHAKE_BYTES:
                self._seen[level].add(opened[0])
            self._frames(level, opened[1])

    def _advance(self) -> None:
        """Handshake bytes came: make the keys that they allow, and open what waited for them."""
        label = self._scheme.label
        if 1 not in self._keys and self.tls.server_hello(self._crypto[0].head()):
            self._made(1, self.tls.handshake, label)
        if 1 in self._keys and 2 not in self._keys and self.tls.flight(self._crypto[1].head()):
            self._made(2, self.tls.application, label)

    def _made(self, level: int, secrets: Secrets | None, label: str) -> None:
        assert secrets is not None
        assert self.tls.suite is not None
        suite = self.tls.suite
        self._keys[level] = PacketKeys(suite, secrets.client, label), PacketKeys(suite, secrets.server, label)
        waiting, self._waiting = self._waiting, []
        for held in waiting:
            self._open(*held)

    def _frames(self, level: int, payload: bytes) -> None:
        """Raises MalformedError for a frame that is cut."""
        for frame in read_frames(payload):
            if frame.kind == CLOSE:
                self.closed = frame.number
                self.reason = frame.data[:_REASON_BYTES].decode("ascii", "replace")
            elif frame.kind == CRYPTO and level < 2:
                if self._crypto[level].add(frame.offset, frame.data):
                    self._advance()
            elif level == 2 and (frame.number in self._streams or len(self._streams) < _STREAMS):
                self._streams.setdefault(frame.number, quic.Pieces(_STREAM_BYTES)).add(frame.offset, frame.data)
