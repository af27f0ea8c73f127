"""Packed addresses as text."""

import pytest

from flowsonar.passive.addresses import address_text, is_unicast_ipv4


@pytest.mark.parametrize(
    ("packed", "text"),
    [
        ("c0000201", "192.0.2.1"),
        ("20010db8000000000000000000000001", "2001:db8::1"),
        ("00000000000000000000ffffc0000201", "::ffff:192.0.2.1"),
        ("00000000000000000000000000000001", "::1"),
    ],
)
def test_text(packed, text):
    assert address_text(bytes.fromhex(packed)) == text


@pytest.mark.parametrize(
    ("packed", "unicast"),
    [
        ("c0000201", True),
        ("00000001", False),
        ("7f000001", False),
        ("e0000001", False),
        ("ffffffff", False),
        ("00" * 16, False),
    ],
)
def test_unicast(packed, unicast):
    assert is_unicast_ipv4(bytes.fromhex(packed)) is unicast
