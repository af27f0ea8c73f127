"""Standard streams that are closed, full or gone; few file descriptors, little memory; no home and no rights."""

import ctypes
import os
import resource
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.hostile.running import flowsonar, one_line, surroundings
from tests.needs import needs_root

EMPTY_CAPTURE = bytes.fromhex("d4c3b2a1020004000000000000000000ffff000001000000")
COMMANDS = {
    "list": ("signatures", "list"),
    "doctor": ("doctor",),
    "probe": ("probe", "127.0.0.1:9"),
    "probe --json": ("probe", "127.0.0.1:9", "--json"),
    "read": ("read", "CAPTURE"),
    "help": ("--help",),
}


def closing(*numbers: int) -> Callable[[], None]:
    def close() -> None:
        for number in numbers:
            os.close(number)

    return close


def limited(**limits: int) -> Callable[[], None]:
    def limit() -> None:
        for name, value in limits.items():
            resource.setrlimit(getattr(resource, f"RLIMIT_{name.upper()}"), (value, value))

    return limit


@pytest.fixture
def capture(tmp_path: Path) -> Path:
    path = tmp_path / "empty.pcap"
    path.write_bytes(EMPTY_CAPTURE)
    return path


def arguments(name: str, capture: Path) -> list[str]:
    return [str(capture) if argument == "CAPTURE" else argument for argument in COMMANDS[name]]


@pytest.mark.parametrize(("name", "closed"), [("probe --json", (0,)), ("probe --json", (0, 2)), ("read", (0, 1, 2))])
def test_closed_streams_end_nothing_by_force(tmp_path: Path, capture: Path, name: str, closed: tuple[int, ...]) -> None:
    result = flowsonar(tmp_path, *arguments(name, capture), before=closing(*closed))
    assert result.process.returncode == (1 if 1 in closed else 0)
    assert bool(result.output) == (1 not in closed)


@pytest.mark.parametrize("name", ["list", "read", "help"])
def test_standard_output_that_is_closed_is_told_in_one_line(tmp_path: Path, capture: Path, name: str) -> None:
    result = flowsonar(tmp_path, *arguments(name, capture), before=closing(1))
    assert result.process.returncode == 1
    one_line(result.errors, b"standard output", b"Bad file descriptor")


@pytest.mark.parametrize("name", ["doctor", "probe", "probe --json", "help"])
def test_a_full_disk_under_standard_output_is_told_in_one_line(tmp_path: Path, capture: Path, name: str) -> None:
    with Path("/dev/full").open("wb") as full:
        result = flowsonar(tmp_path, *arguments(name, capture), stdout=full)
    assert result.process.returncode == 1
    one_line(result.errors, b"No space left on device")


def test_reading_a_closed_standard_input(tmp_path: Path) -> None:
    for command in ("read", "probe"):
        result = flowsonar(tmp_path, command, "-", stdin=None, before=closing(0))
        assert result.process.returncode in (1, 2)
        one_line(result.errors, b"standard input is closed")


@pytest.mark.parametrize("files", [7, 31])
def test_too_few_file_descriptors_are_told(tmp_path: Path, files: int) -> None:
    result = flowsonar(tmp_path, "probe", "127.0.0.1:9", before=limited(nofile=files))
    assert result.process.returncode == 1
    one_line(result.errors, b"ulimit -n")


def test_few_file_descriptors_are_enough(tmp_path: Path) -> None:
    result = flowsonar(tmp_path, "probe", "127.0.0.1:9-40", "--json", before=limited(nofile=40))
    assert result.process.returncode == 0
    assert len(result.records()) == 32


@pytest.mark.parametrize("mib", [80, 160])
def test_little_memory_works_or_is_told(tmp_path: Path, capture: Path, mib: int) -> None:
    result = flowsonar(tmp_path, "read", capture, before=limited(**{"as": mib << 20}))
    if result.process.returncode:
        one_line(result.errors, b"memory")


def without_capabilities() -> None:
    """The next program is run without any privilege, whoever it belongs to (linux/prctl.h: PR_CAPBSET_DROP)."""
    libc = ctypes.CDLL(None)
    for capability in range(64):
        libc.prctl(24, capability, 0, 0, 0)


@pytest.mark.parametrize("home", [None, "/dev/null"])
def test_a_home_that_cannot_be_written(tmp_path: Path, capture: Path, home: str | None) -> None:
    environment = surroundings(tmp_path)
    for name in ("HOME", "XDG_STATE_HOME", "XDG_CACHE_HOME"):
        environment.pop(name, None)
    environment["HOME"] = "/dev/null"
    if home is None:
        environment["XDG_STATE_HOME"] = "/proc/nowhere"
    probed = flowsonar(tmp_path, "probe", "127.0.0.1:9", environment=environment)
    assert b"refused" in probed.output
    one_line(probed.errors, b"going on without it")
    found = flowsonar(tmp_path, "explain", "127.0.0.1", environment=environment)
    assert found.process.returncode == 1
    one_line(found.errors, b"--store")


@needs_root()
def test_without_privilege_watching_says_what_to_do(tmp_path: Path) -> None:
    watched = flowsonar(tmp_path, "watch", "-i", "lo", before=without_capabilities)
    assert watched.process.returncode == 1
    one_line(watched.errors, b"no privilege", b"run as root")
    examined = flowsonar(tmp_path, "doctor", before=without_capabilities)
    assert examined.process.returncode == 1
    assert b"run as root" in examined.output
    assert not examined.errors
