"""The only sockets of the probes. Scope, never-ports, budget and audit log stand between a dialogue and the network."""

from __future__ import annotations

import asyncio
import contextlib
import errno
import ipaddress
import socket
import struct
import time
from collections.abc import Callable
from typing import Final

from flowsonar import limits
from flowsonar.config import Settings
from flowsonar.errors import FlowsonarError
from flowsonar.model import Answer, Endpoint, Outcome, Transport
from flowsonar.probes.audit import AuditAction, AuditEntry
from flowsonar.probes.budget import Budget
from flowsonar.probes.dialogue import (
    Close,
    Closed,
    Command,
    Connect,
    Connected,
    Ended,
    Event,
    Received,
    Send,
    Sent,
    Talk,
    TimedOut,
    Wait,
)
from flowsonar.probes.own import OwnTraffic
from flowsonar.probes.scope import Scope

__all__ = ["Channel", "Gate"]

_BIND_TRIES: Final = 3
"""A local port may be in use towards the same endpoint: another one is taken."""

_TCPI_UNACKED: Final = struct.Struct("24xI")
"""`struct tcp_info` of linux/tcp.h: eight bytes, then u32 rto, ato, snd_mss, rcv_mss, and unacked."""

_TCPI_RTT: Final = struct.Struct("68xI")
"""The same: rtt in microseconds is the 16th of the u32."""

_REFUSED: Final = frozenset({errno.ECONNREFUSED})
_UNREACHABLE: Final = frozenset({errno.EHOSTUNREACH, errno.ENETUNREACH, errno.EHOSTDOWN, errno.ENETDOWN, errno.EINVAL,
                                 errno.EADDRNOTAVAIL, errno.ENODEV, errno.ENOPROTOOPT, errno.EOPNOTSUPP})  # fmt: skip
_PROHIBITED: Final = frozenset({errno.EACCES, errno.EPERM})
_SHORT: Final = frozenset({errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM})


class Gate:
    """What every packet passes: scope and never-ports, budget, audit log, the registry of our own flows."""

    def __init__(self, settings: Settings, audit: Callable[[AuditEntry], None]) -> None:
        self._settings = settings
        self._audit = audit
        self._scope = Scope(settings.scope)
        self.budget = Budget(settings.budget, time.monotonic())
        self.own = OwnTraffic()
        self.timeout_s = settings.budget.timeout_s
        self.counts = dict.fromkeys(("connections", "datagrams", "bytes_sent"), 0)

    def forbids(self, endpoint: Endpoint, *, amplifies: bool = False) -> str | None:
        """Why no packet may leave for `endpoint`; None when it may."""
        if self._settings.passive:
            return "passive: nothing is asked"
        if self._settings.dry_run:
            return "dry run: nothing is asked"
        return self.permits(endpoint, amplifies=amplifies)

    def permits(self, endpoint: Endpoint, *, amplifies: bool = False) -> str | None:
        """The same without passive mode and dry run."""
        if endpoint.transport not in (Transport.TCP, Transport.UDP):
            return f"{endpoint.transport} endpoints cannot be asked"
        return self._scope.permits(endpoint, amplifies=amplifies)

    def record(
        self,
        endpoint: Endpoint,
        action: AuditAction,
        probe: str,
        size: int = 0,
        outcome: Outcome | None = None,
        detail: str = "",
    ) -> None:
        """Write the audit log. Raises what the log raises: what cannot be written down is not done."""
        self._audit(
            AuditEntry(
                time_ns=time.time_ns(),
                endpoint=endpoint,
                action=action,
                probe=probe,
                bytes=size,
                outcome=outcome,
                detail=detail,
            )
        )


