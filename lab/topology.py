"""The laboratory's network: who is connected to whom, and which way the server is reached.

    client ────────┐                 ┌── direct ────────────┐
    inner ── nat ──┤                 ├── wire 10 ms ────────┤
                   ├──── gateway ────┼── wire 80 ms ────────┼── server
    asym ══════════╡   (flowsonar)   ├── wire 10 ms, 1 % ───┤
    (two links)    └                 └── forwarder (DNAT) ──┘

The server has one address on its loopback interface; a situation chooses the way by routes on both sides. `asym`
sends by one link and receives by another, so that a capture on one of them sees one direction only. Outer addresses
are from 198.18.0.0/15 and 2001:db8::/32, which no default scope contains.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import subprocess
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

from lab.packages import SEARCH_PATH
from lab.programs import LabError, in_namespace

__all__ = [
    "ADDRESS4",
    "ADDRESS6",
    "ASYM",
    "CLIENT",
    "CLIENT_NET4",
    "CLIENT_NET6",
    "FORWARDED",
    "FORWARDED_NET",
    "GATEWAY",
    "INNER",
    "SEEN4",
    "SEEN6",
    "SERVER",
    "SERVER_NET4",
    "SERVER_NET6",
    "WAYS",
    "WIRE",
    "Topology",
    "Way",
]

PREFIX = "fsG"
_SETTINGS = Path("/etc/netns")
"""`ip netns exec` lays the files of NAME there over those of /etc."""
CLIENT, NAT, INNER, ASYM, GATEWAY, WIRE, FORWARDER, SERVER = (
    f"{PREFIX}-{name}" for name in ("client", "nat", "inner", "asym", "gw", "wire", "fwd", "server")
)
ADDRESS4 = {CLIENT: "198.18.1.2", INNER: "192.168.77.2", ASYM: "198.18.3.2", SERVER: "198.18.10.2"}
ADDRESS6 = {CLIENT: "2001:db8:1::2", ASYM: "2001:db8:3::2", SERVER: "2001:db8:10::2"}
SEEN4 = {**ADDRESS4, INNER: "198.18.2.2"}
"""Addresses as the gateway sees them."""
SEEN6 = ADDRESS6
FORWARDED = "198.18.20.2"
"""The forwarder's address on the gateway's side: where forwarded ports are."""
CLIENT_NET4, CLIENT_NET6 = "198.18.0.0/21", "2001:db8::/45"
"""All clients (third number 0 to 7)."""
SERVER_NET4, SERVER_NET6 = "198.18.8.0/21", "2001:db8:10::/48"
"""The server itself."""
FORWARDED_NET = "198.18.20.0/24"
"""The forwarder."""


@dataclass(frozen=True, slots=True)
class Way:
    """A way from the gateway to the server."""

    name: str
    number: int
    """Third number of its link network 198.19.N.0/24 and last of 2001:db8:f:N::/64."""
    rtt_ms: float
    loss: float

    @property
    def wired(self) -> bool:
        """Whether frames pass the laboratory's own wire."""
        return self.rtt_ms > 0 or self.loss > 0

    @property
    def gateway_interface(self) -> str:
        """The gateway's end."""
        return f"gs-{self.name}"


WAYS = {
    way.name: way
    for way in (
        Way("direct", 1, 0, 0),
        Way("rtt10", 2, 10, 0),
        Way("rtt80", 3, 80, 0),
        Way("loss", 4, 10, 0.01),
        Way("fwd", 5, 0, 0),
    )
}


def _run(arguments: list[str], text: str | None = None) -> str:
    environment = {**os.environ, "PATH": SEARCH_PATH, "LC_ALL": "C"}
    done = subprocess.run(arguments, input=text, capture_output=True, text=True, check=False, env=environment)
    if done.returncode != 0:
        raise LabError(f"{' '.join(arguments)}: {done.stderr.strip()}")
    return done.stdout


def _inside(namespace: str, *commands: str) -> None:
    """`ip` commands of one namespace, one process for all."""
    _run(["ip", "-n", namespace, "-batch", "-"], "\n".join(commands) + "\n")


