"""Control connections on real loopback sockets: hosts where everything answers."""

from __future__ import annotations

import contextlib
import dataclasses
import random

from flowsonar.config import Settings
from flowsonar.model import Endpoint, Hints, Question, Transport
from flowsonar.probes import AuditAction, Prober
from flowsonar.probes import ahead as ahead_module
from flowsonar.probes.special.mse import KEY_BYTES, Mse
from flowsonar.signatures.loader import load_signatures
from flowsonar.signatures.matcher import Matcher
from tests.probes.sockets import FAST, asked, hang_up, http, labels, make, tcp_server


@contextlib.asynccontextmanager
async def everywhere(monkeypatch, handler, ports):
    """As if every port of the host were redirected to one server: the kernel is told of its port instead."""
    async with tcp_server(handler) as endpoint:
        real = ahead_module.socket_address
        monkeypatch.setattr(ahead_module, "socket_address", lambda address, _port: real(address, endpoint.port))
        yield [Endpoint(Transport.TCP, "127.0.0.1", port) for port in ports]


def everything(run, monkeypatch, handler, ports, hints=None, made=make):
    async def go():
        entries = []
        prober = made(entries.append, budget=dataclasses.replace(FAST, control=True))
        async with everywhere(monkeypatch, handler, ports) as endpoints:
            answers = [await prober.ask(Question(endpoint=one, hints=hints or Hints())) for one in endpoints]
        counters = prober.counters()
        await prober.close()
        monkeypatch.undo()
        return answers, counters, entries

    return run(go())


def marks(answer):
    return [one.detail for one in answer.evidence if one.signature == "everything-answers"]


def test_the_same_answer_on_every_port_is_a_guess(run, monkeypatch):
    answers, counters, entries = everything(run, monkeypatch, http, (4444, 5555))
    for answer in answers:
        assert labels(answer) == [("http", None, "guess")]
        assert "said the same" in marks(answer)[0]
    assert (counters["controls"], counters["connections"]) == (2, 2)
    controls = [entry for entry in entries if entry.probe == "control" and entry.action is AuditAction.CONNECT]
    assert all(entry.endpoint.port >= 61000 for entry in controls)


def with_all(audit=None, budget=FAST):
    """A prober that knows every service there is."""
    signatures = load_signatures()
    return Prober(signatures, Matcher(signatures), Settings(budget=budget), audit=audit or (lambda _entry: None))


def test_who_was_taken_for_a_peer_and_says_the_same_on_every_port_is_a_guess_too(run, monkeypatch):
    answers, counters, _ = everything(
        run, monkeypatch, http, (47_111,), Hints(candidates=("http", "bittorrent")), with_all
    )
    assert labels(answers[0]) == [("http", None, "guess")]
    assert counters["controls"] == 2


async def peer(reader, writer):
    """Knows the secret of message stream encryption: closes at its hash."""
    mse = Mse(random.Random())
    hashed = mse.hash(await reader.readexactly(KEY_BYTES))
    writer.write(mse.public_key + random.randbytes(40))
    heard = b""
    while hashed not in heard and (data := await reader.read(4096)):
        heard += data
    writer.close()


def test_who_proves_a_secret_needs_no_control_connection(run):
    prober = with_all(budget=dataclasses.replace(FAST, control=True, timeout_s=3.0))
    answer = run(asked(peer, prober=prober, candidates=("bittorrent",)))
    assert ("bittorrent", None, "confirmed") in labels(answer)
    assert prober.counters()["controls"] == 0


def test_a_port_that_takes_connections_like_all_others_and_tells_nothing_is_named(run, monkeypatch):
    answers, counters, _ = everything(run, monkeypatch, hang_up, (4444,))
    assert labels(answers[0]) == []
    assert len(marks(answers[0])) == 1
    assert counters["controls"] >= 2


def test_a_host_that_refuses_the_control_connection_is_believed(run):
    prober = make(budget=dataclasses.replace(FAST, control=True))
    answer = run(asked(http, prober=prober))
    assert labels(answer) == [("http", None, "confirmed")]
    assert prober.counters()["controls"] == 1
    assert prober.counters()["connections"] == 1
