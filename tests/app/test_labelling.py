import asyncio
import json
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

from flowsonar.app.labelling import Labelling
from flowsonar.config import Settings
from flowsonar.model import Transport
from flowsonar.probes.flowlines import FlowLine
from flowsonar.probes.targets import Target
from tests.app.servers import greeter, web


async def stream(records: list[FlowLine]) -> AsyncIterator[FlowLine]:
    for record in records:
        yield record


def label(records: list[FlowLine], tmp_path: Path, **more: Any) -> tuple[list[dict[str, Any]], Labelling]:
    async def run() -> tuple[list[bytes], Labelling]:
        labelling = Labelling(stream(records), Settings(store=tmp_path / "v.db"), **more)
        return [line async for lines in labelling.batches() for line in lines], labelling

    lines, labelling = asyncio.run(run())
    return [json.loads(line) for line in lines], labelling


def flow(number: int, port: int | None) -> FlowLine:
    target = None if port is None else Target("127.0.0.1", port, Transport.TCP)
    return FlowLine({"n": number}, target, "" if target else "icmp has no port to ask")


def test_records_come_back_in_their_order_with_the_label(tmp_path: Path) -> None:
    with web() as http, greeter() as ssh:
        records = [flow(0, http), flow(1, None), flow(2, ssh), *(flow(3 + more, http) for more in range(20_000))]
        lines, labelling = label(records, tmp_path)
    assert [line["n"] for line in lines] == list(range(20_003))
    assert [line["flowsonar"]["service"] for line in lines[:4]] == ["http", None, "ssh", "http"]
    assert lines[0]["flowsonar"]["asked"] == f"127.0.0.1:{http}/tcp"
    assert lines[1]["flowsonar"]["detail"] == "icmp has no port to ask"
    assert labelling.probing.total == 2


def test_a_run_goes_on_after_what_was_written(tmp_path: Path) -> None:
    with web() as http:
        known = {f"127.0.0.1:{http}/tcp": b'{"service":"known"}'}
        lines, labelling = label([flow(number, http) for number in range(5)], tmp_path, skip=3, labels=known)
    assert lines == [{"n": 3, "flowsonar": {"service": "known"}}, {"n": 4, "flowsonar": {"service": "known"}}]
    assert labelling.probing.total == 0


def test_what_a_record_says_can_be_written(tmp_path: Path) -> None:
    records = [FlowLine({"n": "\ud800", "big": 1 << 70, "flowsonar": 1}, None, "none"), FlowLine({}, None, "none")]
    lines, _ = label(records, tmp_path)
    assert lines[0]["flowsonar"]["service"] is None
    assert lines[1].keys() == {"flowsonar"}
