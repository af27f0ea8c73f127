"""Whom to ask first about a TCP flow whose bytes say nothing."""

from __future__ import annotations

import random

import pytest

from flowsonar.model import Transport
from flowsonar.passive.suspects import suspects, unidentified

PICK = random.Random(4)
KEY, SHORT, LONG = PICK.randbytes(200), PICK.randbytes(34), PICK.randbytes(256)
PORTS = (40000, 26489)
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
        ((LONG, b""), True, ("bittorrent", "tls")),
        ((LONG, SHORT), True, ("bittorrent", "tls")),
        ((LONG, b"abc"), True, ("bittorrent", "tls")),
        ((TEXT, LONG), True, ()),
        ((KEY[:9], b""), True, ("bittorrent", "tls")),
        ((KEY[:9], KEY[20:33]), True, ("bittorrent", "tls")),
        ((KEY[:9], b""), False, ()),
        ((b"+PONG\r\n+OK\r\n", b""), True, ()),
        ((bytes.fromhex("0a00200000000000000007"), b""), True, ()),
        ((KEY[:5], b""), True, ()),
    ],
)
def test_suspects(firsts: tuple[bytes, bytes], midstream: bool, expected: tuple[str, ...]) -> None:
    assert suspects(Transport.TCP, firsts, PORTS, midstream=midstream) == expected
    assert suspects(Transport.SCTP, firsts, PORTS, midstream=midstream) == ()


def test_datagrams_with_the_header_of_utp() -> None:
    data = bytes.fromhex("0100 1234 00112233 00000010 00100000 0002 8899") + SHORT
    assert suspects(Transport.UDP, (b"", data), PORTS, midstream=False) == ("bittorrent",)
    assert suspects(Transport.UDP, (LONG, SHORT), PORTS, midstream=False) == ()


def test_on_a_system_port_a_flow_from_the_middle_is_rather_tls() -> None:
    assert suspects(Transport.TCP, (LONG, SHORT), (443, 50123), midstream=True) == ("tls", "bittorrent")
    assert suspects(Transport.TCP, (SHORT[:9], b""), (443, 50123), midstream=True) == ()


def test_what_looks_enciphered_is_told_with_its_figures() -> None:
    found = unidentified((LONG, SHORT), "nobody answers")
    assert found is not None
    assert found.service is None
    assert found.detail.startswith("looks enciphered in both directions: printable 0.")
    assert found.detail.endswith("; nobody answers")
    assert unidentified((TEXT, LONG), "") is None
    assert unidentified((b"", LONG[:20]), "") is None
