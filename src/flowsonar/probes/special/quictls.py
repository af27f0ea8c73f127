"""The TLS 1.3 inside a QUIC connection of our own: our ClientHello, and what the server's first flight says.

RFC 8446, RFC 9001 section 8. No certificate is verified and none of ours is shown: nothing is entrusted to the server.
"""

from __future__ import annotations

import random
from collections.abc import Sequence
from typing import Final

from flowsonar.errors import MalformedError
from flowsonar.probes.special.quickeys import SUITES, Schedule, Secrets, Suite

__all__ = ["Handshake"]

X25519, P256 = 0x001D, 0x0017
MESSAGES: Final = 16
"""Messages read of a server's flight: it has five."""
CERTIFICATE_BYTES: Final = 1 << 16

_SERVER_NAME, _GROUPS, _SIGNATURES, _ALPN, _VERSIONS, _MODES, _SHARES = 0, 10, 13, 16, 43, 45, 51
_SERVER_HELLO, _EXTENSIONS, _CERTIFICATE, _REQUEST, _VERIFY, _FINISHED = 2, 8, 11, 13, 15, 20
_RETRY_RANDOM: Final = bytes.fromhex("cf21ad74e59a6111be1d8c021e65b891c2a211167abb8c5e079e09e2c8a8339c")
"""A ServerHello with this random is a HelloRetryRequest (RFC 8446 section 4.1.3)."""


class Handshake:
    """One handshake. Raises MalformedError for what a server may not send."""

    def __init__(
        self, name: str | None, alpn: Sequence[bytes], parameters: bytes, extension: int, pick: random.Random
    ) -> None:
        """`parameters`: QUIC's transport parameters, carried in the extension of that number."""
        from cryptography.hazmat.primitives.asymmetric import ec, x25519  # noqa: PLC0415

        self._x25519 = x25519.X25519PrivateKey.from_private_bytes(pick.randbytes(32))
        self._p256 = ec.derive_private_key(pick.getrandbits(255) | 1, ec.SECP256R1())
        self.hello = self._client_hello(name, alpn, parameters, extension, pick)
        self._transcript = self.hello
        self._schedule: Schedule | None = None
        self._read = 0  # bytes of the handshake level that were read as messages
        self.suite: Suite | None = None
        self.handshake: Secrets | None = None
        self.application: Secrets | None = None
        self.alpn: bytes | None = None
        self.certificate: bytes | None = None
        self.chosen = False  # EncryptedExtensions came: `alpn` is the server's word
        self._asks: bytes | None = None  # it wants our certificate: the context of its question

    @property
    def done(self) -> bool:
        """The server's Finished came."""
        return self.application is not None

    def _client_hello(
        self, name: str | None, alpn: Sequence[bytes], parameters: bytes, extension: int, pick: random.Random
    ) -> bytes:
        from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat  # noqa: PLC0415

        point = self._p256.public_key().public_bytes(Encoding.X962, PublicFormat.UncompressedPoint)
        shares = _share(X25519, self._x25519.public_key().public_bytes_raw()) + _share(P256, point)
        extensions = b"".join(
            [
                _extension(_SERVER_NAME, _sized(b"\0" + _sized(name.encode("ascii"), 2), 2)) if name else b"",
                _extension(_GROUPS, _sized(_pairs(X25519, P256), 2)),
                _extension(
                    _SIGNATURES,
                    _sized(_pairs(0x0403, 0x0503, 0x0603, 0x0804, 0x0805, 0x0806, 0x0807, 0x0401, 0x0501), 2),
                ),
                _extension(_ALPN, _sized(b"".join(_sized(one, 1) for one in alpn), 2)) if alpn else b"",
                _extension(_VERSIONS, b"\x02\x03\x04"),
                _extension(_MODES, b"\x01\x01"),
                _extension(_SHARES, _sized(shares, 2)),
                _extension(extension, parameters),
            ]
        )
        body = b"\x03\x03" + pick.randbytes(32) + b"\0" + _sized(_pairs(*SUITES), 2) + b"\x01\0"
        body += _sized(extensions, 2)
        return b"\x01" + _sized(body, 3)

    # -- the server's words -------------------------------------------------------------------------------------

    def server_hello(self, head: bytes) -> bool:
        """Read the Initial level's bytes so far; True once the ServerHello is whole and made the next keys."""
        if self.handshake is not None:
            return True
        message = _message(head, 0)
        if message is None:
            return False
        kind, body = message
        if kind != _SERVER_HELLO or len(body) < 40:
            raise MalformedError("no ServerHello")
        if body[2:34] == _RETRY_RANDOM:
            raise MalformedError("wants another group")
        at = 35 + body[34]
        suite = SUITES.get(int.from_bytes(body[at : at + 2], "big"))
        extensions = _extensions(body, at + 3)
        share = extensions.get(_SHARES, b"")
        if suite is None or len(share) < 4:
            raise MalformedError("chose a cipher suite or group that was not offered")
        shared = self._exchange(int.from_bytes(share[:2], "big"), share[4:])
        self._transcript += head[: 4 + len(body)]
        self.suite = suite
        self._schedule = Schedule(suite, shared)
        self.handshake = self._schedule.handshake(self._transcript)
        return True

    def _exchange(self, group: int, theirs: bytes) -> bytes:
        from cryptography.hazmat.primitives.asymmetric import ec, x25519  # noqa: PLC0415

        try:
            if group == X25519:
                return self._x25519.exchange(x25519.X25519PublicKey.from_public_bytes(theirs))
            if group == P256:
                public = ec.EllipticCurvePublicKey.from_encoded_point(ec.SECP256R1(), theirs)
                return self._p256.exchange(ec.ECDH(), public)
        except ValueError as problem:
            raise MalformedError("a key share that is none") from problem
        raise MalformedError("chose a group that was not offered")

    def flight(self, head: bytes) -> bool:
        """Read the handshake level's bytes so far; True once it ended with Finished."""
        assert self._schedule is not None
        for _ in range(MESSAGES):
            if self.done:
                return True
            message = _message(head, self._read)
            if message is None:
                return False
            kind, body = message
            self._take(kind, body)
            end = self._read + 4 + len(body)
            self._transcript += head[self._read : end]
            self._read = end
            if kind == _FINISHED:
                self.application = self._schedule.application(self._transcript)
        return self.done

    def _take(self, kind: int, body: bytes) -> None:
        if kind == _EXTENSIONS:
            self.chosen = True
            chosen = _extensions(body, 0).get(_ALPN, b"")
            if len(chosen) > 3 and chosen[2] == len(chosen) - 3:
                self.alpn = chosen[3:]
        elif kind == _CERTIFICATE and self.certificate is None and len(body) > 7:
            at = 1 + body[0] + 3  # the request's context, then the list's length
            size = int.from_bytes(body[at : at + 3], "big")
            if 0 < size <= CERTIFICATE_BYTES and at + 3 + size <= len(body):
                self.certificate = body[at + 3 : at + 3 + size]
        elif kind == _REQUEST and body:
            self._asks = body[1 : 1 + body[0]]

    # -- our last words -----------------------------------------------------------------------------------------

    def answer(self) -> bytes:
        """Our side's end of the handshake: Finished, and before it an empty Certificate where one was asked for."""
        assert self._schedule is not None
        assert self.handshake is not None
        said = b""
        if self._asks is not None:
            said = b"\x0b" + _sized(_sized(self._asks, 1) + b"\0\0\0", 3)
        return said + self._schedule.finished(self.handshake.client, self._transcript + said)


