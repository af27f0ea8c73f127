"""Keys of a QUIC connection of our own beyond its Initials: TLS 1.3's key schedule and packet protection.

RFC 8446 section 7 (schedule), RFC 9001 section 5 (packets), RFC 9369 (labels of version 2). Nothing is verified but the
tag of each packet: who made it holds the other half of the key exchange.
"""

from __future__ import annotations

import hashlib
import hmac
from typing import Final, NamedTuple

from flowsonar.errors import MalformedError
from flowsonar.protocols.quic_keys import TAG_BYTES

__all__ = ["SUITES", "PacketKeys", "Schedule", "Secrets", "Suite"]


class Suite(NamedTuple):
    """A cipher suite of TLS 1.3 (RFC 8446 appendix B.4)."""

    name: str
    digest: str
    key_bytes: int
    chacha: bool = False


SUITES: Final = {
    0x1301: Suite("TLS_AES_128_GCM_SHA256", "sha256", 16),
    0x1302: Suite("TLS_AES_256_GCM_SHA384", "sha384", 32),
    0x1303: Suite("TLS_CHACHA20_POLY1305_SHA256", "sha256", 32, chacha=True),
}


class Secrets(NamedTuple):
    """Traffic secrets of one level."""

    client: bytes
    server: bytes


class Schedule:
    """From the shared secret to traffic secrets."""

    def __init__(self, suite: Suite, shared: bytes) -> None:
        self.suite = suite
        size = hashlib.new(suite.digest).digest_size
        early = hmac.digest(bytes(size), bytes(size), suite.digest)
        self._handshake = hmac.digest(self._derive(early, "derived", b""), shared, suite.digest)
        self._zeros = bytes(size)

    def handshake(self, transcript: bytes) -> Secrets:
        """`transcript`: ClientHello and ServerHello."""
        return self._both(self._handshake, "c hs traffic", "s hs traffic", transcript)

    def application(self, transcript: bytes) -> Secrets:
        """`transcript`: up to the server's Finished."""
        main = hmac.digest(self._derive(self._handshake, "derived", b""), self._zeros, self.suite.digest)
        return self._both(main, "c ap traffic", "s ap traffic", transcript)

    def finished(self, secret: bytes, transcript: bytes) -> bytes:
        """The Finished message of who holds `secret`, after `transcript` (RFC 8446 section 4.4.4)."""
        key = expand(secret, "finished", b"", len(secret), self.suite.digest)
        verify = hmac.digest(key, hashlib.new(self.suite.digest, transcript).digest(), self.suite.digest)
        return b"\x14" + len(verify).to_bytes(3, "big") + verify

    def _both(self, secret: bytes, ours: str, theirs: str, transcript: bytes) -> Secrets:
        return Secrets(self._derive(secret, ours, transcript), self._derive(secret, theirs, transcript))

    def _derive(self, secret: bytes, label: str, transcript: bytes) -> bytes:
        context = hashlib.new(self.suite.digest, transcript).digest()
        return expand(secret, label, context, len(secret), self.suite.digest)


def expand(secret: bytes, label: str, context: bytes, size: int, digest: str) -> bytes:
    """HKDF-Expand-Label (RFC 8446 section 7.1), of at most one block."""
    name = b"tls13 " + label.encode()
    info = size.to_bytes(2, "big") + bytes([len(name)]) + name + bytes([len(context)]) + context
    return hmac.digest(secret, info + b"\x01", digest)[:size]


class PacketKeys:
    """One direction of one level: seals and opens whole packets."""

    __slots__ = ("_aead", "_chacha", "_header", "_iv")

    def __init__(self, suite: Suite, secret: bytes, label: str) -> None:
        from cryptography.hazmat.primitives.ciphers.aead import AESGCM, ChaCha20Poly1305  # noqa: PLC0415

        key = expand(secret, f"{label} key", b"", suite.key_bytes, suite.digest)
        self._aead = ChaCha20Poly1305(key) if suite.chacha else AESGCM(key)
        self._iv = int.from_bytes(expand(secret, f"{label} iv", b"", 12, suite.digest), "big")
        self._header = expand(secret, f"{label} hp", b"", suite.key_bytes, suite.digest)
        self._chacha = suite.chacha

    def seal(self, header: bytes, number: int, payload: bytes) -> bytes:
        """Protect a packet: `header` without its number, which takes four bytes."""
        plain = bytes([header[0] | 3]) + header[1:] + number.to_bytes(4, "big")
        sealed = self._aead.encrypt(self._nonce(number), payload, plain)
        mask = self._mask(sealed[:16])
        bits = 0x0F if header[0] & 0x80 else 0x1F
        hidden = (number ^ int.from_bytes(mask[1:5], "big")).to_bytes(4, "big")
        return bytes([plain[0] ^ (mask[0] & bits)]) + header[1:] + hidden + sealed

    def open(self, packet: bytes, at: int) -> tuple[int, bytes] | None:
        """Packet number (as it was written) and payload of a packet whose number stands at `at`; None: not ours."""
        from cryptography.exceptions import InvalidTag  # noqa: PLC0415

        if len(packet) < at + 4 + TAG_BYTES:
            return None
        mask = self._mask(packet[at + 4 : at + 20])
        first = packet[0] ^ (mask[0] & (0x0F if packet[0] & 0x80 else 0x1F))
        size = (first & 3) + 1
        number = int.from_bytes(packet[at : at + size], "big") ^ int.from_bytes(mask[1 : 1 + size], "big")
        header = bytes([first]) + packet[1:at] + number.to_bytes(size, "big")
        try:
            return number, self._aead.decrypt(self._nonce(number), packet[at + size :], header)
        except InvalidTag:
            return None

    def _nonce(self, number: int) -> bytes:
        return (self._iv ^ number).to_bytes(12, "big")

    def _mask(self, sample: bytes) -> bytes:
        """RFC 9001 sections 5.4.3 and 5.4.4."""
        from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes  # noqa: PLC0415

        if len(sample) < 16:
            raise MalformedError("QUIC packet is too short for its protection")
        if self._chacha:
            return Cipher(algorithms.ChaCha20(self._header, sample), None).encryptor().update(bytes(5))
        return Cipher(algorithms.AES(self._header), modes.ECB()).encryptor().update(sample)  # noqa: S305 - one block
