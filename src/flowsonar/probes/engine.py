"""The only sockets of the probes. Scope, never-ports, budget and audit log stand between a dialogue and the network.

A dialogue is stepped by what happens to its socket, without a task or a future of its own.
"""

from __future__ import annotations

import errno
import select
import socket
import time
from collections.abc import Callable
from functools import partial
from typing import Any, Final, TypeVar

from flowsonar import limits
from flowsonar.errors import FlowsonarError
from flowsonar.model import Endpoint, Outcome, Transport
from flowsonar.probes.ahead import Ahead, Started, begin
from flowsonar.probes.audit import AuditAction
from flowsonar.probes.dialogue import (
    Attend,
    Attended,
    Begun,
    Beside,
    Close,
    Closed,
    Command,
    Connect,
    Connected,
    Ended,
    Event,
    Nudge,
    Part,
    Received,
    Send,
    Sent,
    Talk,
    TimedOut,
    Wait,
)
from flowsonar.probes.gate import Gate
from flowsonar.probes.own import OwnFlow
from flowsonar.probes.reactor import IDLE, Reactor
from flowsonar.probes.routes import Routes, SocketAddress, socket_address
from flowsonar.probes.troubles import Trouble, handshake_s, stands, told_by, unacknowledged

__all__ = ["Channel"]

_HELD_S: Final = 10.0
"""The longest wait for one token; where the budget is shorter than that, the conversation ends."""
_OTHER_PORTS: Final = 4
"""Ports of the asked address that answers may come from, besides the asked one, and be known as ours."""
_STRANGERS: Final = 16
"""Datagrams of other addresses that are dropped at a time."""
_BIND_TRIES: Final = 3
"""A local port may be in use towards the same endpoint: another one is taken."""

_WRITABLE: Final = select.EPOLLOUT | select.EPOLLERR | select.EPOLLHUP
_READABLE: Final = select.EPOLLIN | select.EPOLLRDHUP | select.EPOLLERR | select.EPOLLHUP
_OVER: Final = select.EPOLLRDHUP | select.EPOLLERR | select.EPOLLHUP

T = TypeVar("T")

_DATAGRAMS: Final = socket.SOCK_DGRAM | socket.SOCK_NONBLOCK | socket.SOCK_CLOEXEC

_IDLE, _CONNECTING, _READING, _WRITING, _PAUSED, _ATTENDING = range(6)
"""What a channel waits for."""


