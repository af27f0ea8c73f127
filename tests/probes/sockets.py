"""A prober and servers of every kind on real loopback sockets; the signatures are those of `world`."""

from __future__ import annotations

import asyncio
import contextlib

from flowsonar.config import BudgetSettings, Settings
from flowsonar.model import Endpoint, Hints, Question, Transport
from flowsonar.probes import Prober
from tests.probes.world import SIGNATURES, matcher

FAST = BudgetSettings(rate=1e6, burst=100_000, per_host_rate=1e6, per_host_burst=100_000, per_prefix_rate=1e6,
                      per_prefix_burst=100_000, per_host_parallel=64, timeout_s=1.0, control=False)  # fmt: skip


def make(audit=None, budget=FAST, prior=None, **settings) -> Prober:
    return Prober(
        SIGNATURES, matcher(), Settings(budget=budget, **settings), audit=audit or (lambda _entry: None), prior=prior
    )


@contextlib.asynccontextmanager
async def tcp_server(handler, host="127.0.0.1", tls=None):
    """A server whose connections end before the event loop does, those as well that were taken at the last moment."""
    tasks, transports = set(), set()

    async def guarded(reader, writer):
        try:
            await handler(reader, writer)
            await writer.drain()
            writer.close()
            await writer.wait_closed()
        except (OSError, asyncio.IncompleteReadError, asyncio.CancelledError):
            writer.transport.abort()

    def connected(reader, writer):
        transports.add(writer.transport)
        tasks.add(asyncio.create_task(guarded(reader, writer)))

    server = await asyncio.start_server(connected, host, 0, ssl=tls)
    port = server.sockets[0].getsockname()[1]
    try:
        yield Endpoint(Transport.TCP, host, port)
    finally:
        server.close()
        await asyncio.sleep(0.01)  # what the loop has accepted gets its transport
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        for transport in transports:
            transport.abort()
        await server.wait_closed()


class Datagrams(asyncio.DatagramProtocol):
    def __init__(self, reply):
        self.reply = reply
        self.heard = []

    def connection_made(self, transport):
        self.transport = transport

    def datagram_received(self, data, address):
        self.heard.append((data, address))
        answer = self.reply(data)
        if answer is not None:
            self.transport.sendto(answer, address)


async def http(reader, writer):
    await reader.readuntil(b"\r\n\r\n")
    writer.write(b"HTTP/1.1 200 OK\r\nServer: nginx/1.22.1\r\n\r\nhello")


async def hang_up(reader, writer):
    pass


async def asked(handler, *, prober=None, tls=None, host="127.0.0.1", **hints):
    prober = prober or make()
    try:
        async with tcp_server(handler, host, tls) as endpoint:
            return await prober.ask(Question(endpoint=endpoint, hints=Hints(**hints)))
    finally:
        await prober.close()


async def until(predicate):
    while not predicate():  # noqa: ASYNC110 - counters have no event, and the test has its own end
        await asyncio.sleep(0)


def labels(answer):
    return [(one.service, one.over, one.confidence.value) for one in answer.evidence if one.service]
