"""The network of the shaping laboratory: a home line as people have it.

    caller ──┐                         20 Mbit/s down, 5 Mbit/s up
             ├─ lan  gateway  wan ──── modem ──── wire, 20 ms there and back ──── server
    loader ──┘  (flowsonar, NAT)       (long queues)

The modem is the bottleneck with a queue as long as modems have it. The server has an address for each of its peers.
"""

from __future__ import annotations

from lab.namespaces import FORWARD, NO_IPV6, Namespaces, inside, run, whole_frames
from lab.programs import in_namespace

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


def server_address(number: int) -> str:
    """One of the server's addresses: 1 for web and telephone, 10 and up for peers."""
    return f"198.18.50.{number}"


class Network(Namespaces):
    """The namespaces; a context manager that makes them and takes them away."""

    def __init__(self) -> None:
        super().__init__((CALLER, LOADER, GATEWAY, MODEM, WIRE, SERVER))

    def _build(self) -> None:
        for name in self.names:
            self._namespace(name, (*NO_IPV6, *FORWARD[:1]))
        self._pair(CALLER, "c0", GATEWAY, "lan1")
        self._pair(LOADER, "l0", GATEWAY, "lan2")
        self._pair(GATEWAY, "wan", MODEM, "home")
        self._pair(MODEM, "net", WIRE, "wa")
        self._pair(SERVER, "s0", WIRE, "wb")
        inside(GATEWAY, "link add name lan type bridge", "link set lan1 master lan", "link set lan2 master lan")
        inside(GATEWAY, "link set lan up", "addr add 192.168.41.1/24 dev lan", "addr add 198.18.41.2/24 dev wan")
        for name, end, address in ((CALLER, "c0", CALLER_ADDRESS), (LOADER, "l0", LOADER_ADDRESS)):
            inside(name, f"addr add {address}/24 dev {end}", f"route add default via 192.168.41.1 {_CONTROL}")
        inside(MODEM, "addr add 198.18.41.1/24 dev home", "addr add 198.18.42.1/24 dev net")
        inside(SERVER, "addr add 198.18.42.2/24 dev s0", f"route add default via 198.18.42.1 {_CONTROL}")
        # Not on the loopback interface: libtorrent listens on the interface that has the address, and on no other.
        inside(SERVER, *(f"addr add {server_address(host)}/32 dev s0" for host in (1, *range(10, 10 + PEERS))))
        inside(MODEM, f"route add {SERVER_NET} via 198.18.42.2")
        inside(GATEWAY, "route add default via 198.18.41.1")
        nat = 'table ip home { chain out { type nat hook postrouting priority srcnat; oifname "wan" masquerade; }; }\n'
        run(in_namespace(GATEWAY, ["nft", "-f", "-"]), nat)
        for end, kbit, way in (("net", UP_KBIT, "up"), ("home", DOWN_KBIT, "down")):
            size = kbit * _QUEUE_MS[way] // 8
            line = f"qdisc add dev {end} root tbf rate {kbit}kbit burst 3028 limit {size}"
            run(in_namespace(MODEM, ["tc", *line.split()]))

    def _pair(self, left: str, left_end: str, right: str, right_end: str) -> None:
        self._veth(left, left_end, right, right_end)
        for name, end in ((left, left_end), (right, right_end)):
            whole_frames(name, end)  # packets as the line carries them: the wire copies frames as they are
            inside(name, f"link set {end} up")
