"""Packed addresses as text (RFC 5952), and the few ranges that matter to passive rules."""

from __future__ import annotations

from functools import lru_cache
from socket import AF_INET, AF_INET6, inet_ntop

__all__ = ["address_text", "is_unicast_ipv4"]


@lru_cache(maxsize=65536)
def address_text(packed: bytes) -> str:
    """Write a packed address of 4 or 16 bytes in canonical text form."""
    if len(packed) == 4:
        return inet_ntop(AF_INET, packed)
    if packed[:12] == b"\0\0\0\0\0\0\0\0\0\0\xff\xff":
        return f"::ffff:{inet_ntop(AF_INET, packed[12:])}"
    return inet_ntop(AF_INET6, packed)


def is_unicast_ipv4(packed: bytes) -> bool:
    """Whether it is an IPv4 address that a host can have: not 0.x, 127.x, multicast, reserved or broadcast."""
    return len(packed) == 4 and 0 < packed[0] < 224 and packed[0] != 127
