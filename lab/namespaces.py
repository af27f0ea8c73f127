"""Network namespaces of the laboratories: made, connected, asked what runs inside, and taken away with all of it."""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import subprocess
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Final, Self

from lab.packages import SEARCH_PATH
from lab.programs import LabError, in_namespace

__all__ = ["FORWARD", "NO_IPV6", "Namespaces", "inside", "listening", "packet_sockets", "run", "whole_frames"]

_SETTINGS: Final = Path("/etc/netns")
"""`ip netns exec` lays the files of NAME there over those of /etc."""
_ALWAYS: Final = (
    "ipv4.conf.all.rp_filter=0",
    "ipv4.conf.default.rp_filter=0",
    "ipv6.conf.all.accept_ra=0",
    "ipv6.conf.default.accept_ra=0",
    "ipv6.conf.all.accept_dad=0",
    "ipv6.conf.default.accept_dad=0",
)
FORWARD: Final = ("ipv4.ip_forward=1", "ipv6.conf.all.forwarding=1")
NO_IPV6: Final = ("ipv6.conf.all.disable_ipv6=1", "ipv6.conf.default.disable_ipv6=1")


def run(arguments: list[str], text: str | None = None) -> str:
    """Run a program, `text` on its standard input, and give what it printed. Raises LabError where it fails."""
    environment = {**os.environ, "PATH": SEARCH_PATH, "LC_ALL": "C"}
    done = subprocess.run(arguments, input=text, capture_output=True, text=True, check=False, env=environment)
    if done.returncode != 0:
        raise LabError(f"{' '.join(arguments)}: {done.stderr.strip()}")
    return done.stdout


def inside(namespace: str, *commands: str) -> None:
    """`ip` commands of one namespace, one process for all. Raises LabError."""
    run(["ip", "-n", namespace, "-batch", "-"], "\n".join(commands) + "\n")


def whole_frames(namespace: str, interface: str) -> None:
    """Have frames leave the kernel as a line carries them: whole segments, finished checksums."""
    off = [word for what in ("tso", "gso", "gro", "tx") for word in (what, "off")]
    run(in_namespace(namespace, ["ethtool", "-K", interface, *off]))


def packet_sockets(namespace: str) -> int:
    """How many packet sockets are open in a namespace: what captures there."""
    return len(run(in_namespace(namespace, ["cat", "/proc/net/packet"])).splitlines()) - 1


def listening(namespace: str) -> set[tuple[str, str, int]]:
    """(transport, address, port) of every socket in a namespace that waits for clients."""
    found = set()
    for line in run(in_namespace(namespace, ["ss", "-Hltun"])).splitlines():
        words = line.split()
        address, port = words[4].rsplit(":", 1)
        found.add((words[0], address.split("%")[0].strip("[]"), int(port)))
    return found


class Namespaces:
    """Some namespaces that belong together; a context manager that makes them and takes them away."""

    def __init__(self, names: Iterable[str]) -> None:
        self.names = list(names)

    def __enter__(self) -> Self:
        """Make everything; leftovers of a run that was killed are removed first."""
        self._remove()
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
        """Make the network. For those who derive from this."""
        for name in self.names:
            self._namespace(name)

    def _namespace(self, name: str, switches: Iterable[str] = (), files: Mapping[str, str] | None = None) -> None:
        """Make a namespace, with kernel settings below `net.`, and files that stand in the place of those of /etc."""
        if name not in self.names:
            self.names.append(name)
        run(["ip", "netns", "add", name])
        # Nobody answers there, and says so at once: programs that look up names must not wait for it.
        (_SETTINGS / name).mkdir(parents=True, exist_ok=True)
        self.lay(name, {"resolv.conf": "nameserver 127.0.0.1\n", **(files or {})})
        run(in_namespace(name, ["sysctl", "-qw", *(f"net.{switch}" for switch in (*_ALWAYS, *switches))]))
        inside(name, "link set lo up")

    @staticmethod
    def lay(name: str, files: Mapping[str, str]) -> None:
        """Have files stand in the place of those of /etc for what is started in a namespace from now on.

        What runs already keeps those that it has: it may be just reading them.
        """
        for file, text in files.items():
            whole = _SETTINGS / f"{name}.{file}"
            whole.write_text(text)
            whole.replace(_SETTINGS / name / file)

    @staticmethod
    def _veth(left: str, left_end: str, right: str, right_end: str) -> None:
        """A cable between two namespaces, not switched on yet."""
        peer = ["type", "veth", "peer", "name", right_end, "netns", right]
        run(["ip", "-n", left, "link", "add", "name", left_end, *peer])

    def _remove(self) -> None:
        present = {line.split()[0] for line in run(["ip", "netns", "list"]).splitlines() if line}
        for name in self.names:
            if name in present:
                for pid in run(["ip", "netns", "pids", name]).split():
                    with contextlib.suppress(ProcessLookupError):
                        os.kill(int(pid), signal.SIGKILL)  # it lives in a namespace of ours
                run(["ip", "netns", "del", name])
            shutil.rmtree(_SETTINGS / name, ignore_errors=True)
