"""The bare client's view of the wire."""

from __future__ import annotations

import socket

import pytest
from lab.hidden.bare import between


def frame(source: str, destination: str, *, protocol: int = 6, kind: bytes = b"\x08\x00") -> bytes:
    head = bytes(12) + kind + b"\x45" + bytes(8) + bytes((protocol,)) + bytes(2)
    return head + socket.inet_aton(source) + socket.inet_aton(destination) + bytes(20)


@pytest.mark.parametrize(
    ("data", "wanted"),
    [
        (frame("10.0.0.1", "10.0.0.2"), True),
        (frame("10.0.0.2", "10.0.0.1"), True),
        (frame("10.0.0.1", "10.0.0.3"), False),
        (frame("10.0.0.1", "10.0.0.2", protocol=17), False),
        (frame("10.0.0.1", "10.0.0.2", kind=b"\x86\xdd"), False),
        (frame("10.0.0.1", "10.0.0.2")[:33], False),
    ],
)
def test_only_packets_of_the_transfer_count(data: bytes, wanted: bool) -> None:
    assert between(data, "10.0.0.1", "10.0.0.2") is wanted
