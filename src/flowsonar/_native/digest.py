"""SHA-256 without `hashlib`, whose library takes longer to load than most digests at a start take."""

from __future__ import annotations

from flowsonar._native import core

__all__ = ["sha256"]


def sha256(data: bytes) -> bytes:
    """The digest of 32 bytes."""
    if core is not None:
        digest: bytes = core.codec_sha256(data)
        return digest
    import hashlib

    return hashlib.sha256(data).digest()
