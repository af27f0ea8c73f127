import asyncio
from pathlib import Path

import flowsonar
from flowsonar.app import Reading
from flowsonar.config import Settings
from flowsonar.model import Confidence, FlowRecord, RecordType
from tests.app.capture import conversation
from tests.app.servers import web
from tests.needs import CORPUS, needs_corpus

SKYPE = CORPUS / "skype" / "SkypeIRC.cap"


@needs_corpus()
def test_asynchronous_and_plain_reading_agree() -> None:
    async def collect() -> list[FlowRecord]:
        return [record async for record in flowsonar.read(SKYPE)]

    plain = list(flowsonar.read_sync(SKYPE))
    assert asyncio.run(collect()) == plain
    assert {record.type for record in plain} == {RecordType.FLOW}


@needs_corpus()
def test_progress_and_counters() -> None:
    steps: list[tuple[str, int, int | None]] = []
    reading = Reading([SKYPE], progress=lambda *step: steps.append(step))
    flows = len(list(reading))
    assert steps[-1][1] == steps[-1][2] == SKYPE.stat().st_size
    assert reading.counters["flows"] == flows
    assert not reading.problems


def test_a_fresh_capture_is_completed_by_asking(tmp_path: Path) -> None:
    """The capture shows bytes that nobody knows, to a server that is still there."""
    path = tmp_path / "fresh.pcap"
    with web() as port:
        path.write_bytes(conversation("127.0.0.1", port, [b"\x8e\x01\xf0\x99\xc3\x5a\x77\x12" * 4]))
        passive = list(Reading([path]))

        async def asked() -> list[FlowRecord]:
            return [record async for record in flowsonar.read(path, ask=True, settings=Settings())]

        active = asyncio.run(asked())
    assert [record.verdict.service for record in passive] == [None]
    assert [(record.verdict.service, record.verdict.confidence) for record in active] == [
        ("http", Confidence.CONFIRMED)
    ]
