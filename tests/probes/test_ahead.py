"""Connections begun before there is a question: who may have one, who takes it, and when it ends."""

from __future__ import annotations

import socket
from dataclasses import replace

import pytest

from flowsonar.config import Settings
from flowsonar.errors import FlowsonarError
from flowsonar.model import Endpoint, Transport
from flowsonar.probes import ahead as ahead_module
from flowsonar.probes.ahead import AHEAD_S, Ahead
from flowsonar.probes.gate import Gate
from flowsonar.probes.routes import Routes


@pytest.fixture
def server():
    with socket.create_server(("127.0.0.1", 0)) as listening:
        yield Endpoint(Transport.TCP, *listening.getsockname())


def made(settings=None, audit=lambda _entry: None):
    return Ahead(Gate(settings or Settings(), audit), Routes())


def test_a_connection_is_begun_once_and_taken_once(server):
    entries = []
    ahead = made(audit=entries.append)
    assert ahead.begin(server)
    assert not ahead.begin(server)
    assert [(entry.endpoint, entry.probe) for entry in entries] == [(server, "ahead")]
    started = ahead.take(server)
    assert started.socket.getpeername() == (server.address, server.port)
    assert started.local == started.socket.getsockname()
    assert ahead.take(server) is None
    started.socket.close()
    ahead.close()
    assert ahead.counts == {"ahead": 1, "ahead_unused": 0}


def test_what_nobody_takes_is_ended_before_the_kernel_says_its_syn_again(server):
    ahead = made()
    ahead.begin(server)
    begun_s = ahead._waiting[server].at_s
    assert ahead.sweep(begun_s + AHEAD_S / 2) == begun_s + AHEAD_S
    assert len(ahead) == 1
    assert ahead.sweep(begun_s + AHEAD_S) is None
    assert len(ahead) == 0
    assert ahead.counts == {"ahead": 1, "ahead_unused": 1}


def test_nothing_is_begun_outside_the_scope_over_udp_or_beyond_the_bound(server, monkeypatch):
    ahead = made()
    assert not ahead.begin(Endpoint(Transport.TCP, "203.0.113.1", 6881))
    assert not ahead.begin(server._replace(transport=Transport.UDP))
    monkeypatch.setattr(ahead_module, "AHEAD", 0)
    assert not ahead.begin(server)
    assert ahead.counts["ahead"] == 0


def test_nothing_is_begun_that_the_budget_would_hold_back(server):
    settings = Settings()
    ahead = made(replace(settings, budget=replace(settings.budget, per_host_rate=0.001, per_host_burst=1)))
    assert ahead.begin(server)
    ahead.take(server).socket.close()
    assert not ahead.begin(server)


def test_nothing_is_begun_that_cannot_be_written_down(server):
    def full(_entry):
        raise FlowsonarError("disk full")

    ahead = made(audit=full)
    assert not ahead.begin(server)
    assert len(ahead._gate.own._open) == 0
