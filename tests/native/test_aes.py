"""AES and GCM from the core and from `cryptography`."""

import random

import pytest
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from flowsonar._native import aes

CHANCE = random.Random(7)


@pytest.fixture(params=["core", "cryptography"])
def way(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    if request.param == "cryptography":
        monkeypatch.setattr(aes, "core", None)


def test_a_block(way: None) -> None:
    """FIPS 197, appendix B."""
    key, plain = bytes.fromhex("2b7e151628aed2a6abf7158809cf4f3c"), bytes.fromhex("3243f6a8885a308d313198a2e0370734")
    assert aes.block(key, plain).hex() == "3925841d02dc09fbdc118597196a0b32"


@pytest.mark.parametrize("size", [0, 1, 16, 1183])
def test_opened_by_its_key_only(way: None, size: int) -> None:
    key, iv, header, data = (CHANCE.randbytes(length) for length in (16, 12, 20, size))
    sealed = AESGCM(key).encrypt(iv, data, header)
    assert aes.gcm_open(key, iv, header, sealed) == data
    assert aes.gcm_open(key, iv, header + b"x", sealed) is None
    assert aes.gcm_open(bytes(16), iv, header, sealed) is None
