"""Keys of QUIC's Initial packets: anyone who saw the client's first one can make them (RFC 9001 section 5.2).

They keep nobody from reading; they tie a packet to the connection it belongs to. A packet whose tag verifies was made
by an endpoint that knows the client's first destination connection id.
"""

from __future__ import annotations

from functools import lru_cache
from typing import Final, NamedTuple

from flowsonar._native import aes
from flowsonar._native.digest import sha256

__all__ = ["TAG_BYTES", "InitialKeys", "Scheme", "initial_keys", "scheme_of", "version_name"]

TAG_BYTES: Final = 16
V1: Final = 0x00000001
V2: Final = 0x6B3343CF
V2_DRAFT: Final = 0xFF020000
_SALT_V1: Final = bytes.fromhex("38762cf7f55934b34d179ae6a4c80cadccbb7f0a")
_SALT_V2: Final = bytes.fromhex("0dede3def700a6db819381be6e269dcbf9bd2ed9")
_SALT_V2_DRAFT: Final = bytes.fromhex("a707c203a59b47184a1d62ca570406ea7ae3e5d3")
_SALT_29: Final = bytes.fromhex("afbfec289993d24c9e9786f19c6111e04390a899")
_SALT_23: Final = bytes.fromhex("c3eef712c72ebb5a11a7d2432bb46365bef9f502")
_SALT_22: Final = bytes.fromhex("7fbcdb0e7c66bbe9193a96cd21519ebd7a02644a")
_SALT_Q050: Final = bytes.fromhex("504574efd066fe2f9d945cfcdbd3a7f0d3b56b45")
_SALT_T050: Final = bytes.fromhex("7ff579e5acd072915580304c43a2367c60488310")
_SALT_T051: Final = bytes.fromhex("7a4edef4e7ccee5fa4506c19124fc8ccda6e033d")
_MVFST: Final = {0xFACEB001: _SALT_22, 0xFACEB002: _SALT_23, 0xFACEB00E: _SALT_23}
"""Facebook's own numbers for drafts 22 and 27."""


class Scheme(NamedTuple):
    """How a version protects its Initials."""

    salt: bytes
    label: str = "quic"
    initial: int = 0
    """The Initial's number in the two bits of the packet type."""
    crypto: int = 0x06
    """The CRYPTO frame's type."""
    tls: bool = True
    """The handshake is TLS; else Google's own (CHLO)."""


_FIXED: Final = {
    V1: Scheme(_SALT_V1),
    V2: Scheme(_SALT_V2, "quicv2", 1),
    V2_DRAFT: Scheme(_SALT_V2_DRAFT, "quicv2"),
    0x51303530: Scheme(_SALT_Q050, crypto=0x08, tls=False),
    0x54303530: Scheme(_SALT_T050, crypto=0x08),
    0x54303531: Scheme(_SALT_T051, crypto=0x08),
    **{version: Scheme(salt) for version, salt in _MVFST.items()},
}


def scheme_of(version: int) -> Scheme | None:
    """How this version protects Initials; None where that is not known."""
    fixed = _FIXED.get(version)
    if fixed is not None or version >> 8 != 0xFF0000:
        return fixed
    draft = version & 0xFF
    if not 22 <= draft <= 34:
        return None
    return Scheme(_SALT_22 if draft == 22 else _SALT_23 if draft < 29 else _SALT_29 if draft < 33 else _SALT_V1)


def version_name(version: int) -> str:
    """What people call a version."""
    if version in (V1, V2):
        return "1" if version == V1 else "2"
    if version == V2_DRAFT:
        return "2-draft-00"
    if version >> 8 == 0xFF0000:
        return f"draft-{version & 0xFF}"
    if version >> 8 == 0xFACEB0:
        return f"mvfst-{version & 0xFF:02x}"
    text = version.to_bytes(4, "big")
    return text.decode("ascii") if text[:1] in (b"Q", b"T") and text[1:].isdigit() else f"0x{version:08x}"


class InitialKeys:
    """One side's keys."""

    __slots__ = ("_header", "_iv", "_key")

    def __init__(self, key: bytes, iv: bytes, header: bytes) -> None:
        self._key, self._header = key, header
        self._iv = int.from_bytes(iv, "big")

    def _nonce(self, number: int) -> bytes:
        return (self._iv ^ number).to_bytes(12, "big")

    def open(self, packet: bytes, at: int) -> bytes | None:
        """Open a whole packet whose number stands at `at`; None when it is not of this side and connection."""
        sample = packet[at + 4 : at + 20]
        if len(sample) < 16 or len(packet) < at + 4 + TAG_BYTES:
            return None
        mask = aes.block(self._header, sample)
        first = packet[0] ^ (mask[0] & 0x0F)
        size = (first & 3) + 1
        number = int.from_bytes(packet[at : at + size], "big") ^ int.from_bytes(mask[1 : 1 + size], "big")
        header = bytes([first]) + packet[1:at] + number.to_bytes(size, "big")
        return aes.gcm_open(self._key, self._nonce(number), header, packet[at + size :])

    def seal(self, header: bytes, number: int, payload: bytes) -> bytes:
        """Protect a packet: `header` without the packet number, which takes four bytes; its length counts the tag."""
        from cryptography.hazmat.primitives.ciphers.aead import AESGCM

        first = header[0] | 3
        plain = bytes([first]) + header[1:] + number.to_bytes(4, "big")
        sealed = AESGCM(self._key).encrypt(self._nonce(number), payload, plain)
        mask = aes.block(self._header, sealed[:16])
        hidden = (number ^ int.from_bytes(mask[1:5], "big")).to_bytes(4, "big")
        return bytes([first ^ (mask[0] & 0x0F)]) + header[1:] + hidden + sealed


def initial_keys(scheme: Scheme, destination: bytes) -> tuple[InitialKeys, InitialKeys]:
    """Make the client's and the server's keys from the destination connection id of the client's first Initial."""
    return tuple(InitialKeys(*parts) for parts in _secrets(scheme.salt, scheme.label, destination))  # type: ignore[return-value]


@lru_cache(maxsize=256)
def _secrets(salt: bytes, label: str, destination: bytes) -> tuple[tuple[bytes, bytes, bytes], ...]:
    initial = _hmac(salt, destination)
    return tuple(_side(_expand(initial, side, 32), label) for side in ("client in", "server in"))


def _side(secret: bytes, label: str) -> tuple[bytes, bytes, bytes]:
    return _expand(secret, f"{label} key", 16), _expand(secret, f"{label} iv", 12), _expand(secret, f"{label} hp", 16)


def _expand(secret: bytes, label: str, size: int) -> bytes:
    """HKDF-Expand-Label (RFC 8446 section 7.1) of at most one block, without a context."""
    name = b"tls13 " + label.encode()
    info = size.to_bytes(2, "big") + bytes([len(name)]) + name + b"\0\x01"
    return _hmac(secret, info)[:size]


def _hmac(key: bytes, data: bytes) -> bytes:
    """HMAC-SHA-256 (RFC 2104) for keys of 64 bytes at most."""
    padded = key.ljust(64, b"\0")
    inner = sha256(bytes(byte ^ 0x36 for byte in padded) + data)
    return sha256(bytes(byte ^ 0x5C for byte in padded) + inner)
