import asyncio
import socket

import pytest

from flowsonar.app import asking as asking_module
from flowsonar.app.asking import Asking
from flowsonar.app.parts import Parts
from flowsonar.config import Settings
from flowsonar.model import (
    Answer,
    Confidence,
    Endpoint,
    Evidence,
    EvidenceKind,
    Hints,
    Layer,
    Outcome,
    Question,
    Transport,
)
from flowsonar.probes import AuditEntry
from tests.app.servers import web


def question(port: int, address: str = "127.0.0.1") -> Question:
    return Question(endpoint=Endpoint(Transport.TCP, address, port))


def test_answers_come_back_with_the_audit_before_them() -> None:
    parts = Parts.load(Settings())
    audit: list[AuditEntry] = []
    woken: list[bool] = []

    async def run(port: int) -> list[Answer]:
        asking = Asking(Settings(), parts, audit=audit.append, wake=lambda: woken.append(True))
        asking.ask([question(port)])
        assert asking.busy == 1
        await asking.changed()
        answers = asking.take()
        await asking.close()
        return answers

    with web() as port:
        (answer,) = asyncio.run(run(port))
    assert answer.outcome is Outcome.ANSWERED
    assert answer.evidence[0].service == "http"
    assert woken
    assert audit[0].endpoint.port == port


def test_closing_cancels_what_is_under_way() -> None:
    parts = Parts.load(Settings())

    async def run(port: int) -> list[Answer]:
        asking = Asking(Settings(), parts)
        asking.ask([question(port)])
        await asyncio.sleep(0)
        await asking.close()
        return asking.take()

    with socket.create_server(("127.0.0.1", 0)) as silent:  # the kernel accepts, nobody answers
        (answer,) = asyncio.run(run(silent.getsockname()[1]))
    assert answer.outcome is Outcome.CANCELLED


def test_nothing_asked_means_nothing_to_wait_for() -> None:
    async def run() -> None:
        asking = Asking(Settings(), Parts.load(Settings()))
        await asking.changed()
        assert asking.take() == []
        assert asking.why_not(Endpoint(Transport.TCP, "8.8.8.8", 53)) is not None
        assert asking.why_not(Endpoint(Transport.TCP, "10.0.0.1", 53)) is None
        await asking.close()

    asyncio.run(run())


def test_dialogues_and_greetings_inside_tls_are_told_before_the_answer() -> None:
    endpoint = Endpoint(Transport.TCP, "127.0.0.1", 993)
    greeting = Evidence(
        kind=EvidenceKind.REPLY,
        service="imap",
        confidence=Confidence.LIKELY,
        over=Layer.TLS,
        probe="listen",
        signature="imap/greeting",
    )
    dialogue = greeting._replace(probe="imap/capability", signature="imap/capability", over=None)
    kept = (
        greeting._replace(over=None),
        greeting._replace(confidence=Confidence.GUESS),
        greeting._replace(probe="x/y"),
    )

    async def run() -> list[Answer]:
        told: list[Answer] = []
        asking = Asking(Settings(), Parts.load(Settings()), early=told.append)
        for piece in (greeting, dialogue, *kept):
            asking._heard(endpoint, piece)
        await asking.close()
        return told

    told = asyncio.run(run())
    assert [answer.evidence for answer in told] == [(greeting,), (dialogue,)]
    assert not any(answer.final for answer in told)


def test_what_is_asked_beside_something_else_waits_and_can_be_taken_back(monkeypatch: pytest.MonkeyPatch) -> None:
    endpoint = Endpoint(Transport.UDP, "127.0.0.1", 6881)
    beside = Question(endpoint=endpoint, hints=Hints(candidates=("bittorrent",), beside=True))

    async def run() -> Answer:
        asking = Asking(Settings(), Parts.load(Settings()))
        asking.ask([beside])
        assert (asking.busy, asking.counters()["questions"]) == (1, 0)
        asking.withdraw([endpoint])
        assert asking.busy == 0
        monkeypatch.setattr(asking_module, "BESIDE_S", 0.0)
        asking.ask([beside])
        await asking.changed()
        (answer,) = asking.take()
        assert asking.counters()["questions"] == 1
        await asking.close()
        return answer

    assert asyncio.run(run()).endpoint == endpoint
