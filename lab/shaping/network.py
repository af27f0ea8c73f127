"""The network of the shaping laboratory: a home line as people have it.

    caller ──┐                         20 Mbit/s down, 5 Mbit/s up
             ├─ lan  gateway  wan ──── modem ──── wire, 20 ms there and back ──── server
    loader ──┘  (flowsonar, NAT)       (long queues)

The modem is the bottleneck with a queue as long as modems have it. The server has an address for each of its peers.
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

__all__ = [
    "CALLER",
    "CALLER_ADDRESS",
    "DOWN_KBIT",
    "GATEWAY",
    "LOADER",
    "LOADER_ADDRESS",
    "MODEM",
    "PEERS",
    "RTT_MS",
    "SERVER",
    "SERVER_NET",
    "UP_KBIT",
    "WIRE",
    "Network",
    "run",
    "server_address",
]

PREFIX = "fsS"
CALLER, LOADER, GATEWAY, MODEM, WIRE, SERVER = (
    f"{PREFIX}-{name}" for name in ("caller", "loader", "gw", "modem", "wire", "server")
)
UP_KBIT, DOWN_KBIT = 5_000, 20_000
RTT_MS = 20.0
PEERS = 40
CALLER_ADDRESS, LOADER_ADDRESS = "192.168.41.2", "192.168.41.3"
SERVER_NET = "198.18.50.0/24"
_QUEUE_MS = {"up": 500, "down": 250}
"""How long the modem's queues are when they are full."""
_CONTROL = "congctl cubic"
"""What Linux, Windows and macOS do; this kernel's own default may be another."""
_OFFLOADS = ("tso", "gso", "gro", "tx")


def server_address(number: int) -> str:
    """One of the server's addresses: 1 for web and telephone, 10 and up for peers."""
    return f"198.18.50.{number}"


def run(arguments: list[str], text: str | None = None) -> str:
    """Run a program and give what it printed. Raises LabError."""
    environment = {**os.environ, "PATH": SEARCH_PATH, "LC_ALL": "C"}
    done = subprocess.run(arguments, input=text, capture_output=True, text=True, check=False, env=environment)
    if done.returncode != 0:
        raise LabError(f"{' '.join(arguments)}: {done.stderr.strip()}")
    return done.stdout


class Network:
    """The namespaces; a context manager that makes them and takes them away."""

    names = (CALLER, LOADER, GATEWAY, MODEM, WIRE, SERVER)

    def __enter__(self) -> Network:
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

    def _remove(self) -> None:
        present = {line.split()[0] for line in run(["ip", "netns", "list"]).splitlines() if line}
        for name in self.names:
            if name in present:
                for pid in run(["ip", "netns", "pids", name]).split():
                    with contextlib.suppress(ProcessLookupError):
                        os.kill(int(pid), signal.SIGKILL)  # it lives in a namespace of ours
                run(["ip", "netns", "del", name])
            shutil.rmtree(Path("/etc/netns") / name, ignore_errors=True)

    def _build(self) -> None:
        for name in self.names:
            run(["ip", "netns", "add", name])
            settings = Path("/etc/netns") / name
            settings.mkdir(parents=True, exist_ok=True)
            (settings / "resolv.conf").write_text("nameserver 127.0.0.1\n")
            switches = ["ipv6.conf.all.disable_ipv6=1", "ipv6.conf.default.disable_ipv6=1", "ipv4.ip_forward=1"]
            run(in_namespace(name, ["sysctl", "-qw", *(f"net.{switch}" for switch in switches)]))
            self._ip(name, "link set lo up")
        self._pair(CALLER, "c0", GATEWAY, "lan1")
        self._pair(LOADER, "l0", GATEWAY, "lan2")
        self._pair(GATEWAY, "wan", MODEM, "home")
        self._pair(MODEM, "net", WIRE, "wa")
        self._pair(SERVER, "s0", WIRE, "wb")
        self._ip(GATEWAY, "link add name lan type bridge", "link set lan1 master lan", "link set lan2 master lan")
        self._ip(GATEWAY, "link set lan up", "addr add 192.168.41.1/24 dev lan", "addr add 198.18.41.2/24 dev wan")
        for name, end, address in ((CALLER, "c0", CALLER_ADDRESS), (LOADER, "l0", LOADER_ADDRESS)):
            self._ip(name, f"addr add {address}/24 dev {end}", f"route add default via 192.168.41.1 {_CONTROL}")
        self._ip(MODEM, "addr add 198.18.41.1/24 dev home", "addr add 198.18.42.1/24 dev net")
        self._ip(SERVER, "addr add 198.18.42.2/24 dev s0", f"route add default via 198.18.42.1 {_CONTROL}")
        # Not on the loopback interface: libtorrent listens on the interface that has the address, and on no other.
        self._ip(SERVER, *(f"addr add {server_address(host)}/32 dev s0" for host in (1, *range(10, 10 + PEERS))))
        self._ip(MODEM, f"route add {SERVER_NET} via 198.18.42.2")
        self._ip(GATEWAY, "route add default via 198.18.41.1")
        nat = 'table ip home { chain out { type nat hook postrouting priority srcnat; oifname "wan" masquerade; }; }\n'
        run(in_namespace(GATEWAY, ["nft", "-f", "-"]), nat)
        for end, kbit, way in (("net", UP_KBIT, "up"), ("home", DOWN_KBIT, "down")):
            size = kbit * _QUEUE_MS[way] // 8
            line = f"qdisc add dev {end} root tbf rate {kbit}kbit burst 3028 limit {size}"
            run(in_namespace(MODEM, ["tc", *line.split()]))

    @staticmethod
    def _ip(namespace: str, *commands: str) -> None:
        run(["ip", "-n", namespace, "-batch", "-"], "\n".join(commands) + "\n")

    def _pair(self, left: str, left_end: str, right: str, right_end: str) -> None:
        words = ["ip", "-n", left, "link", "add", "name", left_end]
        run([*words, "type", "veth", "peer", "name", right_end, "netns", right])
        for name, end in ((left, left_end), (right, right_end)):
            # Packets as the line carries them, with finished checksums: the wire copies frames as they are.
            run(in_namespace(name, ["ethtool", "-K", end, *(word for what in _OFFLOADS for word in (what, "off"))]))
            self._ip(name, f"link set {end} up")
