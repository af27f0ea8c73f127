"""Whom to ask first about a TCP flow whose bytes say nothing."""

from __future__ import annotations

import random

import pytest

from flowsonar.passive.suspects import suspects

PICK = random.Random(4)
KEY, SHORT, LONG = PICK.randbytes(200), PICK.randbytes(34), PICK.randbytes(256)
TEXT = b"GET / HTTP/1.1\r\nHost: www.example.org\r\nAccept: */*\r\n\r\n" * 3


@pytest.mark.parametrize(
    ("firsts", "midstream", "expected"),
    [
        ((KEY, b""), False, ("bittorrent",)),
        ((KEY, LONG), False, ("bittorrent",)),
        ((SHORT, b""), False, ()),
        ((KEY, TEXT), False, ()),
        ((TEXT, KEY), False, ()),
        ((b"", b""), False, ()),
        ((b"", b""), True, ()),
        ((LONG, b""), True, ("tls", "bittorrent")),
        ((LONG, SHORT), True, ("bittorrent", "tls")),
        ((LONG, b"abc"), True, ("tls", "bittorrent")),
        ((TEXT, LONG), True, ()),
    ],
)
def test_suspects(firsts: tuple[bytes, bytes], midstream: bool, expected: tuple[str, ...]) -> None:
    assert suspects(firsts, midstream=midstream) == expected
