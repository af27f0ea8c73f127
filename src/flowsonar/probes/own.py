"""Which flows are our own questions, so that they are left out of the flows being watched."""

from __future__ import annotations

import ipaddress
from collections import OrderedDict
from collections.abc import Callable
from typing import Final

from flowsonar.model import Endpoint, FlowKey, Transport

__all__ = ["OWN_FLOWS", "OWN_LINGER_S", "OwnFlow", "OwnTraffic"]

OWN_LINGER_S: Final = 60.0
"""A flow of ours stays known this long after it ended: late packets, TIME_WAIT, records made at the idle timeout."""

OWN_FLOWS: Final = 1 << 17
"""Flows remembered; at the default rate of 200 a second the linger time needs a tenth of this."""

OwnFlow = tuple[Transport, str, int, str, int]
"""A flow of ours, from our side."""


class OwnTraffic:
    """A registry of our sockets' addresses. Registered after bind and before the first packet."""

    def __init__(self) -> None:
        self._open: OrderedDict[OwnFlow, None] = OrderedDict()
        self._ended: OrderedDict[OwnFlow, float] = OrderedDict()  # when to forget, oldest first
        self.told: Callable[[Endpoint], None] | None = None  # of each socket's own address, before its first packet
        self.forgotten = 0  # entries dropped because the registry was full

    def __len__(self) -> int:
        return len(self._open) + len(self._ended)

    def register(self, local_address: str, local_port: int, remote: Endpoint) -> OwnFlow:
        """From now on this flow is ours; what is given back names it to `release`."""
        transport, address, port = remote
        flow = (transport, canonical(local_address), local_port, canonical(address), port)
        opened, ended = self._open, self._ended
        if flow in ended:
            del ended[flow]
        opened[flow] = None
        if self.told is not None:
            self.told(Endpoint(transport, flow[1], local_port))
        if len(opened) + len(ended) > OWN_FLOWS:
            self._bound()
        return flow

    def release(self, flow: OwnFlow, now_s: float) -> None:
        """The flow ended; it stays known for `OWN_LINGER_S`."""
        ended = self._ended
        self._open.pop(flow, None)
        ended[flow] = now_s + OWN_LINGER_S
        ended.move_to_end(flow)
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


def canonical(address: str) -> str:
    """As the flow table writes it: RFC 5952, no zone, an IPv4-mapped address as IPv4."""
    if ":" not in address:
        return address
    parsed = ipaddress.IPv6Address(address.partition("%")[0])
    return str(parsed.ipv4_mapped or parsed)