class Channel:
    """Runs one dialogue: does its commands on at most one socket at a time."""

    __slots__ = ("_ahead", "_asked", "_beside", "_connect_s", "_descriptor", "_done", "_endpoint", "_gate", "_held_s",
                 "_host", "_local", "_loose", "_news", "_others", "_over", "_own", "_paid", "_parent", "_prepaid",
                 "_problem", "_reactor", "_readable", "_resumes", "_routes", "_said", "_socket", "_state", "_talk",
                 "_udp", "_view", "due_s", "stood")  # fmt: skip

    def __init__(
        self,
        gate: Gate,
        reactor: Reactor,
        routes: Routes,
        endpoint: Endpoint,
        host: str,
        *,
        prepaid: bool = True,
        parent: Channel | None = None,
        ahead: Ahead | None = None,
    ) -> None:
        self._gate = gate
        self._reactor = reactor
        self._routes = routes
        self._loose: SocketAddress | None = None  # where datagrams go, where answers may come from other ports
        self._own: OwnFlow | None = None
        self._others: dict[Endpoint, OwnFlow] = {}  # ports of the address that answers came from
        self._asked = b""  # the last message
        self._endpoint = endpoint
        self._host = host
        self._udp = endpoint.transport is Transport.UDP
        self._socket: socket.socket | None = None
        self._descriptor = -1
        self._local = ("", 0)
        self._prepaid = prepaid  # the token of the first packet was taken when the conversation was let start
        self._paid = False  # the token of the command that waits was taken
        self._held_s = 0.0  # how long the command was held back for its token
        self._state = _IDLE
        self._readable = self._over = False
        self._said = 0  # messages on this socket
        self._connect_s = 0.0
        self._view = memoryview(b"")  # what is still to be written
        self._resumes: Command | None = None  # the command that waits for its token
        self._talk: Talk[Any] | None = None
        self._done: Callable[[Any, Exception | None], None] | None = None
        self._ahead = ahead  # connections that were begun before there was a question
        self._parent = parent  # the conversation that began this one
        self._beside: list[Channel] = []  # conversations with the same endpoint that this one began
        self._news = False  # one of them has ended, or nudged
        self._problem: Exception | None = None  # what broke one of them
        self.due_s = IDLE
        self.stood: Callable[[], object] | None = None
        """Called once, when the first connection stands."""

    @property
    def stands(self) -> bool:
        """Whether a connection stands, or stood when it was looked at last."""
        return self._socket is not None and self._state != _CONNECTING

    def start(self, talk: Talk[T], done: Callable[[T | None, Exception | None], None]) -> None:
        """Hold the whole conversation; `done` gets its answer, or the exception that broke it, and is called once."""
        self._talk, self._done = talk, done
        self._advance(None)

    def cancel(self) -> None:
        """End it here and now; `done` is not called."""
        self._state, self.due_s = _IDLE, IDLE
        self._part()
        self.close()
        talk, self._talk, self._done = self._talk, None, None
        if talk is not None:
            talk.close()

    def close(self) -> None:
        """End the connection: FIN, or RST where unread bytes are left, as the kernel does."""
        if self._socket is not None:
            self._state, self.due_s = _IDLE, IDLE
            self._reactor.remove(self._descriptor)
            self._socket.close()
            self._socket = None
            now_s = time.monotonic()
            release = self._gate.own.release
            if self._own is not None:
                release(self._own, now_s)
                self._own = None
            if self._others:
                for other in self._others.values():
                    release(other, now_s)
                self._others.clear()

    # -- what happens -------------------------------------------------------------------------------------------

    def ready(self, mask: int) -> None:
        """See `Watched`."""
        if mask & _READABLE:
            self._readable = True
            self._over = self._over or bool(mask & _OVER)
        if self._state == _READING:
            if self._readable:
                event = self._read()
                if event is not None:
                    self._go_on(event)
        elif self._state == _ATTENDING:
            if self._readable:
                self._go_on(Attended(time.monotonic(), readable=True))
        elif mask & _WRITABLE:
            if self._state == _CONNECTING:
                self._go_on(self._stands(failed=bool(mask & (select.EPOLLERR | select.EPOLLHUP))))
            elif self._state == _WRITING:
                event = self._write()
                if event is not None:
                    self._go_on(event)

    def late(self) -> None:
        """See `Watched`."""
        now_s = time.monotonic()
        state = self._state
        if state == _READING:  # the socket is read once more: we may be late ourselves
            self._go_on(self._read() or TimedOut(now_s, self._unacknowledged()))
        elif state == _ATTENDING:
            self._go_on(Attended(now_s, self._readable))
        elif state == _CONNECTING:
            self.close()
            self._go_on(Ended(now_s, Outcome.SILENT, "no answer to the connection request"))
        elif state == _WRITING:
            self._go_on(Ended(now_s, Outcome.CLOSED, "it does not read"))
        elif state == _PAUSED:
            command, self._resumes = self._resumes, None
            assert command is not None
            self._state, self.due_s, self._paid = _IDLE, IDLE, True
            event = self._do(command)
            if event is not None:
                self._advance(event)

    def _go_on(self, event: Event) -> None:
        self._state, self.due_s = _IDLE, IDLE
        self._advance(event)

    def _advance(self, event: Event | None) -> None:
        """Step the dialogue until it waits for the network or ends."""
        talk = self._talk
        if talk is None:
            return
        answer: object = None
        problem: Exception | None = None
        try:
            command = next(talk) if event is None else talk.send(event)
            while True:
                event = self._do(command)
                if event is None:
                    return
                command = talk.send(event)
        except StopIteration as stop:
            answer = stop.value
        except Exception as error:  # noqa: BLE001 - one broken conversation must not end the others
            problem = error
        done, self._talk, self._done = self._done, None, None
        self._part()
        talk.close()
        self.close()
        if done is not None:
            done(answer, problem)

    def _do(self, command: Command) -> Event | None:
        """Do a command; None while it waits for the network."""
        kind = type(command)
        if kind is Wait:
            return self._wait(command.seconds)  # type: ignore[union-attr]
        if kind is Send:
            return self._send(command)  # type: ignore[arg-type]
        if kind is Connect:
            return self._connect(command)  # type: ignore[arg-type]
        if kind is Attend:
            return self._attend(command.seconds)  # type: ignore[union-attr]
        if kind is Beside:
            self._begin(command.talk)  # type: ignore[union-attr]
            return Begun(time.monotonic())
        if kind is Nudge:
            self._nudge()
            return Begun(time.monotonic())
        if self._problem is not None:  # what is broken beside is broken here
            raise self._problem
        if kind is Part:
            self._part()
        else:
            assert kind is Close
            self.close()
        return Closed(time.monotonic())

    # -- conversations beside -----------------------------------------------------------------------------------

    def _begin(self, talk: Talk[object]) -> None:
        """Hold another conversation with the endpoint, on a connection of its own."""
        channel = Channel(
            self._gate, self._reactor, self._routes, self._endpoint, self._host, prepaid=False, parent=self
        )
        self._beside.append(channel)
        channel.start(talk, partial(self._ended_beside, channel))

    def _ended_beside(self, channel: Channel, _result: object, problem: Exception | None) -> None:
        self._beside.remove(channel)
        self._problem = self._problem or problem
        self._look_up()

    def _nudge(self) -> None:
        for channel in (*self._beside, self._parent):
            if channel is not None:
                channel._look_up()

    def _look_up(self) -> None:
        """Something happened beside this conversation."""
        self._news = self._state != _ATTENDING
        if not self._news:
            self._go_on(Attended(time.monotonic(), self._readable))

    def _part(self) -> None:
        beside, self._beside = self._beside, []
        for channel in beside:
            channel.cancel()
        self._news = False

    def _attend(self, seconds: float) -> Event | None:
        if self._problem is not None:
            raise self._problem
        now_s = time.monotonic()
        readable = self._socket is not None and self._readable
        if readable or self._news or seconds <= 0:
            self._news = False
            return Attended(now_s, readable)
        self._state = _ATTENDING
        self._reactor.at(now_s + seconds, self)
        return None

    # -- connecting ---------------------------------------------------------------------------------------------

    def _connect(self, command: Connect) -> Event | None:
        self.close()
        if (why := self._gate.forbids(self._endpoint)) is not None:
            return Ended(time.monotonic(), Outcome.NOT_PERMITTED, why)
        begun = None if self._ahead is None else self._ahead.take(self._endpoint)
        if begun is not None:
            self._adopt(begun, command)
            if not stands(begun.socket):
                return None
            self._state, self.due_s = _IDLE, IDLE
            return self._stands(failed=False)
        if not self._udp and not self._paid:
            leave = self._token(command)
            if leave is not True:
                return leave or None
        self._paid = False
        for attempt in range(_BIND_TRIES):
            try:
                return self._connect_once(command)
            except OSError as problem:
                self.close()
                if problem.errno == errno.EADDRNOTAVAIL and attempt + 1 < _BIND_TRIES:
                    continue
                return self._broken(problem, connecting=True)
            except FlowsonarError as problem:
                self.close()
                return Ended(time.monotonic(), Outcome.NOT_PERMITTED, f"the audit log cannot be written: {problem}")
        raise AssertionError("the last try returns")

    def _connect_once(self, command: Connect) -> Event | None:
        if not self._udp:
            self._adopt(begin(self._gate, self._routes, self._endpoint, command.probe), command)
            return None
        endpoint = self._endpoint
        family, target = socket_address(endpoint.address, endpoint.port)
        opened = self._socket = self._routes.open(family, _DATAGRAMS)
        self._descriptor = opened.fileno()
        self._readable = self._over = False
        self._said = 0
        local = self._routes.local_address(family, target, time.monotonic())
        opened.bind((local, 0, *target[2:]) if family == socket.AF_INET6 else (local, 0))
        self._local = (local, opened.getsockname()[1])
        if self._local == (str(target[0]), endpoint.port):
            raise OSError(errno.EADDRNOTAVAIL, "a socket must not be connected to itself")
        self._own = self._gate.own.register(*self._local, endpoint)
        self._loose = target if command.any_port else None
        if self._loose is None:
            opened.connect(target)
        self._reactor.add(self._descriptor, self)
        return Connected(time.monotonic(), None, *self._local)  # nothing has left yet

    def _adopt(self, begun: Started, command: Connect) -> None:
        """Wait for a connection whose SYN has left."""
        self._socket, self._local, self._own, self._connect_s = begun.socket, begun.local, begun.own, begun.at_s
        self._descriptor = begun.socket.fileno()
        self._readable = self._over = False
        self._said = 0
        self._reactor.add(self._descriptor, self)
        self._state = _CONNECTING
        self._reactor.at(time.monotonic() + command.within_s, self)

    def _stands(self, *, failed: bool) -> Event:
        """The connection request was answered."""
        opened = self._socket
        assert opened is not None
        failure = opened.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR) if failed else 0
        if failure:
            self.close()
            return self._broken(OSError(failure, "connect"), connecting=True)
        now_s = time.monotonic()
        self._gate.budget.answered(self._host)
        if self.stood is not None:
            told, self.stood = self.stood, None
            told()
        held_s, self._held_s = self._held_s, 0.0
        return Connected(now_s, handshake_s(opened) or now_s - self._connect_s, *self._local, held_s)

    # -- talking ------------------------------------------------------------------------------------------------

    def _send(self, command: Send) -> Event | None:
        opened, gate = self._socket, self._gate
        if opened is None:
            return Ended(time.monotonic(), Outcome.CLOSED)
        why = gate.forbids(self._endpoint, amplifies=command.amplifies and self._udp)
        if why is not None:
            return Ended(time.monotonic(), Outcome.NOT_PERMITTED, why)
        if self._udp and not self._paid:
            leave = self._token(command)
            if leave is not True:
                return leave or None
        self._paid = False
        try:
            gate.record(self._endpoint, AuditAction.SEND, command.probe, len(command.data))
        except FlowsonarError as problem:
            return Ended(time.monotonic(), Outcome.NOT_PERMITTED, f"the audit log cannot be written: {problem}")
        gate.counts["bytes_sent"] += len(command.data)
        if self._udp:
            gate.counts["datagrams"] += 1
        elif self._said == 1:  # a second message must not wait until the first is acknowledged
            opened.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._said += 1
        self._asked = command.data
        self._view = memoryview(command.data)
        event = self._write()
        if event is None:
            self._state = _WRITING
            self._reactor.at(time.monotonic() + command.within_s, self)
        return event

    def _write(self) -> Event | None:
        opened, view = self._socket, self._view
        assert opened is not None
        while view:
            try:
                sent = opened.send(view) if self._loose is None else opened.sendto(view, self._loose)
                view = view[sent:]
            except (BlockingIOError, InterruptedError):
                self._view = view
                return None
            except OSError as problem:
                return self._broken(problem)
        held_s, self._held_s = self._held_s, 0.0
        return Sent(time.monotonic(), held_s)

    def _wait(self, seconds: float) -> Event | None:
        if self._socket is None:
            return Ended(time.monotonic(), Outcome.CLOSED)
        if self._readable:
            event = self._read()
            if event is not None:
                return event
        now_s = time.monotonic()
        if seconds <= 0:
            return self._read() or TimedOut(now_s, self._unacknowledged())
        self._state = _READING
        self._reactor.at(now_s + seconds, self)
        return None

    def _read(self) -> Event | None:
        """What has come, or None."""
        opened = self._socket
        assert opened is not None
        while True:
            try:
                data = opened.recv(limits.REPLY_BYTES) if self._loose is None else self._hear_any(opened)
            except (BlockingIOError, InterruptedError):
                self._readable = False
                return None
            except OSError as problem:
                return self._broken(problem)
            if data:
                if self._udp:
                    self._gate.budget.answered(self._host)
                elif not self._over and len(data) < limits.REPLY_BYTES:
                    self._readable = False  # a stream was read to its end for now: the next byte is a new edge
                return Received(time.monotonic(), data)
            if not self._udp:
                return Ended(time.monotonic(), Outcome.CLOSED, unacknowledged=self._unacknowledged())

    def _hear_any(self, opened: socket.socket) -> bytes:
        """A datagram from any port of the asked address; those of others, and our own words from there, are dropped."""
        assert self._loose is not None
        for _ in range(_STRANGERS):
            data, source = opened.recvfrom(limits.REPLY_BYTES)
            if source[0] != self._loose[0] or (source[1] != self._loose[1] and data == self._asked):
                continue
            other = Endpoint(Transport.UDP, self._endpoint.address, source[1])
            if other not in self._others and len(self._others) < _OTHER_PORTS:
                self._others[other] = self._gate.own.register(*self._local, other)
            return data
        raise BlockingIOError

    # -- help ---------------------------------------------------------------------------------------------------

    def _token(self, command: Connect | Send) -> Ended | bool:
        """True when the packet may leave now; False when the command waits for its token; or why it may not."""
        if self._prepaid:
            self._prepaid = False
            return True
        now_s = time.monotonic()
        budget = self._gate.budget
        if budget.delay_s(self._host, now_s) > _HELD_S:
            return Ended(now_s, Outcome.NOT_PERMITTED, "the budget for this host is used up")
        delay_s = budget.take(self._host, now_s)
        if delay_s <= 0:
            return True
        self._held_s = delay_s
        self._resumes = command
        self._state = _PAUSED
        self._reactor.at(now_s + delay_s, self)
        return False

    def _unacknowledged(self) -> bool:
        """Whether bytes we sent have not been acknowledged."""
        return not self._udp and self._said > 0 and self._socket is not None and unacknowledged(self._socket)

    def _broken(self, problem: OSError, *, connecting: bool = False) -> Ended:
        """What an error of the system says about the other side; the budget is told of it too."""
        now_s = time.monotonic()
        trouble, outcome, detail = told_by(problem, connecting=connecting)
        if trouble is Trouble.REFUSED:
            self._gate.budget.refused(self._host, now_s)
        elif trouble is Trouble.PROHIBITED:
            self._gate.budget.prohibited(self._host, now_s)
        return Ended(now_s, outcome, detail, reset=not connecting and problem.errno == errno.ECONNRESET)