class Channel:
    """Runs one dialogue: does its commands on at most one socket at a time."""

    def __init__(self, gate: Gate, endpoint: Endpoint, host: str) -> None:
        self._gate = gate
        self._endpoint = endpoint
        self._host = host
        self._loop = asyncio.get_running_loop()
        self._socket: socket.socket | None = None
        self._local = ("", 0)
        self._prepaid = True  # the token of the first packet was taken when the conversation was let start
        self._deadline_s = 0.0

    async def run(self, talk: Talk[Answer]) -> Answer:
        """The whole conversation."""
        self._deadline_s = time.monotonic() + self._gate.timeout_s
        try:
            command = next(talk)
            while True:
                command = talk.send(await self._do(command))
        except StopIteration as stop:
            answer: Answer = stop.value
            return answer
        finally:
            talk.close()

    async def _do(self, command: Command) -> Event:
        match command:
            case Connect():
                return await self._connect(command)
            case Send():
                return await self._send(command)
            case Wait():
                return await self._wait(command.seconds)
            case Close():
                self.close()
                return Closed(time.monotonic())

    def close(self) -> None:
        """End the connection: FIN, or RST where unread bytes are left, as the kernel does."""
        if self._socket is not None:
            self._socket.close()
            self._socket = None
            self._gate.own.release(*self._local, self._endpoint, time.monotonic())

    # -- commands -----------------------------------------------------------------------------------------------

    async def _connect(self, command: Connect) -> Event:
        self.close()
        if (why := self._gate.forbids(self._endpoint)) is not None:
            return Ended(time.monotonic(), Outcome.NOT_PERMITTED, why)
        udp = self._endpoint.transport is Transport.UDP
        if not udp and (refused := await self._token()) is not None:
            return refused
        for attempt in range(_BIND_TRIES):
            try:
                event = await self._connect_once(command, udp=udp)
            except OSError as problem:
                self.close()
                if problem.errno == errno.EADDRNOTAVAIL and attempt + 1 < _BIND_TRIES:
                    continue
                return self._broken(problem, connecting=True)
            except FlowsonarError as problem:
                self.close()
                return Ended(time.monotonic(), Outcome.NOT_PERMITTED, f"the audit log cannot be written: {problem}")
            else:
                return event
        raise AssertionError("the last try returns")

    async def _connect_once(self, command: Connect, *, udp: bool) -> Event:
        target = _socket_address(self._endpoint)
        kind = socket.SOCK_DGRAM if udp else socket.SOCK_STREAM
        opened = self._socket = socket.socket(target[0], kind | socket.SOCK_NONBLOCK | socket.SOCK_CLOEXEC)
        opened.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, not udp)
        local = _local_address(target)
        opened.bind((local, 0, *target[1][2:]) if target[0] == socket.AF_INET6 else (local, 0))
        self._local = (local, opened.getsockname()[1])
        if self._local == (str(target[1][0]), self._endpoint.port):
            raise OSError(errno.EADDRNOTAVAIL, "a socket must not be connected to itself")
        self._gate.own.register(*self._local, self._endpoint)
        if udp:
            opened.connect(target[1])
            return Connected(time.monotonic(), None, *self._local)
        opened.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, True)
        self._gate.record(self._endpoint, AuditAction.CONNECT, command.probe)
        self._gate.counts["connections"] += 1
        began_s = time.monotonic()
        failure = opened.connect_ex(target[1])
        if failure == errno.EINPROGRESS:
            if not await self._ready(opened, command.within_s, write=True):
                self.close()
                return Ended(time.monotonic(), Outcome.SILENT, "no answer to the connection request")
            failure = opened.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)
        if failure:
            raise OSError(failure, "connect")
        now_s = time.monotonic()
        self._gate.budget.answered(self._host)
        return Connected(now_s, _rtt_s(opened) or now_s - began_s, *self._local)

    async def _send(self, command: Send) -> Event:
        opened = self._socket
        if opened is None:
            return Ended(time.monotonic(), Outcome.CLOSED)
        why = self._gate.forbids(self._endpoint, amplifies=command.amplifies and _is_udp(self._endpoint))
        if why is not None:
            return Ended(time.monotonic(), Outcome.NOT_PERMITTED, why)
        if _is_udp(self._endpoint) and (refused := await self._token()) is not None:
            return refused
        try:
            self._gate.record(self._endpoint, AuditAction.SEND, command.probe, len(command.data))
        except FlowsonarError as problem:
            return Ended(time.monotonic(), Outcome.NOT_PERMITTED, f"the audit log cannot be written: {problem}")
        self._gate.counts["bytes_sent"] += len(command.data)
        if _is_udp(self._endpoint):
            self._gate.counts["datagrams"] += 1
        view = memoryview(command.data)
        until_s = time.monotonic() + command.within_s
        while view:
            try:
                view = view[opened.send(view) :]
            except (BlockingIOError, InterruptedError):
                if not await self._ready(opened, until_s - time.monotonic(), write=True):
                    return Ended(time.monotonic(), Outcome.CLOSED, "it does not read")
            except OSError as problem:
                return self._broken(problem)
        return Sent(time.monotonic())

    async def _wait(self, seconds: float) -> Event:
        opened = self._socket
        if opened is None:
            return Ended(time.monotonic(), Outcome.CLOSED)
        until_s = time.monotonic() + seconds
        udp = _is_udp(self._endpoint)
        over = False
        while True:
            try:
                data = opened.recv(limits.REPLY_BYTES)
            except (BlockingIOError, InterruptedError):
                if over:
                    return TimedOut(time.monotonic(), not udp and _unacknowledged(opened))
                # when the time is over the socket is read once more: we may be late ourselves
                over = not await self._ready(opened, until_s - time.monotonic(), write=False)
            except OSError as problem:
                return self._broken(problem)
            else:
                if data:
                    if udp:
                        self._gate.budget.answered(self._host)
                    return Received(time.monotonic(), data)
                if not udp:
                    return Ended(time.monotonic(), Outcome.CLOSED)

    # -- help ---------------------------------------------------------------------------------------------------

    async def _token(self) -> Ended | None:
        """Wait for the budget; None when the packet may leave."""
        if self._prepaid:
            self._prepaid = False
            return None
        now_s = time.monotonic()
        if self._gate.budget.delay_s(self._host, now_s) > max(0.0, self._deadline_s - now_s):
            return Ended(now_s, Outcome.NOT_PERMITTED, "the budget for this host is used up")
        delay_s = self._gate.budget.take(self._host, now_s)
        if delay_s > 0:
            await asyncio.sleep(delay_s)
        return None

    async def _ready(self, opened: socket.socket, seconds: float, *, write: bool) -> bool:
        """Wait until the socket can be written or read; False when the time is over."""
        if seconds <= 0:
            return False
        future: asyncio.Future[bool] = self._loop.create_future()
        handle = self._loop.call_later(seconds, _set, future, False)
        add, remove = (
            (self._loop.add_writer, self._loop.remove_writer)
            if write
            else (self._loop.add_reader, self._loop.remove_reader)
        )
        descriptor = opened.fileno()
        add(descriptor, _set, future, True)
        try:
            return await future
        finally:
            handle.cancel()
            remove(descriptor)

    def _broken(self, problem: OSError, *, connecting: bool = False) -> Ended:
        """What an error of the system says about the other side."""
        now_s, code = time.monotonic(), problem.errno
        budget = self._gate.budget
        if code in _REFUSED:
            budget.refused(self._host, now_s)
            return Ended(now_s, Outcome.REFUSED, "refused")
        if code in _PROHIBITED:
            budget.prohibited(self._host, now_s)
            return Ended(now_s, Outcome.UNREACHABLE, "administratively prohibited")
        if code in _SHORT:
            return Ended(now_s, Outcome.CANCELLED, "no file descriptor or memory left for a socket")
        if code in _UNREACHABLE:
            budget.refused(self._host, now_s)
            return Ended(now_s, Outcome.UNREACHABLE, problem.strerror or "unreachable")
        if code == errno.ETIMEDOUT:
            return Ended(now_s, Outcome.SILENT, "timed out")
        if connecting and code == errno.ECONNRESET:
            return Ended(now_s, Outcome.REFUSED, "reset")
        return Ended(now_s, Outcome.CLOSED, (problem.strerror or "broken").lower())


