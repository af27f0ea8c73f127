"""SHA-1 and SHA-256 from the core and from the standard library."""

import hashlib

import pytest

from flowsonar._native import digest


@pytest.mark.parametrize("size", [0, 1, 55, 56, 63, 64, 65, 1000, 1 << 20])
def test_both_give_the_same(monkeypatch: pytest.MonkeyPatch, size: int) -> None:
    data = bytes(range(256)) * (size // 256) + bytes(range(size % 256))
    assert digest.sha256(data) == hashlib.sha256(data).digest()
    monkeypatch.setattr(digest, "core", None)
    assert digest.sha256(data) == hashlib.sha256(data).digest()


@pytest.mark.parametrize("size", [0, 1, 40, 55, 56, 200])
def test_short_messages(monkeypatch: pytest.MonkeyPatch, size: int) -> None:
    expected = hashlib.sha1(bytes(range(size)), usedforsecurity=False).digest()
    assert digest.sha1(bytes(range(size))) == expected
    if digest.core is not None:
        digest.core.codec_forbid(3)  # the processor's own instructions
        try:
            assert digest.sha1(bytes(range(size))) == expected
        finally:
            digest.core.codec_forbid(0)
    monkeypatch.setattr(digest, "core", None)
    assert digest.sha1(bytes(range(size))) == expected
