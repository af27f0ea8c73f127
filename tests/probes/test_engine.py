"""Errors of the system as outcomes; conversations are in test_prober."""

import asyncio
import contextlib
import errno
import socket
import struct

import pytest

from flowsonar.config import Settings
from flowsonar.model import Endpoint, Outcome, Transport
from flowsonar.probes import engine
from flowsonar.probes.dialogue import Attend, Attended, Beside, Close, Closed, Connect, Ended, Nudge, Part, Send, Wait
from flowsonar.probes.engine import Channel
from flowsonar.probes.gate import Gate
from flowsonar.probes.reactor import Reactor
from flowsonar.probes.routes import Routes

TARGET = Endpoint(Transport.TCP, "127.0.0.1", 1)


@contextlib.contextmanager
def channel(endpoint=TARGET, settings=None):
    reactor = Reactor()
    yield Channel(Gate(settings or Settings(), lambda _entry: None), reactor, Routes(), endpoint, endpoint.address)
    reactor.close()


@pytest.mark.parametrize(
    ("code", "outcome"),
    [
        (errno.ECONNREFUSED, Outcome.REFUSED), (errno.EHOSTUNREACH, Outcome.UNREACHABLE),
        (errno.ENETUNREACH, Outcome.UNREACHABLE), (errno.EACCES, Outcome.UNREACHABLE),
        (errno.EPERM, Outcome.UNREACHABLE), (errno.EMFILE, Outcome.CANCELLED), (errno.ENFILE, Outcome.CANCELLED),
        (errno.ETIMEDOUT, Outcome.SILENT), (errno.ECONNRESET, Outcome.CLOSED), (errno.EPIPE, Outcome.CLOSED),
    ],
)  # fmt: skip
def test_errors_of_the_system_are_outcomes(code, outcome):
    async def go():
        with channel() as one:
            return one._broken(OSError(code, "text"))

    event = asyncio.run(go())
    assert event.outcome is outcome
    assert event.detail


def test_a_prohibition_is_respected():
    async def go():
        with channel() as one:
            one._broken(OSError(errno.EACCES, "no"))
            return one._gate.budget.delay_s("127.0.0.1", event_time())

    def event_time():
        return engine.time.monotonic()

    assert asyncio.run(go()) > 5


def test_without_a_connection_nothing_is_said_or_heard():
    async def go():
        with channel() as one:
            return [one._do(command) for command in (Send(b"x", "p"), Wait(1.0), Close())]

    said, heard, closed = asyncio.run(go())
    assert isinstance(said, Ended)
    assert isinstance(heard, Ended)
    assert isinstance(closed, Closed)


def test_no_file_descriptor_left_is_not_the_other_sides_fault(monkeypatch):
    def none_left(*_args, **_kwargs):
        raise OSError(errno.EMFILE, "Too many open files")

    async def go():
        with channel() as one:
            monkeypatch.setattr(engine.socket, "socket", none_left)
            event = one._do(Connect("listen", 1.0))
            monkeypatch.undo()
            return event

    event = asyncio.run(go())
    assert event.outcome is Outcome.CANCELLED
    assert "file descriptor" in event.detail


def test_an_exception_within_a_dialogue_ends_it_alone():
    def talk():
        yield Wait(0.0)
        raise ValueError("broken signature")

    ended = []

    async def go():
        with channel() as one:
            one.start(talk(), lambda answer, problem: ended.append((answer, problem)))

    asyncio.run(go())
    ((answer, problem),) = ended
    assert answer is None
    assert isinstance(problem, ValueError)


def test_who_is_cancelled_is_not_told():
    def talk():
        try:
            yield Connect("listen", 1.0)
            yield Wait(60.0)
        finally:
            ended.append("closed")

    ended = []

    async def go():
        with socket.create_server(("127.0.0.1", 0)) as server:
            endpoint = Endpoint(Transport.TCP, *server.getsockname())
            with channel(endpoint) as one:
                one.start(talk(), lambda *_: ended.append("told"))
                await asyncio.sleep(0)
                one.cancel()
                assert len(one._reactor) == 0

    asyncio.run(go())
    assert ended == ["closed"]


