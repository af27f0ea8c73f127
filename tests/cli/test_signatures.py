import json
from pathlib import Path

from tests.cli.program import flowsonar


def test_list_show_check() -> None:
    services = {json.loads(line)["service"] for line in flowsonar("signatures", "list", "--json").stdout.splitlines()}
    assert {"http", "ftp", "skype", "tls"} <= services
    assert b"ftp" in flowsonar("signatures", "list").stdout
    assert b'service = "ftp"' in flowsonar("signatures", "show", "ftp").stdout
    result = flowsonar("signatures", "check")
    assert result.returncode == 0, result.stderr
    assert b" 0 problems" in result.stdout


def test_a_new_service_in_a_folder_of_ones_own(tmp_path: Path) -> None:
    made = flowsonar("signatures", "new", "gopher", "--folder", str(tmp_path))
    assert made.returncode == 0, made.stderr
    again = flowsonar("signatures", "new", "gopher", "--folder", str(tmp_path))
    assert again.returncode == 2
    assert b"nothing was written" in again.stderr
    checked = flowsonar("signatures", "check", "--signatures", str(tmp_path))
    assert b"Traceback" not in checked.stderr
    assert b"gopher.toml" in made.stdout


def test_a_broken_file_is_named_with_its_line(tmp_path: Path) -> None:
    (tmp_path / "x.toml").write_text('service = "x"\ntitel = "a"\n')
    result = flowsonar("signatures", "check", "--signatures", str(tmp_path))
    assert result.returncode == 1
    assert b"x.toml:" in result.stderr
    assert result.stderr.count(b"\n") == 1
