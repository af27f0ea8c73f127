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

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from lab.namespaces import FORWARD, Namespaces, inside, listening, packet_sockets, run, whole_frames
from lab.programs import in_namespace

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


class Topology(Namespaces):
    """The namespaces; a context manager that makes them and takes them away."""

    def __init__(self) -> None:
        super().__init__((CLIENT, NAT, INNER, ASYM, GATEWAY, WIRE, FORWARDER, SERVER))

    def _build(self) -> None:
        for name in self.names:
            switches = FORWARD if name in {NAT, GATEWAY, FORWARDER, ASYM} else ()
            # A small receive buffer: a slow download must not be swallowed whole and then be silent for a minute.
            small = ("ipv4.tcp_rmem=4096 65536 131072",) if name in {CLIENT, INNER, ASYM} else ()
            self._namespace(name, (*switches, *small))
        self._link(CLIENT, "c0", GATEWAY, "gc", "198.18.1", "2001:db8:1", inner=2)
        self._link(NAT, "n0", GATEWAY, "gn", "198.18.2", "2001:db8:2", inner=2)
        self._link(INNER, "i0", NAT, "n1", "192.168.77", "fd00:77", inner=2)
        self._link(ASYM, "out", GATEWAY, "ga-out", "198.18.3", "2001:db8:3", inner=2)
        self._link(ASYM, "in", GATEWAY, "ga-in", "198.18.4", "2001:db8:4", inner=2)
        inside(CLIENT, "route add default via 198.18.1.1", "route add default via 2001:db8:1::1")
        inside(NAT, "route add default via 198.18.2.1")
        inside(INNER, "route add default via 192.168.77.1")
        inside(ASYM, "route add default via 198.18.3.1", "route add default via 2001:db8:3::1")
        inside(GATEWAY, "route add 198.18.3.2/32 via 198.18.4.2", "route add 2001:db8:3::2/128 via 2001:db8:4::2")
        inside(SERVER, f"addr add {ADDRESS4[SERVER]}/32 dev lo", f"addr add {ADDRESS6[SERVER]}/128 dev lo nodad")
        for way in WAYS.values():
            self._way(way)
        self.choose(WAYS["direct"])
        run(in_namespace(NAT, ["nft", "-f", "-"]), _MASQUERADE.replace("OUT", "n0"))

    def _link(self, left: str, left_end: str, right: str, right_end: str, net4: str, net6: str, *, inner: int) -> None:
        """A veth pair; `right` has .1 of both networks, `left` has `inner`."""
        self._veth(left, left_end, right, right_end)
        for name, end, host in ((left, left_end, inner), (right, right_end, 1)):
            inside(
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
            inside(FORWARDER, "route add default via 198.18.20.1", f"route add {ADDRESS4[SERVER]}/32 via {net4}.2")
        elif not way.wired:
            self._link(SERVER, server_end, GATEWAY, gateway_end, net4, net6, inner=2)
        else:
            wire_ends = f"w{way.number}a", f"w{way.number}b"
            for name, end, wire_end, host in (
                (GATEWAY, gateway_end, wire_ends[0], 1),
                (SERVER, server_end, wire_ends[1], 2),
            ):
                self._veth(name, end, WIRE, wire_end)
                inside(
                    name,
                    f"addr add {net4}.{host}/24 dev {end}",
                    f"addr add {net6}::{host}/64 dev {end} nodad",
                    f"link set {end} up",
                )
                inside(WIRE, f"link set {wire_end} up")
                whole_frames(name, end)  # the wire carries frames as they are
                whole_frames(WIRE, wire_end)

    def choose(self, way: Way) -> None:
        """Lead traffic between gateway and server this way."""
        net4, net6 = f"198.19.{way.number}", f"2001:db8:f{way.number}"
        # `src`: servers that answer from any address of theirs must answer from the one that was asked.
        own4, own6, end = f"src {ADDRESS4[SERVER]}", f"src {ADDRESS6[SERVER]}", f"dev s-{way.name}"
        inside(SERVER, f"route replace default via {net4}.1 {own4}", f"route replace default via {net6}::1 {own6}")
        inside(SERVER, f"route replace {net4}.0/24 {end} {own4}", f"route replace {net6}::/64 {end} metric 64 {own6}")
        if way.name != "fwd":
            inside(
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
        run(in_namespace(FORWARDER, ["nft", "-f", "-"]), "\n".join(lines) + "\n")

    def addresses(self, namespace: str) -> frozenset[str]:
        """All addresses of a namespace in text form."""
        found = set()
        for line in run(["ip", "-n", namespace, "-o", "addr", "show"]).splitlines():
            words = line.split()
            found.add(words[3].split("/")[0])
        return frozenset(found)

    def packet_sockets(self, namespace: str) -> int:
        """How many packet sockets are open in a namespace: what captures there."""
        return packet_sockets(namespace)

    def listening(self, namespace: str) -> set[tuple[str, int]]:
        """(transport, port) of every socket in a namespace that waits for clients."""
        return {(transport, port) for transport, _, port in listening(namespace)}


_MASQUERADE = 'table ip lab { chain out { type nat hook postrouting priority srcnat; oifname "OUT" masquerade; }; }\n'