def held_beside(first, second):
    """What a conversation hears that holds two others beside it."""
    heard = []

    def talk():
        yield Beside(first)
        yield Beside(second)
        heard.append((yield Attend(30.0)))
        heard.append((yield Part()))

    return heard, held(talk())


def held(talk):
    """Hold a conversation; the problem that broke it, if any."""

    async def go():
        over = asyncio.get_running_loop().create_future()
        server = socket.create_server(("127.0.0.1", 0))
        with server, channel(Endpoint(Transport.TCP, *server.getsockname())) as one:
            one.start(talk, lambda _answer, problem: over.set_result(problem))
            problem = await over
            return problem, len(one._reactor)

    problem, left = asyncio.run(go())
    assert left == 0
    return problem


def test_conversations_beside_are_attended_to_and_parted_from():
    ended = []

    def short():
        yield Connect("one", 1.0)
        yield Wait(0.0)
        ended.append("short")

    def long():
        try:
            yield Connect("two", 1.0)
            yield Wait(60.0)
        finally:
            ended.append("long")

    heard, problem = held_beside(short(), long())
    assert problem is None
    assert [type(event) for event in heard] == [Attended, Closed]
    assert ended == ["short", "long"]


def test_who_is_nudged_looks_up_and_speaks_before_the_other_goes_on():
    said = []

    def quiet():
        yield Attend(60.0)
        said.append("quiet")
        yield Nudge()
        yield Attend(60.0)

    def main():
        yield Beside(quiet())
        yield Nudge()
        said.append("main")
        yield Attend(60.0)  # was nudged meanwhile
        yield Part()
        said.append("parted")

    assert held(main()) is None
    assert said == ["quiet", "main", "parted"]


def test_what_breaks_a_conversation_beside_breaks_the_whole():
    def broken():
        yield Connect("one", 1.0)
        raise ValueError("broken signature")

    def long():
        yield Connect("two", 1.0)
        yield Wait(60.0)

    heard, problem = held_beside(broken(), long())
    assert isinstance(problem, ValueError)
    assert [type(event) for event in heard] == [Attended]


def test_a_connection_that_can_be_read_is_attended_to():
    def talk():
        yield Connect("one", 1.0)
        event = yield Attend(30.0)
        heard.append(event.readable)
        heard.append((yield Wait(0.0)).data)

    async def greet(_reader, writer):
        writer.write(b"hello")
        writer.close()
        await writer.wait_closed()

    heard = []

    async def go():
        over = asyncio.get_running_loop().create_future()
        server = await asyncio.start_server(greet, "127.0.0.1", 0)
        async with server:
            with channel(Endpoint(Transport.TCP, *server.sockets[0].getsockname())) as one:
                one.start(talk(), lambda _answer, problem: over.set_result(problem))
                return await over

    assert asyncio.run(go()) is None
    assert heard == [True, b"hello"]


@pytest.mark.parametrize("reset", [True, False])
def test_a_reset_is_told_from_an_orderly_end(reset):
    heard = []

    def talk():
        yield Connect("listen", 5.0)
        yield Send(b"hello", "p")
        heard.append((yield Wait(30.0)))

    async def end(server):
        loop = asyncio.get_running_loop()
        connection, _ = await loop.sock_accept(server)
        with connection:
            await loop.sock_recv(connection, 100)
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", int(reset), 0))

    async def go():
        with socket.create_server(("127.0.0.1", 0)) as server:
            server.setblocking(False)
            over = asyncio.get_running_loop().create_future()
            with channel(Endpoint(Transport.TCP, *server.getsockname())) as one:
                one.start(talk(), lambda *_: over.set_result(None))
                await asyncio.gather(end(server), over)

    asyncio.run(go())
    (event,) = heard
    assert (event.outcome, event.reset, event.unacknowledged) == (Outcome.CLOSED, reset, False)
