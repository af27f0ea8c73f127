"""Connections that are begun before it is known what to ask on them: the question finds its handshake done.

For the first packets of flows of hosts that speak with peers (`verdicts/peerhosts`): what such a flow shows first comes
a round trip after its SYN, and what tells it takes two more. Each counts as any other connection: scope, budget and
audit log stand before it. Who is asked nothing then sees a connection without a byte, ended within a second.
"""

from __future__ import annotations

import errno
import socket
import time
from collections import OrderedDict
from contextlib import ExitStack
from dataclasses import dataclass
from typing import Final

from flowsonar.errors import FlowsonarError
from flowsonar.model import Endpoint, Transport
from flowsonar.probes.audit import CONTROL, AuditAction
from flowsonar.probes.gate import Gate
from flowsonar.probes.own import OwnFlow, canonical
from flowsonar.probes.routes import Routes, socket_address

__all__ = ["AHEAD", "AHEAD_S", "Ahead", "Started", "begin"]

AHEAD: Final = 64
"""Connections at a time that wait for a question."""
AHEAD_S: Final = 0.9
"""They wait so long; the kernel says its SYN again after a second (RFC 6298 section 2)."""


@dataclass(frozen=True, slots=True)
class Started:
    """A connection whose SYN has left."""

    socket: socket.socket
    local: tuple[str, int]
    own: OwnFlow
    at_s: float


class Ahead:
    """Belongs to one prober. `sweep` it now and then, `close` it at the end."""

    def __init__(self, gate: Gate, routes: Routes) -> None:
        self._gate = gate
        self._routes = routes
        self._waiting: OrderedDict[Endpoint, Started] = OrderedDict()  # the oldest first
        self.counts = dict.fromkeys(("ahead", "ahead_unused"), 0)

    def __len__(self) -> int:
        return len(self._waiting)

    def begin(self, endpoint: Endpoint) -> bool:
        """Begin a connection, where that may be done at once; whether it was."""
        now_s, gate, host = time.monotonic(), self._gate, canonical(endpoint.address)
        if endpoint.transport is not Transport.TCP or endpoint in self._waiting or len(self._waiting) >= AHEAD:
            return False
        if gate.forbids(endpoint) is not None or gate.budget.delay_s(host, now_s) > 0:
            return False
        gate.budget.take(host, now_s)
        try:
            self._waiting[endpoint] = begin(gate, self._routes, endpoint, "ahead")
        except (OSError, FlowsonarError):
            return False  # the question will find out why
        self.counts["ahead"] += 1
        return True

    def take(self, endpoint: Endpoint) -> Started | None:
        """The connection to an endpoint, which is the caller's from now on."""
        return self._waiting.pop(endpoint, None)

    def sweep(self, now_s: float) -> float | None:
        """End what nobody took; when the next one is due, if any."""
        while self._waiting:
            endpoint, begun = next(iter(self._waiting.items()))
            if begun.at_s + AHEAD_S > now_s:
                return begun.at_s + AHEAD_S
            self._end(endpoint, now_s)
        return None

    def close(self) -> None:
        """End them all."""
        for endpoint in list(self._waiting):
            self._end(endpoint, time.monotonic())

    def _end(self, endpoint: Endpoint, now_s: float) -> None:
        begun = self._waiting.pop(endpoint)
        begun.socket.close()
        self._gate.own.release(begun.own, now_s)
        self.counts["ahead_unused"] += 1


def begin(gate: Gate, routes: Routes, endpoint: Endpoint, probe: str) -> Started:
    """Let a SYN leave.

    Raises OSError where the system refuses, FlowsonarError where the audit log cannot be written.
    """
    family, target = socket_address(endpoint.address, endpoint.port)
    now_s = time.monotonic()
    with ExitStack() as undo:
        opened = routes.open(family, socket.SOCK_STREAM | socket.SOCK_NONBLOCK | socket.SOCK_CLOEXEC)
        undo.callback(opened.close)
        opened.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        address = routes.local_address(family, target, now_s)
        opened.bind((address, 0, *target[2:]) if family == socket.AF_INET6 else (address, 0))
        local = (address, opened.getsockname()[1])
        if local == (str(target[0]), endpoint.port):
            raise OSError(errno.EADDRNOTAVAIL, "a socket must not be connected to itself")
        own = gate.own.register(*local, endpoint)
        undo.callback(gate.own.release, own, now_s)
        gate.record(endpoint, AuditAction.CONNECT, probe)
        gate.counts["controls" if probe == CONTROL else "connections"] += 1
        failure = opened.connect_ex(target)
        if failure and failure != errno.EINPROGRESS:
            raise OSError(failure, "connect")
        undo.pop_all()
    return Started(opened, local, own, now_s)
