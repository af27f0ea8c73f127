"""Three namespaces in a row: clients, the path that is watched, servers.

    left ──up──▶ ┌──────┐
                 │ path ├── right
    left ◀─down─ └──────┘

What left sends goes over one link and what it receives over another, so that a watch on one of them sees one direction
only; `WHOLE` sees both. Each program has an address of its own on both sides, with routes that choose it as the source:
fixed ports do not meet, and a flow's addresses say whose it is. All are private ones, which the default scope contains.
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

__all__ = ["FROM_SERVER", "LINKS", "MOST", "TO_SERVER", "WHOLE", "Path3"]

TO_SERVER, FROM_SERVER, WHOLE = "up0", "down0", "right0"
"""Interfaces of the path."""
LINKS = frozenset({"10.78.2.2", "10.78.3.2", "10.78.8.2"})
"""The ends of the links themselves, which programs use that look at interfaces rather than at routes."""
MOST = 1000
"""Programs of one run."""
_FIRST, _IN_ONE = 20, 200
_SETTINGS = Path("/etc/netns")
_SWITCHES = (
    "ipv4.conf.all.rp_filter=0",
    "ipv4.conf.default.rp_filter=0",
    "ipv6.conf.all.accept_dad=0",
    "ipv6.conf.default.accept_dad=0",
    "ipv6.conf.default.accept_ra=0",
)


def _run(*arguments: str, text: str | None = None) -> str:
    environment = {**os.environ, "PATH": SEARCH_PATH, "LC_ALL": "C"}
    done = subprocess.run(arguments, input=text, capture_output=True, text=True, check=False, env=environment)
    if done.returncode != 0:
        raise LabError(f"{' '.join(arguments)}: {done.stderr.strip()}")
    return done.stdout


def _inside(namespace: str, *commands: str) -> None:
    _run("ip", "-n", namespace, "-batch", "-", text="\n".join(commands) + "\n")


class Path3:
    """The namespaces; a context manager that makes them and takes them away."""

    def __init__(self) -> None:
        self.left, self.path, self.right = (f"fsT{os.getpid()}-{name}" for name in ("left", "path", "right"))
        self._given = 0

    def __enter__(self) -> Path3:
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

    def addresses(self) -> tuple[str, str]:
        """A new pair of addresses, left's and right's. Raises LabError when there is no more."""
        if self._given >= MOST:
            raise LabError("too many programs for one network")
        third, last = divmod(self._given, _IN_ONE)
        self._given += 1
        left, right = f"10.78.{16 + third}.{_FIRST + last}", f"10.78.{32 + third}.{_FIRST + last}"
        _inside(self.left, f"addr add {left}/32 dev lo", f"route add {right}/32 via 10.78.2.1 src {left}")
        _inside(self.right, f"addr add {right}/32 dev lo", f"route add {left}/32 via 10.78.8.1 src {right}")
        _inside(self.path, f"route add {left}/32 via 10.78.3.2", f"route add {right}/32 via 10.78.8.2")
        return left, right

    def own_addresses(self) -> tuple[str, ...]:
        """From where flowsonar asks."""
        return ("10.78.2.1", "10.78.3.1", "10.78.8.1")

    def _build(self) -> None:
        for name in (self.left, self.path, self.right):
            _run("ip", "netns", "add", name)
            # Nobody answers there, and says so at once: programs that look up names must not wait for it.
            (_SETTINGS / name).mkdir(parents=True, exist_ok=True)
            (_SETTINGS / name / "resolv.conf").write_text("nameserver 127.0.0.1\n")
            switches = [*_SWITCHES, *(["ipv4.ip_forward=1"] if name == self.path else [])]
            _run(*in_namespace(name, ["sysctl", "-qw", *(f"net.{switch}" for switch in switches)]))
            _inside(name, "link set lo up")
        self._link(self.left, "ahead", TO_SERVER, "10.78.2")
        self._link(self.left, "back", FROM_SERVER, "10.78.3")
        self._link(self.right, "side", WHOLE, "10.78.8")
        _inside(self.left, "route add default via 10.78.2.1")
        _inside(self.right, "route add default via 10.78.8.1")

    def _link(self, name: str, end: str, path_end: str, net: str) -> None:
        _run("ip", "-n", name, "link", "add", end, "type", "veth", "peer", "name", path_end, "netns", self.path)
        _inside(name, f"addr add {net}.2/24 dev {end}", f"link set {end} up")
        _inside(self.path, f"addr add {net}.1/24 dev {path_end}", f"link set {path_end} up")

    def _remove(self) -> None:
        present = {line.split()[0] for line in _run("ip", "netns", "list").splitlines() if line}
        for name in (self.left, self.path, self.right):
            if name in present:
                for pid in _run("ip", "netns", "pids", name).split():
                    with contextlib.suppress(ProcessLookupError):
                        os.kill(int(pid), signal.SIGKILL)  # it lives in a namespace of ours
                _run("ip", "netns", "del", name)
            shutil.rmtree(_SETTINGS / name, ignore_errors=True)

    def capturing(self) -> int:
        """How many packet sockets are open on the path."""
        return len(_run(*in_namespace(self.path, ["cat", "/proc/net/packet"])).splitlines()) - 1

    def listening(self) -> set[tuple[str, str, int]]:
        """(transport, address, port) of every socket on the right that waits for clients."""
        found = set()
        for line in _run(*in_namespace(self.right, ["ss", "-Hltun"])).splitlines():
            words = line.split()
            address, port = words[4].rsplit(":", 1)
            found.add((words[0], address.split("%")[0].strip("[]"), int(port)))
        return found
