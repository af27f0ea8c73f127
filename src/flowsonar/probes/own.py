"""Which flows are our own questions, so that they are left out of the flows being watched."""

from __future__ import annotations

import ipaddress
from collections import OrderedDict
from typing import Final

from flowsonar.model import Endpoint, FlowKey, Transport

__all__ = ["OWN_FLOWS", "OWN_LINGER_S", "OwnTraffic"]

OWN_LINGER_S: Final = 60.0
"""A flow of ours stays known this long after it ended: late packets, TIME_WAIT, records made at the idle timeout."""

OWN_FLOWS: Final = 1 << 17
"""Flows remembered; at the default rate of 200 a second the linger time needs a tenth of this."""

_Key = tuple[Transport, str, int, str, int]


class OwnTraffic:
    """A registry of our sockets' addresses. Registered after bind and before the first packet."""

    def __init__(self) -> None:
        self._open: OrderedDict[_Key, None] = OrderedDict()
        self._ended: OrderedDict[_Key, float] = OrderedDict()  # when to forget, oldest first
        self.forgotten = 0  # entries dropped because the registry was full

    def __len__(self) -> int:
        return len(self._open) + len(self._ended)

    def register(self, local_address: str, local_port: int, remote: Endpoint) -> None:
        """From now on this flow is ours."""
        key = _key(remote.transport, local_address, local_port, remote.address, remote.port)
        self._ended.pop(key, None)
        self._open[key] = None
        if len(self) > OWN_FLOWS:
            self._bound()

    def release(self, local_address: str, local_port: int, remote: Endpoint, now_s: float) -> None:
        """The flow ended; it stays known for `OWN_LINGER_S`."""
        key = _key(remote.transport, local_address, local_port, remote.address, remote.port)
        ended = self._ended
        self._open.pop(key, None)
        ended.pop(key, None)
        ended[key] = now_s + OWN_LINGER_S
        while next(iter(ended.values())) <= now_s:  # ours is not
            ended.popitem(last=False)
        if len(self) > OWN_FLOWS:
            self._bound()

    def is_own(self, key: FlowKey, now_s: float) -> bool:
        """Whether the flow is one of our questions, whichever side was seen as its initiator."""
        for ours in (
            (key.transport, key.initiator_address, key.initiator_port, key.responder_address, key.responder_port),
            (key.transport, key.responder_address, key.responder_port, key.initiator_address, key.initiator_port),
        ):
            if ours in self._open:
                return True
            until_s = self._ended.get(ours)
            if until_s is not None and now_s < until_s:
                return True
        return False

    def _bound(self) -> None:
        while len(self) > OWN_FLOWS:
            (self._ended or self._open).popitem(last=False)
            self.forgotten += 1


def _key(transport: Transport, local: str, local_port: int, remote: str, remote_port: int) -> _Key:
    return (transport, canonical(local), local_port, canonical(remote), remote_port)


def canonical(address: str) -> str:
    """As the flow table writes it: RFC 5952, no zone, an IPv4-mapped address as IPv4."""
    if ":" not in address:
        return address
    parsed = ipaddress.IPv6Address(address.partition("%")[0])
    return str(parsed.ipv4_mapped or parsed)
