import json
from pathlib import Path

import pytest

from flowsonar.app.resuming import open_result
from flowsonar.errors import ConfigError, OutputError
from flowsonar.model import Endpoint, Transport


def line(port: int, outcome: str = "refused") -> bytes:
    record = {"dest_ip": "192.0.2.1", "dest_port": port, "proto": "TCP", "flowsonar": {"outcome": outcome}}
    return json.dumps(record).encode() + b"\n"


def labelled(asked: str | None) -> bytes:
    return json.dumps({"n": 1, "flowsonar": {"outcome": "answered", "asked": asked}}).encode() + b"\n"


def test_a_new_file(tmp_path: Path) -> None:
    for resume in (False, True):
        file, before = open_result(tmp_path / f"new{resume}", resume=resume)
        file.close()
        assert (before.lines, len(before.answered)) == (0, 0)


def test_a_file_is_never_written_over(tmp_path: Path) -> None:
    path = tmp_path / "there"
    path.write_bytes(b"precious")
    with pytest.raises(ConfigError, match="--resume"):
        open_result(path, resume=False)
    with pytest.raises(ConfigError, match="another file"):
        open_result(path, resume=True)
    assert path.read_bytes() == b"precious"


def test_what_stands_there_is_known_and_half_a_line_goes(tmp_path: Path) -> None:
    path = tmp_path / "out"
    whole = line(1) + line(2, "cancelled") + line(3, "not-permitted")
    path.write_bytes(whole + line(4)[:-9])
    file, before = open_result(path, resume=True)
    file.write(line(5))
    file.close()
    assert path.read_bytes() == whole + line(5)
    known = {port for port in range(1, 6) if Endpoint(Transport.TCP, "192.0.2.1", port) in before.answered}
    assert known == {1, 3}


def test_labels_of_flow_records(tmp_path: Path) -> None:
    path = tmp_path / "out"
    path.write_bytes(labelled("192.0.2.1:1/tcp") + labelled(None) + labelled("192.0.2.1:1/tcp"))
    file, before = open_result(path, resume=True)
    file.close()
    assert before.lines == 3
    assert list(before.labels) == ["192.0.2.1:1/tcp"]


@pytest.mark.parametrize(
    "content", [b"{}\n", b"[]\n", b"1\n", b"text\n", b'{"flowsonar":{"outcome":"?"}}\n', b"\xff\n"]
)
def test_other_files_are_left_alone(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "out"
    path.write_bytes(content)
    with pytest.raises(ConfigError, match="another file"):
        open_result(path, resume=True)
    assert path.read_bytes() == content


def test_one_run_at_a_time(tmp_path: Path) -> None:
    file, _ = open_result(tmp_path / "out", resume=False)
    with pytest.raises(ConfigError, match="another run"):
        open_result(tmp_path / "out", resume=True)
    file.close()


def test_nowhere_to_write(tmp_path: Path) -> None:
    with pytest.raises(OutputError):
        open_result(tmp_path / "no" / "folder", resume=False)
