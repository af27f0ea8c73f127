"""The prober on real loopback sockets: what may not leave does not, and the log knows all that did."""

from __future__ import annotations

import asyncio

import pytest

from flowsonar.config import ScopeSettings, Settings
from flowsonar.errors import StoreError
from flowsonar.model import Endpoint, FlowKey, Hints, Outcome, Question, Transport
from flowsonar.probes import AuditAction
from flowsonar.probes import engine as engine_module
from flowsonar.probes import prober as prober_module
from flowsonar.probes.reactor import Reactor
from tests.probes.sockets import Datagrams, asked, http, labels, make, tcp_server
from tests.probes.world import SIGNATURES, matcher


@pytest.mark.parametrize(
    ("endpoint", "settings"),
    [
        (Endpoint(Transport.TCP, "198.51.100.1", 80), {}),
        (Endpoint(Transport.TCP, "127.0.0.1", 9100), {}),
        (Endpoint(Transport.UDP, "127.0.0.1", 47808), {}),
        (Endpoint(Transport.TCP, "127.0.0.1", 80), {"scope": ScopeSettings(exclude=(":80",))}),
        (Endpoint(Transport.TCP, "224.0.0.1", 80), {"scope": ScopeSettings(allow=("0.0.0.0/0",))}),
        (Endpoint(Transport.SCTP, "127.0.0.1", 80), {}),
        (Endpoint(Transport.TCP, "nonsense", 80), {}),
        (Endpoint(Transport.TCP, "127.0.0.1", 80), {"passive": True}),
        (Endpoint(Transport.TCP, "127.0.0.1", 80), {"dry_run": True}),
    ],
)
def test_what_is_not_permitted_makes_no_socket(run, endpoint, settings, monkeypatch):
    def no_socket(*_args, **_kwargs):
        raise AssertionError("a socket was opened")

    async def go():
        entries = []
        prober = make(entries.append, **settings)
        monkeypatch.setattr(engine_module.socket, "socket", no_socket)
        answer = await prober.ask(Question(endpoint=endpoint))
        monkeypatch.undo()
        await prober.close()
        return answer, entries

    answer, entries = run(go())
    assert answer.outcome is Outcome.NOT_PERMITTED
    assert answer.detail
    assert entries == []


def test_no_dialogue_gets_round_the_gate(run):
    """Even a conversation that is run without the prober's first look meets the scope where sockets are opened."""

    async def go():
        entries = []
        gate = engine_module.Gate(Settings(), entries.append)
        answers = []
        for endpoint in (Endpoint(Transport.TCP, "127.0.0.1", 9100), Endpoint(Transport.UDP, "198.51.100.1", 53)):
            channel = engine_module.Channel(gate, Reactor(), engine_module.Routes(), endpoint, endpoint.address)
            session = prober_module.Session(
                Question(endpoint=endpoint), signatures=SIGNATURES, matcher=matcher(), settings=Settings(), now_s=0.0
            )
            channel.start(session.talk(), lambda answer, _problem: answers.append(answer))
        return answers, entries

    answers, entries = run(go())
    assert [answer.outcome for answer in answers] == [Outcome.NOT_PERMITTED] * 2
    assert entries == []


def test_a_question_with_a_large_answer_stays_at_home(run):
    async def go(settings):
        loop = asyncio.get_running_loop()
        heard = Datagrams(lambda data: b"FOUND")
        transport, _ = await loop.create_datagram_endpoint(lambda: heard, ("127.0.0.1", 0))
        endpoint = Endpoint(Transport.UDP, "127.0.0.1", transport.get_extra_info("sockname")[1])
        prober = make(**settings)
        answer = await prober.ask(Question(endpoint=endpoint, hints=Hints(candidates=("loud",))))
        await prober.close()
        transport.close()
        return labels(answer), heard.heard

    found, heard = run(go({}))
    assert found == [("loud", None, "confirmed")]
    assert heard[0][0] == b"SEARCH"


def test_the_audit_log_is_written_before_the_packet_leaves(run):
    async def go():
        heard = []
        entries = []

        async def server(reader, writer):
            heard.append([entry.action for entry in entries])
            await http(reader, writer)

        answer = await asked(server, prober=make(entries.append))
        return answer, entries, heard

    answer, entries, heard = run(go())
    assert heard[0][0] is AuditAction.CONNECT
    assert [entry.action for entry in entries] == [AuditAction.CONNECT, AuditAction.SEND, AuditAction.END]
    assert [entry.probe for entry in entries][:2] == ["listen", "http/get"]
    assert entries[1].bytes == answer.bytes_sent > 0
    assert entries[2].outcome is Outcome.ANSWERED
    assert all(entry.endpoint == answer.endpoint for entry in entries)


def test_what_cannot_be_written_down_is_not_done(run):
    def full(_entry):
        raise StoreError("disk full")

    async def go():
        came = []

        async def server(reader, writer):
            came.append(1)

        return await asked(server, prober=make(full)), came

    answer, came = run(go())
    assert (answer.outcome, came) == (Outcome.NOT_PERMITTED, [])
    assert "disk full" in answer.detail


def test_own_traffic_is_known_from_the_first_packet_and_after_the_end(run):
    async def go():
        prober = make()
        known = []

        async def server(reader, writer):
            theirs, ours = writer.get_extra_info("sockname"), writer.get_extra_info("peername")
            known.append(prober.is_own(FlowKey(Transport.TCP, ours[0], ours[1], theirs[0], theirs[1])))
            known.append(prober.is_own(FlowKey(Transport.TCP, theirs[0], theirs[1], ours[0], ours[1])))
            known.append(prober.is_own(FlowKey(Transport.TCP, theirs[0], theirs[1], ours[0], ours[1] ^ 1)))
            keys.append(FlowKey(Transport.TCP, ours[0], ours[1], theirs[0], theirs[1]))
            await http(reader, writer)

        keys = []
        async with tcp_server(server) as endpoint:
            await prober.ask(Question(endpoint=endpoint))
        after = prober.is_own(keys[0])
        await prober.close()
        return known, after

    known, after = run(go())
    assert known == [True, True, False]
    assert after
