"""A set of endpoints in little memory: a /16 with a hundred ports takes some 20 MB, not the 2 GB of a set of tuples."""

from __future__ import annotations

import ipaddress
from typing import Final

from flowsonar.model import Endpoint

__all__ = ["EndpointSet"]

_BITS: Final = 6
_MASK: Final = (1 << _BITS) - 1


class EndpointSet:
    """Addresses that stand side by side on a port share an entry: a mask of 64 bits."""

    __slots__ = ("_masks", "_size")

    def __init__(self) -> None:
        self._masks: dict[int, int] = {}
        self._size = 0

    def __len__(self) -> int:
        return self._size

    def __contains__(self, endpoint: Endpoint) -> bool:
        key, bit = _place(endpoint)
        return bool(self._masks.get(key, 0) & bit)

    def add(self, endpoint: Endpoint) -> bool:
        """Put an endpoint in; whether it is new."""
        key, bit = _place(endpoint)
        mask = self._masks.get(key, 0)
        if mask & bit:
            return False
        self._masks[key] = mask | bit
        self._size += 1
        return True


def _place(endpoint: Endpoint) -> tuple[int, int]:
    address = ipaddress.ip_address(endpoint.address)
    number = int(address)
    scope = getattr(address, "scope_id", None)
    kind = hash((endpoint.transport, address.version, scope)) & 0xFFFFFFFF
    return ((number >> _BITS) << 48) | (kind << 16) | endpoint.port, 1 << (number & _MASK)
