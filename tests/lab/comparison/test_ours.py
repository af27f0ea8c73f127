import json
from pathlib import Path

from lab.comparison.ours import probe_command, probed, read_labels


def record(**own: object) -> dict[str, object]:
    kind = own.pop("event_type", "endpoint")
    where = {"src_ip": "10.0.0.1", "src_port": 4000, "dest_ip": "10.0.0.2", "dest_port": 22, "proto": "TCP"}
    return {"event_type": kind, **where, "flowsonar": own}


def test_endpoints_are_named_without_hints(tmp_path: Path) -> None:
    command = probe_command([("udp", "10.0.0.2", 53), ("tcp", "fd00::1", 22)], tmp_path / "s")
    assert command[-2:] == ["10.0.0.2:53/udp", "[fd00::1]:22"]


def test_what_was_probed(tmp_path: Path) -> None:
    file = tmp_path / "out"
    one = record(service="ssh", confidence="confirmed", connections=1, bytes_sent=7, verdict_ms=2.0, outcome="answered")
    file.write_text(json.dumps(one) + "\n")
    said = probed(file)["tcp", "10.0.0.2", 22]
    assert (said.service, said.tries, said.bytes_sent, str(said)) == ("ssh", 1, 7, "ssh")


def test_the_best_label_of_a_capture(tmp_path: Path) -> None:
    file = tmp_path / "out"
    rows = [
        record(event_type="flow", service=None, confidence="unknown"),
        record(event_type="flow", service="ssh", confidence="confirmed"),
        record(event_type="flow", service="ssh", confidence="likely"),
    ]
    file.write_text("".join(json.dumps(row) + "\n" for row in rows))
    assert read_labels(file, ["10.0.0.2"])["tcp", 22].confidence == "confirmed"
    assert not read_labels(file, ["10.0.0.3"])
