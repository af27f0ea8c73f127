import signal
import subprocess
import sys
from pathlib import Path

import pytest

from tests.cli.program import flowsonar


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ((), b"Usage: flowsonar"),
        (("nonsense",), b"No such command 'nonsense'"),
        (("watch",), b"which interface?"),
        (("read",), b"Missing argument"),
        (("watch", "-i", "lo", "--scope", "300.1.2.3"), b"300.1.2.3"),
        (("watch", "-i", "lo", "--duration", "-3"), b"--duration"),
        (("probe", "no-port"), b"host:port"),
        (("explain", "nowhere"), b"write it as ADDRESS"),
        (("signatures", "show", "htpp"), b"did you mean 'http'"),
        (("read", "--config", "/no/such/file.toml", "x.pcap"), b"/no/such/file.toml"),
    ],
)
def test_wrong_usage_is_one_line_and_exit_code_2(arguments: tuple[str, ...], said: bytes) -> None:
    result = flowsonar(*arguments)
    assert result.returncode == 2
    assert said in result.stderr + result.stdout
    assert b"Traceback" not in result.stderr


@pytest.mark.parametrize("arguments", [("read", "/no/such.pcap"), ("watch", "-i", "no-such-if0")])
def test_what_cannot_be_opened_is_exit_code_1(arguments: tuple[str, ...], tmp_path: Path) -> None:
    result = flowsonar(*arguments, home=tmp_path)
    assert result.returncode == 1
    assert result.stderr.startswith(b"flowsonar: ")
    assert result.stderr.count(b"\n") == 1


def test_version_and_help() -> None:
    assert flowsonar("--version").stdout.startswith(b"flowsonar 0.")
    for arguments in (("--help",), ("watch", "-h"), ("signatures", "check", "--help")):
        result = flowsonar(*arguments)
        assert result.returncode == 0
        assert result.stdout.startswith(b"Usage: flowsonar")


def test_a_reader_that_has_enough_is_no_error(tmp_path: Path) -> None:
    process = subprocess.Popen(
        [sys.executable, "-m", "flowsonar", "signatures", "list", "--json"],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )
    assert process.stdout is not None
    process.stdout.close()
    assert process.stderr is not None
    assert b"Traceback" not in process.stderr.read()
    process.stderr.close()
    assert process.wait(30) in (0, 1)


def test_interrupting_a_read_of_standard_input_ends_it(tmp_path: Path) -> None:
    process = subprocess.Popen(
        [sys.executable, "-m", "flowsonar", "read", "-", "--json"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )
    assert process.stdin is not None
    process.stdin.write(bytes.fromhex("d4c3b2a1020004000000000000000000ffff000001000000"))
    process.stdin.flush()
    with pytest.raises(subprocess.TimeoutExpired):
        process.wait(1.5)  # it waits for packets
    process.send_signal(signal.SIGINT)
    _, errors = process.communicate(timeout=20)
    assert b"Traceback" not in errors
    assert process.returncode in (1, 130)
