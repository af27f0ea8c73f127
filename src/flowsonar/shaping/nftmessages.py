"""Elements of the firewall's maps as netlink messages (linux/netfilter/nf_tables.h): bytes only, no socket.

What changes with every verdict does not go through the `nft` program: a batch of some hundred bytes takes the kernel
tens of microseconds, and nobody else's rules are read for it.
"""

from __future__ import annotations

import struct
from collections.abc import Iterable, Sequence
from ipaddress import ip_address
from typing import Final, NamedTuple

from flowsonar.errors import MalformedError
from flowsonar.model import Endpoint, FlowKey, Transport
from flowsonar.shaping.nftrules import TABLE

__all__ = ["ALIVE", "Drop", "Operation", "Place", "Put", "batch", "endpoint_place", "failures", "flow_places"]

_HEADER: Final = struct.Struct("=IHHII")  # struct nlmsghdr
_GENERIC: Final = struct.Struct(">BBH")  # struct nfgenmsg
_ATTRIBUTE: Final = struct.Struct("=HH")  # struct nlattr
_ERROR: Final = 2  # NLMSG_ERROR
_BEGIN, _END = 0x10, 0x11  # NFNL_MSG_BATCH_BEGIN, _END
_NFTABLES: Final = 10  # NFNL_SUBSYS_NFTABLES
_NEW, _DELETE = _NFTABLES << 8 | 12, _NFTABLES << 8 | 14  # NFT_MSG_NEWSETELEM, NFT_MSG_DELSETELEM
_REQUEST, _ACK, _CREATE = 1, 4, 0x400
_NESTED: Final = 0x8000
_INET: Final = 1  # NFPROTO_INET
_LIST_TABLE, _LIST_SET, _LIST_ELEMENTS, _LIST_ELEMENT = 1, 2, 3, 1  # NFTA_SET_ELEM_LIST_*, NFTA_LIST_ELEM
_KEY, _DATA, _TIMEOUT = 1, 2, 4  # NFTA_SET_ELEM_*
_VALUE, _VERDICT = 1, 2  # NFTA_DATA_VALUE, _VERDICT
_CODE, _CHAIN = 1, 2  # NFTA_VERDICT_CODE, _CHAIN
_GOTO: Final = -4  # NFT_GOTO

_PROTOCOLS: Final = {Transport.TCP: 6, Transport.UDP: 17, Transport.SCTP: 132}
_TOGETHER: Final = 256
"""Elements in one message: its list has a length of 16 bits."""


class Place(NamedTuple):
    """Where an element stands: the map and the key as the kernel wants it."""

    map: str
    key: bytes


class Put(NamedTuple):
    """A new element. The kernel refuses one that is there with another value: drop it in the same batch."""

    place: Place
    value: int | str | None
    """A chain's name where packets are to go there; None in a set."""
    timeout_ms: int


class Drop(NamedTuple):
    """An element that goes. The kernel refuses the whole batch where it is not there."""

    place: Place


Operation = Put | Drop

ALIVE: Final = (Place("alive", bytes((2,))), Place("alive", bytes((10,))))
"""The elements that all rules ask for: NFPROTO_IPV4 and NFPROTO_IPV6."""


def flow_places(key: FlowKey) -> tuple[Place, Place] | None:
    """Where a flow stands, in both directions; None for a transport without ports."""
    to, back = _side(key.initiator), _side(key.responder)
    if to is None or back is None or len(to) != len(back):
        return None
    name = "flows4" if len(to) == 12 else "flows6"
    return Place(name, to + back[4:]), Place(name, back + to[4:])


def endpoint_place(endpoint: Endpoint, kind: str = "endpoints") -> Place | None:
    """Where an endpoint stands in the maps of `kind` (`endpoints`, `peers`)."""
    key = _side(endpoint)
    return None if key is None else Place(f"{kind}{4 if len(key) == 12 else 6}", key)


