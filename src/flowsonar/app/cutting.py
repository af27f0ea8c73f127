"""Flows that are settled and have passed so many bytes are left in the kernel, whose counts are added at their end."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import Protocol

from flowsonar.capture.cutoff import flow_key
from flowsonar.flows.events import Closed, CloseReason, FlowEvent, Opened

__all__ = ["Cutting", "Kernel"]

_KeyPair = tuple[bytes, bytes]
_TCP, _UDP = 6, 17


class Kernel(Protocol):
    """What leaves flows in the kernel for one ring: `capture.cutoff.CutFlows`."""

    def add(self, key: bytes) -> bool:
        """Leave packets of this direction there; False where there is no room."""

    def look(self, key: bytes) -> tuple[int, int]:
        """Packets and bytes that were left there so far."""

    def take(self, key: bytes) -> tuple[int, int]:
        """The same, and leave none there any more."""


class Sizes(Protocol):
    """What tells how far a flow has come: the flow table."""

    def bytes_of(self, flow: int) -> int:
        """Bytes of both directions so far."""


class Cutting:
    """Decides which flows are left in the kernel. Give it all events, settled flows, and a turn now and then."""

    def __init__(self, kernels: Sequence[Kernel], sizes: Sizes, *, cutoff_bytes: int) -> None:
        self._kernels = kernels
        self._sizes = sizes
        self._cutoff_bytes = cutoff_bytes
        self._keys: dict[int, _KeyPair] = {}
        self._settled: set[int] = set()
        self._cut: dict[int, _KeyPair] = {}
        self.count = 0
        """Flows that were left in the kernel."""
        self.no_room = 0
        """Flows that should have been, where the kernel had no room."""

    def seen(self, events: Iterable[FlowEvent]) -> Sequence[FlowEvent]:
        """Take note of the flow table's events; the same, with what the kernel counted in those of closed flows."""
        return list(self._each(events))

    def _each(self, events: Iterable[FlowEvent]) -> Iterator[FlowEvent]:
        for event in events:
            if isinstance(event, Opened):
                if event.protocol in (_TCP, _UDP) and not event.vlan and not event.outer:
                    self._keys[event.flow] = _keys(event)
            elif isinstance(event, Closed):
                yield self._closed(event)
                continue
            yield event

    def settled(self, flow: int) -> None:
        """Nothing more is to be learned from the flow's payloads."""
        if flow in self._keys:
            self._settled.add(flow)

    def turn(self) -> None:
        """Leave in the kernel what has grown beyond the bound."""
        for flow in [one for one in self._settled if self._sizes.bytes_of(one) >= self._cutoff_bytes]:
            self._settled.discard(flow)
            keys = self._keys.pop(flow)
            if all(kernel.add(key) for kernel in self._kernels for key in keys):
                self._cut[flow] = keys
                self.count += 1
            else:
                self.no_room += 1
                for kernel in self._kernels:
                    for key in keys:
                        kernel.take(key)

    def _closed(self, event: Closed) -> Closed:
        flow = event.flow
        lasts = event.reason == CloseReason.ACTIVE
        if not lasts:
            self._keys.pop(flow, None)
            self._settled.discard(flow)
        keys = self._cut.get(flow) if lasts else self._cut.pop(flow, None)
        if keys is None:
            return event
        # A direction's packets count where most were seen: a gateway sees each of them on two interfaces.
        there, back = (max((kernel.look if lasts else kernel.take)(key) for kernel in self._kernels) for key in keys)
        return event._replace(
            packets_toserver=event.packets_toserver + there[0],
            bytes_toserver=event.bytes_toserver + there[1],
            packets_toclient=event.packets_toclient + back[0],
            bytes_toclient=event.bytes_toclient + back[1],
        )


def _keys(opened: Opened) -> _KeyPair:
    ends = (opened.initiator, opened.initiator_port, opened.responder, opened.responder_port)
    return flow_key(opened.protocol, *ends), flow_key(opened.protocol, *ends[2:], *ends[:2])
