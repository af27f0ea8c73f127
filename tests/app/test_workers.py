"""Several workers write what one process writes: the same records, in the same order."""

import asyncio
import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

import flowsonar
from flowsonar.app import Reading
from flowsonar.app.parts import Parts
from flowsonar.app.workers import WORKERS_MAX, WorkerReading, workers_of
from flowsonar.config import Settings
from flowsonar.errors import CaptureError, ConfigError, FlowsonarError
from flowsonar.model import FlowRecord
from flowsonar.outputs.decode import records
from flowsonar.outputs.eve import encode
from tests.app.capture import conversation
from tests.app.rows import row
from tests.needs import CORPUS, needs_corpus, needs_native

PCAP = CORPUS / "ndpi" / "pcap"
SKYPE = sorted((CORPUS / "skype").glob("*cap"))
ENTANGLED = ("ftp-start-tls.pcap", "ftp.pcap", "rtsp.pcap", "FAX-Call-t38-CA-TDM-SIP-FB-1.pcap", "fuzz-2021-10-13.pcap")
"""Flows that say what others are."""


@pytest.fixture(scope="module")
def parts() -> Parts:
    return Parts.load(Settings())


def _text(reading: Reading) -> bytes:
    return b"".join(one if isinstance(one, bytes) else encode(one) for ended in reading.lines() for one in ended)


def _rows(reading: Reading) -> list[str]:
    return [row(record) for ended in reading.lines(whole=True) for record in records(ended)]


def _same(captures: list[Path], parts: Parts, cache: Path, *, workers: int) -> dict[str, int]:
    one = Reading(captures, parts=parts, cache=cache)
    text = _text(one)
    several = WorkerReading(captures, parts=parts, cache=cache, workers=workers)
    assert _text(several) == text
    assert _rows(WorkerReading(captures, parts=parts, cache=cache, workers=workers)) == _rows(
        Reading(captures, parts=parts, cache=cache)
    )
    assert several.problems == one.problems
    for name in ("frames", "packets", "flows", "frames_malformed"):
        assert several.counters[name] == one.counters[name]
    return several.counters


@needs_native()
@needs_corpus()
@pytest.mark.parametrize("workers", [2, 3])
def test_lines_of_flows_that_say_what_others_are(parts: Parts, tmp_path: Path, workers: int) -> None:
    captures = [path for name in ENTANGLED if (path := PCAP / name).is_file()]
    assert _same(captures, parts, tmp_path, workers=workers)["lane_lent"]


@needs_native()
@needs_corpus()
def test_hosts_that_run_skype(parts: Parts, tmp_path: Path) -> None:
    """A flow that leaves the fast lane is judged by what is known then: by which rule, and since when, may differ."""

    def told(reading: Reading) -> list[tuple[object, ...]]:
        records = [json.loads(line) for line in _text(reading).splitlines()]
        return [(one["flow_id"], one["app_proto"], one["flowsonar"]["confidence"]) for one in records]

    one = told(Reading(SKYPE, parts=parts, cache=tmp_path))
    assert told(WorkerReading(SKYPE, parts=parts, cache=tmp_path, workers=3)) == one
    assert sum(row[1] == "skype" for row in one) > 100


@needs_native()
@needs_corpus()
def test_lines_of_the_whole_corpus(parts: Parts, tmp_path: Path) -> None:
    captures = sorted(path for path in PCAP.iterdir() if path.suffix in {".pcap", ".pcapng", ".cap"})
    assert _same(captures, parts, tmp_path, workers=4)["flows"] > 1000


@needs_native()
@needs_corpus()
def test_records_of_the_slow_lane(parts: Parts) -> None:
    captures = [SKYPE[0], PCAP / "ftp-start-tls.pcap"]
    one: list[FlowRecord] = list(Reading(captures, parts=parts))
    assert list(WorkerReading(captures, parts=parts, workers=3)) == one
    assert list(flowsonar.read_sync(*captures, workers=2)) == one

    async def collect() -> list[FlowRecord]:
        return [record async for record in flowsonar.read(*captures, workers=2)]

    assert asyncio.run(collect()) == one


@needs_native()
def test_a_capture_that_is_cut_short(parts: Parts, tmp_path: Path) -> None:
    whole, cut = tmp_path / "whole.pcap", tmp_path / "cut.pcap"
    text = conversation("192.0.2.7", 80, [b"GET / HTTP/1.1\r\nHost: a.example\r\n\r\n"])
    whole.write_bytes(text)
    cut.write_bytes(text[:-3])
    counters = _same([cut, whole, tmp_path / "missing.pcap"], parts, tmp_path / "cache", workers=2)
    assert counters["flows"] == 2
    reading = WorkerReading([tmp_path / "missing.pcap"], parts=parts, workers=2)
    with pytest.raises(CaptureError, match="no such file"):
        list(reading)


@needs_native()
def test_what_is_no_file_is_refused(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    for name in ("-", tmp_path / "pipe"):
        with pytest.raises(ConfigError, match="files only"):
            WorkerReading([name], workers=2)


@needs_native()
def test_a_worker_that_is_killed(parts: Parts, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "small.pcap"
    path.write_bytes(conversation("192.0.2.7", 80, [b"GET / HTTP/1.1\r\n\r\n"]))

    def dies(*_: object, **__: object) -> None:
        os.kill(os.getpid(), signal.SIGKILL)

    monkeypatch.setattr(WorkerReading, "_work", dies)
    with pytest.raises(FlowsonarError, match="signal 9"):
        list(WorkerReading([path], parts=parts, workers=2))


@needs_native()
def test_stopping_records_what_was_read(parts: Parts, tmp_path: Path) -> None:
    path = tmp_path / "small.pcap"
    path.write_bytes(conversation("192.0.2.7", 80, [b"GET / HTTP/1.1\r\n\r\n"]))
    reading = WorkerReading([path], parts=parts, workers=2)
    reading.stop()
    assert [record.counters.packets_toserver for record in reading if record.counters] in ([], [2])
    assert reading.problems == ["interrupted: the flows until here were recorded"]
    with pytest.raises(KeyboardInterrupt):
        reading.stop()


def test_how_many_are_meant() -> None:
    assert workers_of(3) == 3
    assert workers_of(0) == len(os.sched_getaffinity(0))
    for count in (-1, WORKERS_MAX + 1):
        with pytest.raises(ConfigError, match="workers"):
            workers_of(count)


@needs_native()
def test_the_command(tmp_path: Path) -> None:
    path = tmp_path / "small.pcap"
    path.write_bytes(conversation("192.0.2.7", 80, [b"GET / HTTP/1.1\r\nHost: a.example\r\n\r\n"]))
    command = [sys.executable, "-m", "flowsonar.cli", "read", str(path)]

    def said(*more: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run([*command, *more], capture_output=True, text=True, timeout=60, check=False)

    line = said("--json", "--workers", "2")
    assert line.returncode == 0, line.stderr
    assert json.loads(line.stdout)["app_proto"] == "http"
    assert said("--format", "csv", "--workers", "2").stdout == said("--format", "csv").stdout
    assert said("--probe", "--workers", "2").returncode == 2
    assert said("--workers", "9999").returncode == 2
