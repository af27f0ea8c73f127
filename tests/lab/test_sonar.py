"""Reading flowsonar's records."""

import json
from pathlib import Path

from lab.sonar import How, command, labels, read_lines


def _record(
    flow: int, event: str, service: str | None, ms: float | None, kind: str, **more: object
) -> dict[str, object]:
    said = {"service": service, "over": None, "confidence": "confirmed" if service else "unknown", "verdict_ms": ms}
    said |= {"evidence": [{"kind": kind}] if kind else [], **more}
    return {
        "timestamp": f"2026-01-01T00:00:0{flow}",
        "flow_id": flow,
        "event_type": event,
        "src_ip": "192.0.2.1",
        "src_port": 40000 + flow,
        "dest_ip": "2001:DB8::0:1" if flow == 2 else "192.0.2.9",
        "dest_port": 80,
        "proto": "TCP",
        "flowsonar": said,
    }


def test_the_last_record_counts_with_the_time_of_the_first_that_said_the_same() -> None:
    events = [
        _record(1, "verdict", "tls", 2.0, "payload"),
        _record(1, "verdict", "http", 9.0, "reply"),
        _record(1, "verdict", "http", 30.0, "payload"),
        _record(1, "flow", "http", None, "payload"),
    ]
    (label,) = labels(events)
    assert (label.service, label.ms, label.how, label.confidence) == ("http", 9.0, How.ASKED, "confirmed")
    assert (label.source, label.destination) == (("192.0.2.1", 40001), ("192.0.2.9", 80))
    assert str(label) == "http"


def test_unknown_and_other_records() -> None:
    events = [
        _record(2, "flow", None, None, ""),
        {**_record(3, "flow", "icmp", 1.0, ""), "proto": "ICMP"},
        {"event_type": "stats"},
    ]
    (label,) = labels(events)
    assert (label.service, label.how, str(label)) == (None, How.NONE, "unknown")
    assert label.destination == ("2001:db8::1", 80)


def test_over_is_printed() -> None:
    (label,) = labels([_record(1, "flow", "http", 1.0, "endpoint", over="tls")])
    assert (str(label), label.how) == ("http over tls", How.CACHED)


def test_lines_that_are_no_records_are_counted_and_the_unfinished_one_left_out(tmp_path: Path) -> None:
    file = tmp_path / "records"
    assert read_lines(file) == ([], 0)
    file.write_text(json.dumps({"a": 1}) + "\nnonsense\n[1]\n" + '{"unfinished"')
    assert read_lines(file) == ([{"a": 1}], 2)


def test_command() -> None:
    words = command(["a", "b"], ["192.0.2.0/24"], Path("s.db"))
    assert words[1:] == [
        "-m",
        "flowsonar",
        "watch",
        "--json",
        "--store",
        "s.db",
        "-i",
        "a",
        "-i",
        "b",
        "--scope",
        "192.0.2.0/24",
    ]