def _message(data: bytes, at: int) -> tuple[int, bytes] | None:
    """The handshake message that begins at `at`; None while it is not whole."""
    if len(data) < at + 4:
        return None
    end = at + 4 + int.from_bytes(data[at + 1 : at + 4], "big")
    return (data[at], data[at + 4 : end]) if len(data) >= end else None


def _extensions(body: bytes, at: int) -> dict[int, bytes]:
    """Raises MalformedError where they do not fill what they say."""
    end = at + 2 + int.from_bytes(body[at : at + 2], "big")
    if end > len(body):
        raise MalformedError("extensions are cut")
    found: dict[int, bytes] = {}
    at += 2
    while at + 4 <= end:
        size = int.from_bytes(body[at + 2 : at + 4], "big")
        found[int.from_bytes(body[at : at + 2], "big")] = body[at + 4 : at + 4 + size]
        at += 4 + size
    if at != end:
        raise MalformedError("extensions are cut")
    return found


def _sized(data: bytes, size: int) -> bytes:
    return len(data).to_bytes(size, "big") + data


def _pairs(*values: int) -> bytes:
    return b"".join(value.to_bytes(2, "big") for value in values)


def _extension(kind: int, data: bytes) -> bytes:
    return kind.to_bytes(2, "big") + _sized(data, 2)


def _share(group: int, key: bytes) -> bytes:
    return group.to_bytes(2, "big") + _sized(key, 2)
