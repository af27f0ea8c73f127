"""Community ID, version 1: one name for a flow in all tools (https://github.com/corelight/community-id-spec)."""

from __future__ import annotations

from base64 import b64encode
from socket import AF_INET, AF_INET6, inet_pton
from typing import Final

from flowsonar._native.digest import sha1
from flowsonar.model import TRANSPORTS, FlowKey, Transport

__all__ = ["PAIRS", "PAIRS6", "community_id", "flow_community_id", "protocol_number"]

_ICMP, _ICMPV6 = 1, 58  # IANA protocol numbers
_WITH_PORTS: Final = frozenset({6, 17, 132})
PAIRS: Final = {0: 8, 8: 0, 9: 10, 10: 9, 13: 14, 14: 13, 15: 16, 16: 15, 17: 18, 18: 17}
"""ICMP types that answer each other, as the specification pairs them."""
_PAIRED6: Final = ((128, 129), (130, 131), (133, 134), (135, 136), (139, 140), (144, 145))
PAIRS6: Final = dict(_PAIRED6) | {answer: kind for kind, answer in _PAIRED6}
_ECHO: Final = {_ICMP: 8, _ICMPV6: 128}


def community_id(
    protocol: int, source: str, source_port: int, destination: str, destination_port: int, *, seed: int = 0
) -> str:
    """The flow's Community ID: `1:` and 28 characters of base64.

    `protocol` is the IP protocol number. Ports are those of a flow key: for ICMP the echo identifier beside the echo
    request's type, or the type beside the type that answers it or the code. Raises ValueError for what is no address.
    """
    first, second = _packed(source), _packed(destination)
    low, high = source_port, destination_port
    one_way = False
    if protocol in _ECHO:
        low, high, one_way = _icmp(protocol, low, high)
    elif protocol not in _WITH_PORTS:
        low = high = 0
    if not one_way and (second, high) < (first, low):
        first, second, low, high = second, first, high, low
    text = seed.to_bytes(2) + first + second + bytes((protocol, 0))
    if protocol in _WITH_PORTS or protocol in _ECHO:
        text += low.to_bytes(2) + high.to_bytes(2)
    return "1:" + b64encode(sha1(text)).decode()


_NUMBERS: Final = {transport: number for number, transport in TRANSPORTS.items()} | {Transport.ICMP: _ICMP}


def protocol_number(transport: Transport, address: str) -> int | None:
    """The number in the IP header (IANA); None where the record does not keep it."""
    if transport is Transport.ICMP and ":" in address:
        return _ICMPV6
    return _NUMBERS.get(transport)


def flow_community_id(key: FlowKey) -> str | None:
    """A flow's Community ID; None where its key does not keep the protocol's number."""
    number = protocol_number(key.transport, key.initiator_address)
    return None if number is None else community_id(number, *key[1:5])


def _packed(address: str) -> bytes:
    try:
        return inet_pton(AF_INET6 if ":" in address else AF_INET, address)
    except OSError:
        raise ValueError(f"{address!r} is no address") from None


def _icmp(protocol: int, source_port: int, destination_port: int) -> tuple[int, int, bool]:
    """Type and counterpart as ports, and whether the type has no answer."""
    echo = _ECHO[protocol]
    pairs = PAIRS if protocol == _ICMP else PAIRS6
    if destination_port == echo:
        return echo, pairs[echo], False
    if source_port == echo:
        return pairs[echo], echo, False
    return source_port, destination_port, pairs.get(source_port) != destination_port
