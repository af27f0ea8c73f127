import json
from pathlib import Path

import pytest

from tests.cli.program import flowsonar
from tests.needs import CORPUS, needs_corpus

CAPTURE = CORPUS / "skype/SkypeIRC.cap"


@pytest.fixture
def flows(tmp_path: Path) -> Path:
    path = tmp_path / "flows.parquet"
    result = flowsonar("read", str(CAPTURE), "--output", str(path))
    assert result.returncode == 0, result.stderr
    assert result.stdout == b""
    return path


@needs_corpus()
def test_sql_on_records(flows: Path) -> None:
    sql = "select service, count(*) as n from flows where service = 'skype' group by all"
    result = flowsonar("query", str(flows), sql, "--json")
    assert result.returncode == 0, result.stderr
    (row,) = [json.loads(line) for line in result.stdout.splitlines()]
    assert row["service"] == "skype"
    assert row["n"] >= 95
    assert b"skype" in flowsonar("query", str(flows)).stdout


@needs_corpus()
def test_wrong_sql_is_one_line(flows: Path) -> None:
    result = flowsonar("query", str(flows), "selekt")
    assert result.returncode == 1
    assert result.stderr.count(b"\n") == 1


def test_what_is_no_file_or_no_parquet(tmp_path: Path) -> None:
    assert flowsonar("query", str(tmp_path / "none")).returncode == 2
    (tmp_path / "x.parquet").write_bytes(b"nothing of the kind")
    result = flowsonar("query", str(tmp_path / "x.parquet"))
    assert result.returncode == 1
    assert result.stderr.count(b"\n") == 1
