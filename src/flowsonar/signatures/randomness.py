"""Do bytes look random? The test behind `random = true` in signature files.

Encrypted, compressed and random bytes pass; text, counters and structured binary fail. The bounds are set so that
truly random bytes break one in about three cases of a thousand (mostly by the printable run), whatever the length;
`docs/signatures.md` gives the figures and `tests/signatures/test_randomness.py` recomputes them.
"""

from __future__ import annotations

import re
from functools import cache, lru_cache
from math import log, sqrt
from typing import Final

__all__ = ["MIN_LENGTH", "looks_random"]

MIN_LENGTH: Final = 12
"""Below this nothing can be told: twelve bytes are the least for which the bounds below reject most structure."""

_SAMPLE: Final = 4096
"""Bytes looked at; more would not change the answer."""

_REMEMBERED: Final = 64
"""Answers kept: the first words of a flow are looked at again with every further one, and by who asks its endpoint."""

_ONES: Final = bytes(value.bit_count() for value in range(256))


def looks_random(data: bytes) -> bool:
    """True when no bound of randomness is broken. Linear in the length, at most `_SAMPLE` bytes are read."""
    return len(data) >= MIN_LENGTH and _looks_random(bytes(data[:_SAMPLE]))


@lru_cache(maxsize=_REMEMBERED)
def _looks_random(data: bytes) -> bool:
    size = len(data)
    return (
        len(set(data)) >= _least_distinct(size)
        and _printable(_longest_run(size)).search(data) is None
        and abs(sum(data.translate(_ONES)) - 4 * size) <= 4.5 * sqrt(2 * size)
        and _columns_balanced(data)
        and _nibbles_even(data)
    )


@cache
def _printable(least: int) -> re.Pattern[bytes]:
    """A printable run of at least so many bytes."""
    return re.compile(rb"[\t\n\r\x20-\x7e]{%d}" % least)


def _longest_run(size: int) -> int:
    """The printable run that is too long: 8 up to 24 bytes, then growing with the length's logarithm.

    A byte is printable with p = 98/256; a run of k or more is expected size * (1 - p) * p^k times.
    """
    return 8 if size <= 24 else 9 + round(log(size / 24) / log(256 / 98))


def _least_distinct(size: int) -> float:
    """Five deviations below the expected count of different values (birthday problem)."""
    share = (255 / 256) ** size
    expected = 256 * (1 - share)
    variance = 256 * share * (1 - share) + 256 * 255 * ((254 / 256) ** size - share**2)
    return expected - 5 * sqrt(max(variance, 0.25))


def _columns_balanced(data: bytes) -> bool:
    """Each of the eight bits is set in about half the bytes: text never sets the highest."""
    size = len(data)
    number = int.from_bytes(data, "big")
    column = int.from_bytes(b"\x01" * size, "big")
    allowed = 4.8 * sqrt(size / 4)
    return all(
        0 < (ones := ((number >> bit) & column).bit_count()) < size and abs(ones - size / 2) <= allowed
        for bit in range(8)
    )


def _nibbles_even(data: bytes) -> bool:
    """Chi-square of the sixteen half-byte values, 15 degrees of freedom; 54 is passed once in 400,000 times."""
    digits = data.hex()
    expected = len(digits) / 16
    return sum((digits.count(digit) - expected) ** 2 for digit in "0123456789abcdef") / expected <= 54
