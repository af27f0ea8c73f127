"""Digests without `hashlib`, whose library takes longer to load than most digests at a start take."""

from __future__ import annotations

from typing import Final

from flowsonar._native import core

__all__ = ["sha1", "sha256"]

_ONE_BLOCK: Final = 55
"""Bytes that the core takes for SHA-1 (`_native/sha1.h`)."""


def sha1(data: bytes) -> bytes:
    """The digest of 20 bytes: for names, not for anything secret or signed."""
    if core is not None and len(data) <= _ONE_BLOCK:
        digest: bytes = core.codec_sha1(data)
        return digest
    import hashlib

    return hashlib.sha1(data, usedforsecurity=False).digest()


def sha256(data: bytes) -> bytes:
    """The digest of 32 bytes."""
    if core is not None:
        digest: bytes = core.codec_sha256(data)
        return digest
    import hashlib

    return hashlib.sha256(data).digest()
