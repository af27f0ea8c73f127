import hashlib
import random

import pytest

from flowsonar._native import core
from flowsonar.signatures.randomness import MIN_LENGTH, looks_random
from tests.needs import needs_native

SIZES = [12, 14, 16, 24, 25, 32, 64, 128, 300, 600, 1400, 4096, 70000]


@pytest.mark.parametrize("size", SIZES)
def test_random_bytes_pass_in_99_of_100(size: int) -> None:
    pick = random.Random(size)
    tries = 1000 if size < 1000 else 100
    assert sum(looks_random(pick.randbytes(size)) for _ in range(tries)) >= 0.985 * tries


@pytest.mark.parametrize(
    "data",
    [
        b"",
        random.Random(1).randbytes(MIN_LENGTH - 1),
        b"HTTP/1.0 404 Not Found\r\n\r\n",
        b"ERROR unknown command\r\n",
        bytes(64),
        bytes(range(64)),
        bytes(range(256)),
        b"\xff" * 40,
        "Приветствие на русском языке".encode(),
        "Приветствие на русском языке".encode("cp1251"),
        "日本語の挨拶文です、ようこそ".encode("shift_jis"),
        bytes.fromhex("160303007a020000760303") + random.Random(2).randbytes(32) + b"\x20" + bytes(40),
        bytes.fromhex("123484000001000100000000") + b"\x07version\x04bind\0\0\x10\0\3",
        bytes.fromhex("000012040000000000000300000080000400010000000500ffffff"),
        b"\x30\x3a\x02\x01\x03\x30\x0f\x02\x02\x4a\x69\x03\x00\xff\xe3\x04\x01\x04\x02\x01\x03" + bytes(30),
        b"".join(n.to_bytes(4, "big") for n in range(1000, 1040)),
    ],
    ids=range(16),
)
def test_structure_fails(data: bytes) -> None:
    assert not looks_random(data)


@needs_native()
def test_the_core_says_the_same() -> None:
    chance = random.Random(7)
    assert core is not None
    for _ in range(3000):
        data = chance.randbytes(chance.choice([11, 12, 13, 24, 25, 60, 200, 1400, chance.randrange(5000)]))
        if chance.randrange(2):
            data = bytes(byte & chance.choice([255, 255, 255, 127, 254]) for byte in data)
        if chance.randrange(3) == 0:
            at = chance.randrange(len(data))
            data = data[:at] + b"printable words"[: chance.randrange(16)] + data[at:]
        assert core.codec_random(data) == looks_random(data)


def test_encrypted_bytes_pass() -> None:
    stream = b"".join(hashlib.sha256(b"key%d" % block).digest() for block in range(40))
    assert looks_random(bytes(one ^ other for one, other in zip(stream, b"plain text " * 100, strict=False)))


def test_printable_words_of_a_short_reply_fail() -> None:
    noise = random.Random(5).randbytes(40)
    assert not looks_random(noise[:8] + b"password" + noise[8:16])