def _set(future: asyncio.Future[bool], value: bool) -> None:
    if not future.done():
        future.set_result(value)


def _is_udp(endpoint: Endpoint) -> bool:
    return endpoint.transport is Transport.UDP


def _socket_address(endpoint: Endpoint) -> tuple[int, tuple[str, int] | tuple[str, int, int, int]]:
    """Family and address for the kernel; an IPv4-mapped address is asked as what it is, IPv4."""
    parsed = ipaddress.ip_address(endpoint.address)
    if isinstance(parsed, ipaddress.IPv4Address):
        return socket.AF_INET, (endpoint.address, endpoint.port)
    if parsed.ipv4_mapped is not None:
        return socket.AF_INET, (str(parsed.ipv4_mapped), endpoint.port)
    zone = 0
    if parsed.scope_id:
        with contextlib.suppress(OSError):
            zone = int(parsed.scope_id) if parsed.scope_id.isdigit() else socket.if_nametoindex(parsed.scope_id)
    return socket.AF_INET6, (endpoint.address.partition("%")[0], endpoint.port, 0, zone)


def _local_address(target: tuple[int, tuple[str, int] | tuple[str, int, int, int]]) -> str:
    """Our address towards the target, from the routing table: connecting a datagram socket sends nothing."""
    with socket.socket(target[0], socket.SOCK_DGRAM | socket.SOCK_CLOEXEC) as probe:
        probe.connect(target[1])
        return str(probe.getsockname()[0]).partition("%")[0]


def _rtt_s(opened: socket.socket) -> float:
    """How long the handshake took as the kernel saw it: we may read of it late. 0 where it does not know."""
    try:
        info = opened.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, _TCPI_RTT.size)
        return float(_TCPI_RTT.unpack(info)[0]) / 1e6 if len(info) == _TCPI_RTT.size else 0.0
    except OSError:
        return 0.0


def _unacknowledged(opened: socket.socket) -> bool:
    """Whether bytes we sent have not been acknowledged: the network, not the server, is slow."""
    try:
        info = opened.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, _TCPI_UNACKED.size)
        return len(info) == _TCPI_UNACKED.size and _TCPI_UNACKED.unpack(info)[0] > 0
    except OSError:
        return False
