import json
from pathlib import Path

from tests.app.servers import greeter, web
from tests.cli.program import flowsonar


def test_json_table_and_explain(tmp_path: Path) -> None:
    with web() as http, greeter() as ssh:
        result = flowsonar("probe", "--json", f"127.0.0.1:{http}", f"127.0.0.1:{ssh}", home=tmp_path)
        table = flowsonar("probe", f"127.0.0.1:{http}", home=tmp_path)
    assert result.returncode == 0, result.stderr
    records = [json.loads(line) for line in result.stdout.splitlines()]
    assert {record["dest_port"]: record["app_proto"] for record in records} == {http: "http", ssh: "ssh"}
    assert all(record["event_type"] == "endpoint" for record in records)
    assert b"http" in table.stdout
    why = flowsonar("explain", f"127.0.0.1:{ssh}", home=tmp_path)
    assert why.returncode == 0
    assert b"53 53 48 2d" in why.stdout  # "SSH-" as hex
    assert flowsonar("explain", "127.0.0.1:1", home=tmp_path).returncode == 1


def test_targets_from_standard_input_and_files(tmp_path: Path) -> None:
    with web() as http:
        record = json.dumps({"id.resp_h": "127.0.0.1", "id.resp_p": http, "proto": "tcp"})
        from_input = flowsonar("probe", "--json", "-", stdin=record.encode(), home=tmp_path)
        listed = tmp_path / "targets"
        listed.write_text(f"# mine\n127.0.0.1:{http}\n")
        from_file = flowsonar("probe", "--json", str(listed), home=tmp_path)
    for result in (from_input, from_file):
        assert [json.loads(line)["app_proto"] for line in result.stdout.splitlines()] == ["http"]


def test_never_ports_and_strangers_are_not_asked(tmp_path: Path) -> None:
    result = flowsonar(
        "probe", "--json", "127.0.0.1:9100", "192.0.2.1:80", "127.0.0.1:5", "--exclude", ":5", home=tmp_path
    )
    records = [json.loads(line) for line in result.stdout.splitlines()]
    assert len(records) == 3
    assert {record["flowsonar"]["outcome"] for record in records} == {"not-permitted"}
    assert all(record["flowsonar"]["connections"] == 0 for record in records)


def test_dry_run(tmp_path: Path) -> None:
    with web() as http:
        result = flowsonar("probe", "--dry-run", f"127.0.0.1:{http}", home=tmp_path)
    assert result.returncode == 0
    assert b"would ask" in result.stderr
    assert b"http/" in result.stderr
