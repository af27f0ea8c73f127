"""The kernel's connection tracking as the source of flows: endpoints are asked without reading a packet."""

from __future__ import annotations

import select
import time
from collections.abc import Iterator, Sequence
from typing import Final

from flowsonar.capture.conntrack import ConntrackSocket
from flowsonar.config import FlowSettings
from flowsonar.errors import CaptureError
from flowsonar.flows.events import Closed, CloseReason, Established, FlowEvent, Opened
from flowsonar.protocols.conntrack import Change, Tracked

__all__ = ["ConnectionSource"]

_TCP: Final = 6
_ESTABLISHED, _CLOSING, _CLOSED = 3, frozenset({4, 5, 6, 7}), 8  # TCP_CONNTRACK_*
_NO_COUNTERS: Final = "packets and bytes are not counted: sysctl net.netfilter.nf_conntrack_acct=1 turns it on"
_LAST_WORD_S: Final = 0.5
"""How long the last counters of open connections are waited for at the end."""


class _Flow:
    """One tracked connection that was reported."""

    __slots__ = ("established", "first_ns", "latest", "number")

    def __init__(self, number: int, first_ns: int, latest: Tracked) -> None:
        self.number = number
        self.first_ns = first_ns
        self.latest = latest
        self.established = False


class ConnectionSource:
    """A `Source`. Flows carry no payload: what they are is asked, remembered, or guessed by the port.

    Connections beyond the capacity are not reported and counted in `flows_untracked`.
    """

    def __init__(self, settings: FlowSettings) -> None:
        self.interfaces: tuple[str, ...] = ()
        self.settle_s = 0.0
        self._capacity = settings.capacity
        self._socket: ConntrackSocket | None = None
        self._flows: dict[int, _Flow] = {}
        self._count = 0
        self._untracked = 0
        self._told = False

    def open(self) -> None:
        """Listen, and ask for the connections that are there."""
        self._socket = ConntrackSocket()

    def descriptors(self) -> list[int]:
        """The one socket."""
        return [self._socket.fileno()] if self._socket is not None else []

    def events(self) -> Iterator[Sequence[FlowEvent]]:
        """Give what the kernel has told since the last call."""
        if self._socket is None:
            return
        now_ns = time.time_ns()
        found: list[FlowEvent] = []
        for tracked in self._socket.read():
            self.take(tracked, now_ns, found)
        if found:
            yield found

    def take(self, tracked: Tracked, now_ns: int, found: list[FlowEvent]) -> None:
        """Turn one message into events, at the end of `found`."""
        flow = self._flows.get(tracked.number)
        if flow is not None and not _same(flow.latest, tracked):  # the kernel uses its numbers again
            found.append(self._closed(tracked.number, flow, now_ns, CloseReason.IDLE))
            flow = None
        if tracked.change is Change.DESTROY:
            if flow is not None:
                state = flow.latest.tcp_state
                flow.latest = _counted(flow.latest, tracked)
                found.append(self._closed(tracked.number, flow, now_ns, _reason(tracked.protocol, state)))
            return
        if flow is None:
            if len(self._flows) >= self._capacity:
                self._untracked += 1
                return
            flow = self._opened(tracked, now_ns, found)
        flow.latest = _counted(flow.latest, tracked)
        if not flow.established and (tracked.protocol != _TCP or tracked.tcp_state >= _ESTABLISHED):
            flow.established = True
            found.append(Established(flow.number, now_ns, 0))

    def expire(self, now_ns: int) -> Sequence[FlowEvent]:  # noqa: ARG002 - what a source is asked
        """Nothing: the kernel has timeouts of its own."""
        return ()

    def finish(self) -> Sequence[FlowEvent]:
        """Ask for the last counters, and end all flows that are open."""
        found: list[FlowEvent] = []
        try:
            last = ConntrackSocket()
        except CaptureError:
            last = None
        if last is not None:
            deadline = time.monotonic() + _LAST_WORD_S
            while (left_s := deadline - time.monotonic()) > 0 and select.select([last], [], [], min(left_s, 0.05))[0]:
                for tracked in last.read():
                    if tracked.number in self._flows:
                        self.take(tracked, time.time_ns(), found)
            last.close()
        now_ns = time.time_ns()
        found += [self._closed(key, flow, now_ns, CloseReason.END) for key, flow in list(self._flows.items())]
        return found

    def follow(self, flow: int) -> None:
        """Nothing: there is no payload."""

    def release(self, flow: int) -> None:
        """Nothing: there is no payload."""

    def check(self) -> list[str]:
        """Tell once where the kernel does not count."""
        if self._told or self._socket is None:
            return []
        self._told = True
        if self._socket.accounting() is False:
            return [_NO_COUNTERS]
        return []

    def counters(self) -> dict[str, int]:
        """What was lost."""
        counts = {"flows_untracked": self._untracked}
        if self._socket is not None:
            counts |= {"conntrack_events_lost": self._socket.lost, "conntrack_malformed": self._socket.malformed}
        return counts

    def close(self) -> list[str]:
        """Listen no longer."""
        if self._socket is not None:
            self._socket.close()
            self._socket = None
        return []

    def _opened(self, tracked: Tracked, now_ns: int, found: list[FlowEvent]) -> _Flow:
        self._count += 1
        flow = self._flows[tracked.number] = _Flow(self._count, now_ns, tracked)
        found.append(
            Opened(
                flow=flow.number,
                time_ns=now_ns,
                protocol=tracked.protocol,
                initiator=tracked.initiator,
                initiator_port=tracked.initiator_port,
                responder=tracked.responder,
                responder_port=tracked.responder_port,
                vlan=0,
                interface=0,
                midstream=False,
            )
        )
        return flow

    def _closed(self, key: int, flow: _Flow, now_ns: int, reason: CloseReason) -> Closed:
        del self._flows[key]
        latest = flow.latest
        return Closed(
            flow=flow.number,
            time_ns=now_ns,
            reason=reason,
            first_ns=flow.first_ns,
            last_ns=now_ns,
            packets_toserver=latest.packets_toserver,
            packets_toclient=latest.packets_toclient,
            bytes_toserver=latest.bytes_toserver,
            bytes_toclient=latest.bytes_toclient,
            tcp_flags_toserver=0,
            tcp_flags_toclient=0,
            handshake_ns=0,
        )


def _counted(before: Tracked, now: Tracked) -> Tracked:
    """What is told now; changes of state come without counters, which then stay."""
    if now.packets_toserver or now.packets_toclient:
        return now
    return now._replace(
        packets_toserver=before.packets_toserver,
        packets_toclient=before.packets_toclient,
        bytes_toserver=before.bytes_toserver,
        bytes_toclient=before.bytes_toclient,
    )


def _same(one: Tracked, other: Tracked) -> bool:
    return one[2:7] == other[2:7]


def _reason(protocol: int, state: int) -> CloseReason:
    if protocol == _TCP and state in _CLOSING:
        return CloseReason.FIN
    return CloseReason.RST if protocol == _TCP and state == _CLOSED else CloseReason.IDLE
