import json
from pathlib import Path

from tests.app.servers import greeter, odd, web
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
    assert b"would ask" in result.stdout
    assert b'bytes "GET / HTTP/1.0' in result.stdout
    assert b"nothing was sent" in result.stderr


def test_refusals_say_what_to_do(tmp_path: Path) -> None:
    result = flowsonar("probe", "192.0.2.0/29:80", "127.0.0.1:9100", home=tmp_path)
    assert result.returncode == 1  # nothing could be asked
    assert b"192.0.2.1 is outside the scope; --scope CIDR lets it in (and 5 more)" in result.stderr
    assert b"9100/tcp is never asked: JetDirect" in result.stderr


def test_bad_lines_are_named_and_the_rest_is_asked(tmp_path: Path) -> None:
    with web() as http:
        text = f"what\n127.0.0.1:{http}\n\xff\n".encode("latin-1")
        result = flowsonar("probe", "--json", "-", stdin=text, home=tmp_path)
    assert result.returncode == 1
    assert len(result.stdout.splitlines()) == 1
    assert b"standard input:1: target" in result.stderr
    assert b"standard input:3: target" in result.stderr


def test_flow_records_come_back_labelled(tmp_path: Path) -> None:
    with web() as http:
        text = f"firstSeen,duration,proto,srcAddr,srcPort,dstAddr,dstPort\nnow,1,6,127.0.0.1,{http},10.0.0.1,65000\n"
        result = flowsonar("probe", "--label", "-", stdin=text.encode(), home=tmp_path)
    assert result.returncode == 0, result.stderr
    record = json.loads(result.stdout)
    assert record["dstPort"] == "65000"
    assert record["flowsonar"]["service"] == "http"
    assert record["flowsonar"]["asked"] == f"127.0.0.1:{http}/tcp"


def test_output_and_resume(tmp_path: Path) -> None:
    out = tmp_path / "out.jsonl"
    with web() as http:
        first = flowsonar("probe", f"127.0.0.1:{http}", "-o", str(out), home=tmp_path)
        out.write_bytes(out.read_bytes() + b'{"half')
        again = flowsonar("probe", f"127.0.0.1:1,{http}", "--output", str(out), "--resume", home=tmp_path)
        over = flowsonar("probe", f"127.0.0.1:{http}", "--output", str(out), home=tmp_path)
    assert (first.returncode, again.returncode, over.returncode) == (0, 0, 2)
    assert first.stdout == again.stdout == b""
    assert b"1 known from before" in again.stderr
    assert {json.loads(line)["dest_port"] for line in out.read_text().splitlines()} == {1, http}


def test_wrong_usage(tmp_path: Path) -> None:
    for arguments in (
        (),
        ("nonsense",),
        ("127.0.0.1:1", "--resume"),
        ("--label", "127.0.0.1:1"),
        ("--dry-run", "--output", "x", "127.0.0.1:1"),
        ("--file", str(tmp_path / "none")),
        ("--file", str(tmp_path)),
        ("127.0.0.1:1", "--rate", "0"),
    ):
        result = flowsonar("probe", *arguments, home=tmp_path)
        assert result.returncode == 2, arguments
        assert b"Traceback" not in result.stderr


def test_an_unidentified_endpoint_is_shown(tmp_path: Path) -> None:
    with odd() as port:
        table = flowsonar("probe", f"127.0.0.1:{port}", home=tmp_path)
        lines = flowsonar("probe", "--json", f"127.0.0.1:{port}", home=tmp_path)
    assert b"not identified" in table.stderr
    assert b"57 48 41 54 3f |WHAT?|" in table.stderr
    pieces = json.loads(lines.stdout)["flowsonar"]["evidence"]
    assert any(piece["data"] == b"WHAT?".hex() for piece in pieces)