class Topology:
    """The namespaces; a context manager that makes them and takes them away."""

    names = (CLIENT, NAT, INNER, ASYM, GATEWAY, WIRE, FORWARDER, SERVER)

    def __enter__(self) -> Topology:
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
        present = {line.split()[0] for line in _run(["ip", "netns", "list"]).splitlines() if line}
        for name in self.names:
            if name in present:
                for pid in _run(["ip", "netns", "pids", name]).split():
                    with contextlib.suppress(ProcessLookupError):
                        os.kill(int(pid), signal.SIGKILL)  # it lives in a namespace of ours
                _run(["ip", "netns", "del", name])
            shutil.rmtree(_SETTINGS / name, ignore_errors=True)

    def _build(self) -> None:
        for name in self.names:
            _run(["ip", "netns", "add", name])
            # Nobody answers there, and says so at once: servers that look up their clients must not wait for it.
            (_SETTINGS / name).mkdir(parents=True, exist_ok=True)
            (_SETTINGS / name / "resolv.conf").write_text("nameserver 127.0.0.1\n")
            switches = ["ipv4.conf.all.rp_filter=0", "ipv4.conf.default.rp_filter=0", "ipv6.conf.all.accept_ra=0"]
            switches += [
                "ipv6.conf.default.accept_ra=0",
                "ipv6.conf.default.accept_dad=0",
                "ipv6.conf.all.accept_dad=0",
            ]
            if name in {NAT, GATEWAY, FORWARDER, ASYM}:
                switches += ["ipv4.ip_forward=1", "ipv6.conf.all.forwarding=1"]
            if name in {CLIENT, INNER, ASYM}:
                # A small receive buffer: a slow download must not be swallowed whole and then be silent for a minute.
                switches += ["ipv4.tcp_rmem=4096 65536 131072"]
            _run(in_namespace(name, ["sysctl", "-qw", *(f"net.{switch}" for switch in switches)]))
            _inside(name, "link set lo up")
        self._link(CLIENT, "c0", GATEWAY, "gc", "198.18.1", "2001:db8:1", inner=2)
        self._link(NAT, "n0", GATEWAY, "gn", "198.18.2", "2001:db8:2", inner=2)
        self._link(INNER, "i0", NAT, "n1", "192.168.77", "fd00:77", inner=2)
        self._link(ASYM, "out", GATEWAY, "ga-out", "198.18.3", "2001:db8:3", inner=2)
        self._link(ASYM, "in", GATEWAY, "ga-in", "198.18.4", "2001:db8:4", inner=2)
        _inside(CLIENT, "route add default via 198.18.1.1", "route add default via 2001:db8:1::1")
        _inside(NAT, "route add default via 198.18.2.1")
        _inside(INNER, "route add default via 192.168.77.1")
        _inside(ASYM, "route add default via 198.18.3.1", "route add default via 2001:db8:3::1")
        _inside(GATEWAY, "route add 198.18.3.2/32 via 198.18.4.2", "route add 2001:db8:3::2/128 via 2001:db8:4::2")
        _inside(SERVER, f"addr add {ADDRESS4[SERVER]}/32 dev lo", f"addr add {ADDRESS6[SERVER]}/128 dev lo nodad")
        for way in WAYS.values():
            self._way(way)
        self.choose(WAYS["direct"])
        _run(in_namespace(NAT, ["nft", "-f", "-"]), _MASQUERADE.replace("OUT", "n0"))

    def _link(self, left: str, left_end: str, right: str, right_end: str, net4: str, net6: str, *, inner: int) -> None:
        """A veth pair; `right` has .1 of both networks, `left` has `inner`."""
        _run(["ip", "-n", left, "link", "add", left_end, "type", "veth", "peer", "name", right_end, "netns", right])
        for name, end, host in ((left, left_end, inner), (right, right_end, 1)):
            _inside(
                name,
                f"addr add {net4}.{host}/24 dev {end}",
                f"addr add {net6}::{host}/64 dev {end} nodad",
                f"link set {end} up",
            )

    def _way(self, way: Way) -> None:
        gateway_end, server_end = way.gateway_interface, f"s-{way.name}"
        net4, net6 = f"198.19.{way.number}", f"2001:db8:f{way.number}"
        if way.name == "fwd":
            self._link(FORWARDER, "f0", GATEWAY, gateway_end, "198.18.20", "2001:db8:20", inner=2)
            self._link(SERVER, server_end, FORWARDER, "f1", net4, net6, inner=2)
            _inside(FORWARDER, "route add default via 198.18.20.1", f"route add {ADDRESS4[SERVER]}/32 via {net4}.2")
        elif not way.wired:
            self._link(SERVER, server_end, GATEWAY, gateway_end, net4, net6, inner=2)
        else:
            wire_ends = f"w{way.number}a", f"w{way.number}b"
            for name, end, wire_end, host in (
                (GATEWAY, gateway_end, wire_ends[0], 1),
                (SERVER, server_end, wire_ends[1], 2),
            ):
                _run(["ip", "-n", name, "link", "add", end, "type", "veth", "peer", "name", wire_end, "netns", WIRE])
                _inside(
                    name,
                    f"addr add {net4}.{host}/24 dev {end}",
                    f"addr add {net6}::{host}/64 dev {end} nodad",
                    f"link set {end} up",
                )
                _inside(WIRE, f"link set {wire_end} up")
                # The wire carries frames as they are: whole segments and finished checksums must leave the kernel.
                for owner, interface in ((name, end), (WIRE, wire_end)):
                    off = ["tso", "off", "gso", "off", "gro", "off", "tx", "off"]
                    _run(in_namespace(owner, ["ethtool", "-K", interface, *off]))

    def choose(self, way: Way) -> None:
        """Lead traffic between gateway and server this way."""
        net4, net6 = f"198.19.{way.number}", f"2001:db8:f{way.number}"
        # `src`: servers that answer from any address of theirs must answer from the one that was asked.
        own4, own6, end = f"src {ADDRESS4[SERVER]}", f"src {ADDRESS6[SERVER]}", f"dev s-{way.name}"
        _inside(SERVER, f"route replace default via {net4}.1 {own4}", f"route replace default via {net6}::1 {own6}")
        _inside(SERVER, f"route replace {net4}.0/24 {end} {own4}", f"route replace {net6}::/64 {end} metric 64 {own6}")
        if way.name != "fwd":
            _inside(
                GATEWAY,
                f"route replace {ADDRESS4[SERVER]}/32 via {net4}.2",
                f"route replace {ADDRESS6[SERVER]}/128 via {net6}::2",
            )

    def wire_arguments(self) -> list[str]:
        """What `lab.wire` is to join."""
        wired = (way for way in WAYS.values() if way.wired)
        return [f"w{way.number}a,w{way.number}b,{way.rtt_ms / 2},{way.loss}" for way in wired]

    def forward(self, ports: Mapping[int, int], ranges: Iterable[tuple[int, int]]) -> None:
        """Forward ports outside to the server's ports by TCP and UDP, and FTP data ranges as they are."""
        lines = ["flush ruleset", "table ip lab {", "chain in { type nat hook prerouting priority dstnat;"]
        table = ", ".join(f"{outside} : {ADDRESS4[SERVER]} . {inside}" for outside, inside in sorted(ports.items()))
        for kind in ("tcp", "udp"):
            lines += [f'iifname "f0" meta l4proto {kind} dnat ip to {kind} dport map {{ {table} }}']
        for low, high in ranges:
            lines += [f'iifname "f0" tcp dport {low}-{high} dnat to {ADDRESS4[SERVER]}']
        lines += ["}", "chain out { type nat hook postrouting priority srcnat;", 'oifname "f0" masquerade', "}", "}"]
        _run(in_namespace(FORWARDER, ["nft", "-f", "-"]), "\n".join(lines) + "\n")

    def addresses(self, namespace: str) -> frozenset[str]:
        """All addresses of a namespace in text form."""
        found = set()
        for line in _run(["ip", "-n", namespace, "-o", "addr", "show"]).splitlines():
            words = line.split()
            found.add(words[3].split("/")[0])
        return frozenset(found)

    def packet_sockets(self, namespace: str) -> int:
        """How many packet sockets are open in a namespace: what captures there."""
        return len(_run(in_namespace(namespace, ["cat", "/proc/net/packet"])).splitlines()) - 1

    def listening(self, namespace: str) -> set[tuple[str, int]]:
        """(transport, port) of every socket in a namespace that waits for clients."""
        found = set()
        for line in _run(in_namespace(namespace, ["ss", "-Hltun"])).splitlines():
            words = line.split()
            found.add((words[0], int(words[4].rsplit(":", 1)[1])))
        return found


_MASQUERADE = 'table ip lab { chain out { type nat hook postrouting priority srcnat; oifname "OUT" masquerade; }; }\n'
