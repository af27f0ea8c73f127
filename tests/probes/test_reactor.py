"""Sockets and deadlines on a real loop, asyncio's and uvloop's."""

import asyncio
import select
import socket
import time

import pytest
import uvloop

from flowsonar.probes.reactor import IDLE, Reactor


class Noted:
    """Writes down what it is told."""

    def __init__(self):
        self.due_s = IDLE
        self.masks = []
        self.late_at = []
        self.told = asyncio.Event()

    def ready(self, mask):
        self.masks.append(mask)
        self.told.set()

    def late(self):
        self.late_at.append(self.due_s)
        self.due_s = IDLE
        self.told.set()


@pytest.fixture(params=["asyncio", "uvloop"])
def run(request):
    factory = uvloop.new_event_loop if request.param == "uvloop" else asyncio.new_event_loop

    def runner(coroutine):
        with asyncio.Runner(loop_factory=factory) as inside:
            return inside.run(coroutine)

    return runner


def test_an_edge_is_told_once(run):
    async def go():
        reactor, noted = Reactor(), Noted()
        ours, theirs = socket.socketpair()
        with ours, theirs:
            reactor.add(ours.fileno(), noted)
            await noted.told.wait()
            assert noted.masks == [select.EPOLLOUT]
            noted.told.clear()
            theirs.send(b"x")
            await noted.told.wait()
            assert noted.masks[1] & select.EPOLLIN
            reactor.remove(ours.fileno())
            assert len(reactor) == 0
        reactor.close()

    run(go())


def test_only_the_deadline_that_counts_is_told(run):
    async def go():
        reactor, noted = Reactor(), Noted()
        now_s = time.monotonic()
        reactor.at(now_s + 60.0, noted)
        reactor.at(now_s + 0.001, noted)
        await noted.told.wait()
        assert noted.late_at == [now_s + 0.001]
        reactor.at(now_s + 0.002, noted)
        noted.due_s = IDLE  # nobody waits any more
        other = Noted()
        reactor.at(now_s + 0.003, other)
        await other.told.wait()
        assert len(noted.late_at) == 1
        reactor.close()

    run(go())


def test_stale_deadlines_do_not_pile_up(run):
    async def go():
        reactor, noted = Reactor(), Noted()
        now_s = time.monotonic()
        for number in range(20_000):
            reactor.at(now_s + 60 + number, noted)
        assert len(reactor._heap) < 5000
        reactor.close()

    run(go())


def test_after_the_end_nobody_is_told(run):
    async def go():
        reactor, noted = Reactor(), Noted()
        reactor.at(time.monotonic(), noted)
        reactor.close()
        reactor.close()
        await asyncio.sleep(0)
        assert noted.late_at == []

    run(go())