def _side(endpoint: Endpoint) -> bytes | None:
    """Protocol, address and port, each filled up to four bytes, as concatenated keys are."""
    protocol = _PROTOCOLS.get(endpoint.transport)
    if protocol is None:
        return None
    try:
        address = ip_address(endpoint.address.partition("%")[0]).packed
    except ValueError:
        return None
    return bytes((protocol, 0, 0, 0)) + address + struct.pack(">HH", endpoint.port, 0)


def batch(operations: Sequence[Operation], sequence: int) -> bytes:
    """One transaction: all of it or nothing. The last message is acknowledged. Numbers count up from `sequence`."""
    assert operations
    messages = list(_grouped(operations))
    parts = [_message(_BEGIN, _REQUEST, sequence, _GENERIC.pack(0, 0, _NFTABLES))]
    for number, (kind, name, elements) in enumerate(messages, 1):
        flags = _REQUEST | (_CREATE if kind == _NEW else 0) | (_ACK if number == len(messages) else 0)
        body = _GENERIC.pack(_INET, 0, 0) + _text(_LIST_TABLE, TABLE) + _text(_LIST_SET, name)
        body += _attribute(_LIST_ELEMENTS | _NESTED, b"".join(elements))
        parts.append(_message(kind, flags, sequence + number, body))
    parts.append(_message(_END, _REQUEST, sequence + len(messages) + 1, _GENERIC.pack(0, 0, _NFTABLES)))
    return b"".join(parts)


def failures(data: bytes) -> list[tuple[int, int]]:
    """Read answers: (sequence, errno) of each message that was answered, errno 0 for done. Raises MalformedError."""
    found = []
    place = 0
    while place + _HEADER.size <= len(data):
        length, kind, _, sequence, _ = _HEADER.unpack_from(data, place)
        if length < _HEADER.size or place + length > len(data):
            raise MalformedError("a netlink message reaches beyond its datagram")
        if kind == _ERROR and length >= _HEADER.size + 4:
            (code,) = struct.unpack_from("=i", data, place + _HEADER.size)
            found.append((sequence, -code))
        place += (length + 3) & ~3
    return found


def _grouped(operations: Iterable[Operation]) -> Iterable[tuple[int, str, list[bytes]]]:
    """Neighbours that go the same way into the same map share a message."""
    kind, name, elements = 0, "", list[bytes]()
    for operation in operations:
        this = _NEW if isinstance(operation, Put) else _DELETE
        if elements and (this != kind or operation.place.map != name or len(elements) == _TOGETHER):
            yield kind, name, elements
            elements = []
        kind, name = this, operation.place.map
        elements.append(_element(operation))
    if elements:
        yield kind, name, elements


def _element(operation: Operation) -> bytes:
    body = _attribute(_KEY | _NESTED, _attribute(_VALUE, operation.place.key))
    if isinstance(operation, Put):
        if isinstance(operation.value, str):
            verdict = _attribute(_CODE, struct.pack(">i", _GOTO)) + _text(_CHAIN, operation.value)
            body += _attribute(_DATA | _NESTED, _attribute(_VERDICT | _NESTED, verdict))
        elif operation.value is not None:
            body += _attribute(_DATA | _NESTED, _attribute(_VALUE, struct.pack("=I", operation.value)))
        body += _attribute(_TIMEOUT, struct.pack(">Q", operation.timeout_ms))
    return _attribute(_LIST_ELEMENT | _NESTED, body)


def _message(kind: int, flags: int, sequence: int, body: bytes) -> bytes:
    return _HEADER.pack(_HEADER.size + len(body), kind, flags, sequence & 0xFFFFFFFF, 0) + body


def _attribute(kind: int, body: bytes) -> bytes:
    return _ATTRIBUTE.pack(4 + len(body), kind) + body + bytes(-len(body) % 4)


def _text(kind: int, text: str) -> bytes:
    return _attribute(kind, text.encode() + b"\0")
