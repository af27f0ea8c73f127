import gzip
import json
import shutil
from collections import Counter
from pathlib import Path

import pytest

from tests.cli.program import flowsonar
from tests.needs import CORPUS, needs_corpus

SKYPE = CORPUS / "skype"


def flows(output: bytes) -> list[dict[str, object]]:
    return [json.loads(line) for line in output.splitlines()]


@needs_corpus()
def test_the_node_of_2006() -> None:
    result = flowsonar("read", "--json", str(SKYPE / "SkypeIRC.cap"))
    assert result.returncode == 0, result.stderr
    records = flows(result.stdout)
    by_service = Counter(record["app_proto"] for record in records)
    assert by_service["skype"] >= 95
    irc = [record for record in records if record.get("dest_port") in range(6660, 6670)]
    assert irc
    assert all(record["app_proto"] != "skype" for record in irc)
    details = " ".join(
        piece["detail"]
        for record in records
        if record["app_proto"] == "skype"
        for piece in record["flowsonar"]["evidence"]  # type: ignore[index]
    )
    for subtype in ("probe", "super node", "version check"):
        assert subtype in details


@needs_corpus()
def test_the_client_of_2013() -> None:
    records = flows(flowsonar("read", "--json", str(SKYPE / "skype.pcap")).stdout)
    assert Counter(record["app_proto"] for record in records)["skype"] >= 200


@needs_corpus()
def test_gzip_and_standard_input_give_the_same(tmp_path: Path) -> None:
    plain = SKYPE / "SkypeIRC.cap"
    packed = tmp_path / "capture.gz"
    with plain.open("rb") as source, gzip.open(packed, "wb") as target:
        shutil.copyfileobj(source, target)
    expected = flowsonar("read", "--json", str(plain)).stdout
    assert flowsonar("read", "--json", str(packed)).stdout == expected
    assert flowsonar("read", "--json", "-", stdin=plain.read_bytes()).stdout == expected


@needs_corpus()
def test_a_cut_capture_gives_what_is_whole_and_says_so(tmp_path: Path) -> None:
    data = (SKYPE / "SkypeIRC.cap").read_bytes()
    cut = tmp_path / "cut.pcap"
    cut.write_bytes(data[: len(data) // 2 + 7])
    result = flowsonar("read", "--json", str(cut))
    assert result.returncode == 1
    assert [b"cut short" in line for line in result.stderr.splitlines() if b"cut.pcap" in line] == [True]
    assert len(flows(result.stdout)) > 50


@needs_corpus()
def test_the_whole_corpus_ends_without_error() -> None:
    captures = sorted(str(path) for path in (CORPUS / "ndpi" / "pcap").iterdir())
    result = flowsonar("read", "--json", *captures, timeout_s=300)
    assert b"Traceback" not in result.stderr
    damaged = [line for line in result.stderr.splitlines() if line]
    assert result.returncode == (1 if damaged else 0)
    assert len(flows(result.stdout)) > 6000


@needs_corpus()
def test_people_see_a_table() -> None:
    result = flowsonar("read", str(SKYPE / "SkypeIRC.cap"))
    assert result.returncode == 0
    assert b"skype" in result.stdout
    assert b"\x1b" not in result.stdout


@pytest.mark.parametrize("content", [b"", b"\x00", b"not a capture at all", bytes(100)])
def test_what_is_no_capture(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "x.pcap"
    path.write_bytes(content)
    result = flowsonar("read", str(path))
    assert result.returncode == 1
    assert result.stderr.startswith(b"flowsonar: ")
    assert b"Traceback" not in result.stderr


@needs_corpus()
@pytest.mark.parametrize(("ending", "head"), [(".csv", b"ts,te,td,sa"), (".log", b"#separator"), (".jsonl", b'{"time')])
def test_a_file_says_its_format_by_its_ending(tmp_path: Path, ending: str, head: bytes) -> None:
    path = tmp_path / f"flows{ending}"
    result = flowsonar("read", str(SKYPE / "SkypeIRC.cap"), "-o", str(path))
    assert (result.returncode, result.stdout) == (0, b"")
    assert path.read_bytes().startswith(head)


def test_formats_that_do_not_agree_are_wrong_usage(tmp_path: Path) -> None:
    assert flowsonar("read", "x.pcap", "--json", "--format", "csv").returncode == 2
    assert flowsonar("read", "x.pcap", "--output", str(tmp_path / "flows.xyz")).returncode == 2
    assert flowsonar("read", "x.pcap", "--output", str(tmp_path / "no" / "flows.csv")).returncode == 1
