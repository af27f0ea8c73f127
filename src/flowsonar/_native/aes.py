"""AES-128 and GCM without `cryptography`, whose library takes longer to load than a capture's QUIC takes to read."""

from __future__ import annotations

from flowsonar._native import core

__all__ = ["block", "gcm_open"]


def block(key: bytes, data: bytes) -> bytes:
    """One block of 16 bytes, encrypted: QUIC's header protection (RFC 9001 section 5.4.3) asks for no more."""
    if core is not None:
        encrypted: bytes = core.codec_aes(key, data)
        return encrypted
    from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes

    return Cipher(algorithms.AES(key), modes.ECB()).encryptor().update(data)  # noqa: S305 - one block, no mode at all


def gcm_open(key: bytes, iv: bytes, header: bytes, sealed: bytes) -> bytes | None:
    """What `sealed`, which ends in its tag of 16 bytes, holds; None where the tag is not of this key, IV and header."""
    if core is not None:
        opened: bytes | None = core.codec_gcm_open(key, iv, header, sealed)
        return opened
    from cryptography.exceptions import InvalidTag
    from cryptography.hazmat.primitives.ciphers.aead import AESGCM

    try:
        return AESGCM(key).decrypt(iv, sealed, header)
    except InvalidTag:
        return None
