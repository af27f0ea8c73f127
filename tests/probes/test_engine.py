"""Errors of the system as outcomes, and addresses as the kernel wants them; conversations are in test_prober."""

import asyncio
import errno
import socket

import pytest

from flowsonar.config import Settings
from flowsonar.model import Endpoint, Outcome, Transport
from flowsonar.probes import engine
from flowsonar.probes.dialogue import Close, Closed, Connect, Ended, Send, Wait
from flowsonar.probes.engine import Channel, Gate

TARGET = Endpoint(Transport.TCP, "127.0.0.1", 1)


def channel(endpoint=TARGET, settings=None):
    return Channel(Gate(settings or Settings(), lambda _entry: None), endpoint, endpoint.address)


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
        return channel()._broken(OSError(code, "text"))

    event = asyncio.run(go())
    assert event.outcome is outcome
    assert event.detail


def test_a_prohibition_is_respected():
    async def go():
        one = channel()
        one._broken(OSError(errno.EACCES, "no"))
        return one._gate.budget.delay_s("127.0.0.1", event_time())

    def event_time():
        return engine.time.monotonic()

    assert asyncio.run(go()) > 5


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
    found, target = engine._socket_address(Endpoint(Transport.TCP, address, 80))
    assert (found, target[0], target[1]) == (family, host, 80)
    if address.endswith("%lo"):
        assert target[3] == socket.if_nametoindex("lo")


def test_without_a_connection_nothing_is_said_or_heard():
    async def go():
        one = channel()
        return [await one._do(command) for command in (Send(b"x", "p"), Wait(1.0), Close())]

    said, heard, closed = asyncio.run(go())
    assert isinstance(said, Ended)
    assert isinstance(heard, Ended)
    assert isinstance(closed, Closed)


def test_no_file_descriptor_left_is_not_the_other_sides_fault(monkeypatch):
    def none_left(*_args, **_kwargs):
        raise OSError(errno.EMFILE, "Too many open files")

    async def go():
        one = channel()
        monkeypatch.setattr(engine.socket, "socket", none_left)
        event = await one._do(Connect("listen", 1.0))
        monkeypatch.undo()
        return event

    event = asyncio.run(go())
    assert event.outcome is Outcome.CANCELLED
    assert "file descriptor" in event.detail
