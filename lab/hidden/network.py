"""The network of the hiding case: many hosts on two switches, and the gateway between them on which flowsonar watches.

    left 1 ──┐              ┌── out ──┐             ┌── right 1
    left 2 ──┼── switch ────┼── back ─┼── gateway ──┼── right 2
    nat ─────┘   (left)     └── idle ─┘   switch    └── ...
     └ inner                               (right)

Left hosts reach the gateway by `out`. Its way back to them is a choice: `out` as well, or `back`, so that a watch on
one of the two interfaces sees one direction only. `idle` has the address of `out`: the switch can lead all frames
there from one moment to the next, so that transfers go on unseen until a watch is ready, and are in their middle then.
Addresses are private ones, which flowsonar's default scope contains; no namespace has a way out. Names carry the
process's number, so that several runs may live on one machine.
"""

from __future__ import annotations

import json
import os
from dataclasses import dataclass

from lab.namespaces import FORWARD, NO_IPV6, Namespaces, inside, listening, packet_sockets, run
from lab.programs import in_namespace

__all__ = ["BACK", "GATEWAY_LEFT", "GATEWAY_RIGHT", "LEFT_NET", "OUT", "RIGHT_NET", "Host", "Network"]

OUT, BACK, _IDLE = "out", "back", "idle"
"""The gateway's interfaces towards the left hosts."""
LEFT_NET, RIGHT_NET = "10.79.0.0/17", "10.79.128.0/17"
GATEWAY_LEFT, GATEWAY_RIGHT = "10.79.0.1", "10.79.128.1"
_BACK_ADDRESS = "10.79.0.3"
_SWITCHES = ("ipv4.conf.all.arp_ignore=1", *NO_IPV6)
_NAT_RULES = """table ip lab {
chain in {
type nat hook prerouting priority dstnat
iifname "n0" meta l4proto { tcp, udp } th dport PORT dnat to INNER
}
chain out { type nat hook postrouting priority srcnat; oifname "n0" masquerade; }
}
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Host:
    """Where one client runs, and where the gateway sees it."""

    namespace: str
    address: str
    """As the gateway and the other side see it."""


class Network(Namespaces):
    """The namespaces; a context manager that makes switches and gateway, and takes everything away."""

    def __init__(self) -> None:
        self._prefix = f"fsH{os.getpid()}"
        self.gateway = f"{self._prefix}-gw"
        self._switches = {"left": f"{self._prefix}-left", "right": f"{self._prefix}-right"}
        super().__init__((self.gateway, *self._switches.values()))
        self._address = ""
        self._count = {"left": 10, "right": 10}
        self._uplinks: dict[str, str] = {}

    def host(self, side: str) -> Host:
        """A new host on a side."""
        name, address = self._next(side)
        self._plug(side, name, "e0", f"{address}/17")
        inside(name, f"route add default via {GATEWAY_LEFT if side == 'left' else GATEWAY_RIGHT}")
        return Host(namespace=name, address=address)

    def hidden_host(self, port: int) -> Host:
        """A new host on the left behind NAT, to which the NAT forwards one port by TCP and UDP."""
        outer, address = self._next("left")
        self._plug("left", outer, "n0", f"{address}/17")
        inner = f"{outer}i"
        self._namespace(inner, _SWITCHES)
        self._veth(outer, "n1", inner, "e0")
        inside(outer, f"route add default via {GATEWAY_LEFT}", "addr add 192.168.78.1/24 dev n1", "link set n1 up")
        inside(inner, "addr add 192.168.78.2/24 dev e0", "link set e0 up", "route add default via 192.168.78.1")
        run(in_namespace(outer, ["sysctl", "-qw", "net.ipv4.ip_forward=1"]))
        rules = _NAT_RULES.replace("PORT", str(port)).replace("INNER", "192.168.78.2")
        run(in_namespace(outer, ["nft", "-f", "-"]), rules)
        return Host(namespace=inner, address=address)

    def lead(self, there: str = OUT, back: str = OUT) -> None:
        """Lead what goes to the gateway and what comes from it to the left hosts by these interfaces."""
        end = self._uplinks[there]
        entry = ["fdb", "replace", self._address, "dev", end, "master", "static"]
        run(["bridge", "-n", self._switches["left"], *entry])
        # two halves: more exact than the network that the kernel knows by itself
        halves = [f"route replace 10.79.{half}.0/18 dev {back} src {GATEWAY_LEFT}" for half in (0, 64)]
        inside(self.gateway, *halves)

    def hide(self) -> None:
        """Let everything pass where nobody watches."""
        self.lead(_IDLE, _IDLE)

    def packet_sockets(self) -> int:
        """How many packet sockets are open on the gateway: what captures there."""
        return packet_sockets(self.gateway)

    def listening(self, host: Host) -> set[int]:
        """TCP ports of a host that wait for clients."""
        return {port for transport, _, port in listening(host.namespace) if transport == "tcp"}

    # -- making ---------------------------------------------------------------------------------------------------

    def _build(self) -> None:
        """Make switches and gateway."""
        for name in self.names:
            self._namespace(name, (*_SWITCHES, *(FORWARD[:1] if name == self.gateway else ())))
        for side in self._switches.values():
            inside(side, "link add name sw type bridge", "link set dev sw up")
        self._plug("left", self.gateway, OUT, f"{GATEWAY_LEFT}/17")
        # /32: the route to the left network through `back` is made when it is chosen
        self._plug("left", self.gateway, BACK, f"{_BACK_ADDRESS}/32")
        self._plug("left", self.gateway, _IDLE, "10.79.0.4/32")
        self._plug("right", self.gateway, "right", f"{GATEWAY_RIGHT}/17")
        shown = json.loads(run(["ip", "-n", self.gateway, "-j", "link", "show", "dev", OUT]))
        self._address = str(shown[0]["address"])
        run(["ip", "-n", self.gateway, "link", "set", "dev", _IDLE, "address", self._address])
        for interface in (OUT, BACK, _IDLE, "right"):
            off = ["tso", "off", "gso", "off", "gro", "off"]
            run(in_namespace(self.gateway, ["ethtool", "-K", interface, *off]))

    def _next(self, side: str) -> tuple[str, str]:
        number = self._count[side] = self._count[side] + 1
        name = f"{self._prefix}-{side[0]}{number}"
        self._namespace(name, _SWITCHES)
        return name, f"10.79.{0 if side == 'left' else 128}.{number}"

    def _plug(self, side: str, namespace: str, interface: str, address: str) -> None:
        """Connect a namespace to a switch."""
        switch = self._switches[side]
        end = f"p{len(run(['ip', '-n', switch, '-o', 'link']).splitlines())}"
        self._veth(namespace, interface, switch, end)
        inside(switch, f"link set dev {end} master sw", f"link set dev {end} up")
        if namespace == self.gateway and side == "left":
            self._uplinks[interface] = end
            run(["bridge", "-n", switch, "link", "set", "dev", end, "learning", "off"])
        inside(namespace, f"addr add {address} dev {interface}", f"link set dev {interface} up")
