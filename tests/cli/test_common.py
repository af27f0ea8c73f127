import asyncio
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from flowsonar.cli import common, process
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
    child = subprocess.Popen(
        [sys.executable, "-m", "flowsonar", "signatures", "list", "--json"],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )
    assert child.stdout is not None
    child.stdout.close()
    assert child.stderr is not None
    assert b"Traceback" not in child.stderr.read()
    child.stderr.close()
    assert child.wait(30) in (0, 1)


def test_interrupting_a_read_of_standard_input_ends_it(tmp_path: Path) -> None:
    child = subprocess.Popen(
        [sys.executable, "-m", "flowsonar", "read", "-", "--json"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )
    assert child.stdin is not None
    child.stdin.write(bytes.fromhex("d4c3b2a1020004000000000000000000ffff000001000000"))
    child.stdin.flush()
    with pytest.raises(subprocess.TimeoutExpired):
        child.wait(1.5)  # it waits for packets
    child.send_signal(signal.SIGINT)
    _, errors = child.communicate(timeout=20)
    assert b"Traceback" not in errors
    assert child.returncode in (1, 130)


def test_two_signals_at_once_are_one_wish() -> None:
    stopped: list[bool] = []
    ended = asyncio.Event()
    before = {number: signal.getsignal(number) for number in process.ENDINGS}

    def stop() -> None:
        stopped.append(True)
        ended.set()

    async def main() -> None:
        signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT, signal.SIGTERM})
        signal.raise_signal(signal.SIGINT)
        signal.raise_signal(signal.SIGTERM)
        signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGINT, signal.SIGTERM})
        await ended.wait()

    try:
        common.run(main, stop)
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
    assert stopped == [True]
