"""Made in the kernel, and gone afterwards, whatever happened inside."""

import os
import subprocess
from pathlib import Path

import pytest
from lab.namespaces import Namespaces, inside, listening, packet_sockets, run
from lab.programs import LabError, in_namespace

from tests.needs import needs_program, needs_root


def _present() -> set[str]:
    return {line.split()[0] for line in run(["ip", "netns", "list"]).splitlines() if line}


def test_a_program_that_fails_says_what() -> None:
    with pytest.raises(LabError, match="sh -c"):
        run(["sh", "-c", "echo no >&2; exit 3"])
    assert run(["cat"], "text") == "text"


class _Two(Namespaces):
    def _build(self) -> None:
        super()._build()
        left, right = self.names
        self._veth(left, "end0", right, "end1")
        inside(left, "addr add 10.80.0.1/24 dev end0", "link set end0 up")
        inside(right, "addr add 10.80.0.2/24 dev end1", "link set end1 up")


@needs_root()
@needs_program("ip")
def test_two_that_are_joined() -> None:
    names = [f"fsN{os.getpid()}-{side}" for side in ("left", "right")]
    with _Two(names) as two:
        assert set(names) <= _present()
        assert Path("/etc/netns", names[0], "resolv.conf").read_text() == "nameserver 127.0.0.1\n"
        code = "import socket, time; s = socket.create_server(('10.80.0.2', 4000)); print(flush=True); time.sleep(60)"
        command = in_namespace(two.names[1], ["python3", "-c", code])
        with subprocess.Popen(command, stdout=subprocess.PIPE) as server:
            assert server.stdout is not None
            server.stdout.readline()
            assert listening(names[1]) == {("tcp", "10.80.0.2", 4000)}
            assert listening(names[0]) == set()
            assert packet_sockets(names[1]) == 0
            two.__exit__()  # ends what runs inside
    assert not set(names) & _present()
    assert not Path("/etc/netns", names[0]).exists()


@needs_root()
@needs_program("ip")
def test_one_that_cannot_be_made_leaves_nothing() -> None:
    name = f"fsN{os.getpid()}-twice"
    with pytest.raises(LabError), Namespaces([name, name]):
        raise AssertionError
    assert name not in _present()


@needs_root()
@needs_program("ip")
def test_files_are_whole_for_whoever_reads_them_while_others_are_laid() -> None:
    name = f"fsN{os.getpid()}-files"
    reads = "import sys; print(flush=True); sys.stdin.read(); print(open('/etc/group').read())"
    command = in_namespace(name, ["python3", "-c", reads])
    with Namespaces([name]) as one:
        one.lay(name, {"group": "earlier:x:1:"})
        with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as reader:
            assert reader.stdout is not None
            reader.stdout.readline()
            one.lay(name, {"group": "later:x:1:"})
            assert reader.communicate("")[0].strip() == "earlier:x:1:"
        assert run(in_namespace(name, ["cat", "/etc/group"])) == "later:x:1:"
    assert not list(Path("/etc/netns").glob(f"{name}*"))
