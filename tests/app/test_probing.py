import asyncio
from pathlib import Path

from flowsonar.app import Probing
from flowsonar.config import Settings
from flowsonar.model import Confidence, EndpointRecord, Outcome
from flowsonar.probes.targets import Target
from flowsonar.verdicts.store import Store
from tests.app.servers import greeter, web


def ask(*targets: Target, settings: Settings, keep: bool = True) -> tuple[list[EndpointRecord], Probing]:
    probing = Probing(targets, settings, keep=keep)

    async def run() -> list[EndpointRecord]:
        return [record async for record in probing]

    return asyncio.run(run()), probing


def test_targets_become_records_and_are_kept(tmp_path: Path) -> None:
    settings = Settings(store=tmp_path / "verdicts.db")
    with web() as first, greeter() as second:
        records, _ = ask(Target("127.0.0.1", first), Target("localhost", second), settings=settings)
    labels = {record.endpoint.port: record.verdict.service for record in records}
    assert labels == {first: "http", second: "ssh"} or labels.keys() > {first}  # localhost may have two addresses
    assert labels[first] == "http"
    store = Store(settings.store)
    (stored,) = store.find("127.0.0.1", first)
    store.close()
    assert stored.verdict.service == "http"


def test_outside_the_scope_nothing_is_sent(tmp_path: Path) -> None:
    records, _ = ask(Target("192.0.2.1", 80), settings=Settings(store=tmp_path / "v.db"))
    assert [record.outcome for record in records] == [Outcome.NOT_PERMITTED]
    assert records[0].connections == 0
    assert "scope" in records[0].detail


def test_a_closed_port_is_refused_and_unknown(tmp_path: Path) -> None:
    with web() as port:
        pass
    records, _ = ask(Target("127.0.0.1", port), settings=Settings(store=tmp_path / "v.db"))
    assert [(record.outcome, record.verdict.confidence) for record in records] == [
        (Outcome.REFUSED, Confidence.UNKNOWN)
    ]


def test_the_same_target_is_asked_once_and_a_wrong_name_is_told(tmp_path: Path) -> None:
    with web() as port:
        target = Target("127.0.0.1", port)
        records, probing = ask(target, target, Target("no.such.host.invalid", 1), settings=Settings(), keep=False)
    assert len(records) == 1
    assert [problem.split(":")[0] for problem in probing.problems] == ["no.such.host.invalid"]


def test_dry_run_sends_nothing(tmp_path: Path) -> None:
    with web() as port:
        records, probing = ask(Target("127.0.0.1", port), settings=Settings(dry_run=True, store=tmp_path / "v.db"))
    assert [record.outcome for record in records] == [Outcome.NOT_PERMITTED]
    ((question, probes),) = probing.planned
    assert question.endpoint.port == port
    assert probes
