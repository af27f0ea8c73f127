"""Errors of the system as outcomes; conversations are in test_prober."""

import asyncio
import contextlib
import errno
import socket

import pytest

from flowsonar.config import Settings
from flowsonar.model import Endpoint, Outcome, Transport
from flowsonar.probes import engine
from flowsonar.probes.dialogue import Close, Closed, Connect, Ended, Send, Wait
from flowsonar.probes.engine import Channel, Gate, Routes, socket_address
from flowsonar.probes.reactor import Reactor

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


@pytest.mark.parametrize(
    ("address", "family", "host"),
    [
        ("10.0.0.1", socket.AF_INET, "10.0.0.1"),
        ("::ffff:10.0.0.1", socket.AF_INET, "10.0.0.1"),
        ("fd00::1", socket.AF_INET6, "fd00::1"),
        ("fe80::1%lo", socket.AF_INET6, "fe80::1"),
        ("fe80::1%nosuch", socket.AF_INET6, "fe80::1"),
    ],
)
def test_addresses_as_the_kernel_wants_them(address, family, host):
    found, target = socket_address(address, 80)
    assert (found, target[0], target[1]) == (family, host, 80)
    if address.endswith("%lo"):
        assert target[3] == socket.if_nametoindex("lo")


def test_the_route_to_a_host_is_looked_up_once_a_second(monkeypatch):
    routes = Routes()
    assert routes.local_address(socket.AF_INET, ("127.0.0.1", 80), 10.0) == "127.0.0.1"

    def none_left(*_args, **_kwargs):
        raise OSError("no socket is needed")

    monkeypatch.setattr(engine.socket, "socket", none_left)
    assert routes.local_address(socket.AF_INET, ("127.0.0.1", 81), 10.9) == "127.0.0.1"
    with pytest.raises(OSError, match="no socket"):
        routes.local_address(socket.AF_INET, ("127.0.0.1", 80), 11.5)
