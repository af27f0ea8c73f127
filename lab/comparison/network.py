"""Two namespaces joined by a link: the programs on one side, who asks and the real clients on the other.

The names carry the process's number, so that several comparisons may run on one machine; the addresses are private
ones, which flowsonar's default scope contains.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import subprocess
from pathlib import Path

from lab.packages import SEARCH_PATH
from lab.programs import LabError, in_namespace

__all__ = ["CLIENT4", "CLIENT6", "LINK", "SERVER4", "SERVER6", "Pair"]

SERVER4, SERVER6 = "10.77.0.2", "fd77::2"
CLIENT4, CLIENT6 = "10.77.0.1", "fd77::1"
LINK = "lab0"
"""The interface's name on both sides."""
_SETTINGS = Path("/etc/netns")
_USERS = {"passwd": "Debian-exim:x:64990:64990::/:/usr/sbin/nologin\n", "group": "Debian-exim:x:64990:\n"}
_SWITCHES = ("ipv6.conf.all.accept_dad=0", "ipv6.conf.default.accept_dad=0", "ipv6.conf.default.accept_ra=0")


def _run(*arguments: str) -> str:
    environment = {**os.environ, "PATH": SEARCH_PATH, "LC_ALL": "C"}
    done = subprocess.run(arguments, capture_output=True, text=True, check=False, env=environment)
    if done.returncode != 0:
        raise LabError(f"{' '.join(arguments)}: {done.stderr.strip()}")
    return done.stdout


class Pair:
    """The two namespaces; a context manager that makes them and takes them away."""

    def __init__(self) -> None:
        self.server, self.client = (f"fsC{os.getpid()}-{side}" for side in ("server", "client"))

    def __enter__(self) -> Pair:
        """Make everything."""
        try:
            self._build()
        except BaseException:
            self._remove()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        """End what still runs inside, and remove the namespaces."""
        self._remove()

    def _build(self) -> None:
        for name in (self.server, self.client):
            _run("ip", "netns", "add", name)
            # Nobody answers there, and says so at once: servers that look up their clients must not wait for it.
            folder = _SETTINGS / name
            folder.mkdir(parents=True, exist_ok=True)
            (folder / "resolv.conf").write_text("nameserver 127.0.0.1\n")
            for file, line in _USERS.items():  # programs that are unpacked only would miss theirs
                (folder / file).write_text(Path("/etc", file).read_text() + line)
            _run(*in_namespace(name, ["sysctl", "-qw", *(f"net.{switch}" for switch in _SWITCHES)]))
            _run("ip", "-n", name, "link", "set", "lo", "up")
        peer = ("peer", "name", LINK, "netns", self.client)
        _run("ip", "-n", self.server, "link", "add", LINK, "type", "veth", *peer)
        for name, four, six in ((self.server, SERVER4, SERVER6), (self.client, CLIENT4, CLIENT6)):
            _run("ip", "-n", name, "addr", "add", f"{four}/24", "dev", LINK)
            _run("ip", "-n", name, "addr", "add", f"{six}/64", "dev", LINK, "nodad")
            _run("ip", "-n", name, "link", "set", LINK, "up")

    def _remove(self) -> None:
        present = {line.split()[0] for line in _run("ip", "netns", "list").splitlines() if line}
        for name in (self.server, self.client):
            if name in present:
                for pid in _run("ip", "netns", "pids", name).split():
                    with contextlib.suppress(ProcessLookupError):
                        os.kill(int(pid), signal.SIGKILL)  # it lives in a namespace of ours
                _run("ip", "netns", "del", name)
            shutil.rmtree(_SETTINGS / name, ignore_errors=True)

    def listening(self) -> set[tuple[str, int]]:
        """(transport, port) of every socket on the programs' side that waits for clients."""
        found = set()
        for line in _run(*in_namespace(self.server, ["ss", "-Hltun"])).splitlines():
            words = line.split()
            found.add((words[0], int(words[4].rsplit(":", 1)[1])))
        return found

    def capturing(self) -> int:
        """How many packet sockets are open on the clients' side."""
        return len(_run(*in_namespace(self.client, ["cat", "/proc/net/packet"])).splitlines()) - 1
