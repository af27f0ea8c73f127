"""Three namespaces in a row: clients, the path that is watched, servers.

    left ──up──▶ ┌──────┐
                 │ path ├── right
    left ◀─down─ └──────┘

What left sends goes over one link and what it receives over another, so that a watch on one of them sees one direction
only; `WHOLE` sees both. Each program has an address of its own on both sides, with routes that choose it as the source:
fixed ports do not meet, and a flow's addresses say whose it is. All are private ones, which the default scope contains.
"""

from __future__ import annotations

import os

from lab.namespaces import FORWARD, Namespaces, inside, listening, packet_sockets
from lab.programs import LabError

__all__ = ["FROM_SERVER", "LINKS", "MOST", "TO_SERVER", "WHOLE", "Path3"]

TO_SERVER, FROM_SERVER, WHOLE = "up0", "down0", "right0"
"""Interfaces of the path."""
LINKS = frozenset({"10.78.2.2", "10.78.3.2", "10.78.8.2"})
"""The ends of the links themselves, which programs use that look at interfaces rather than at routes."""
MOST = 1000
"""Programs of one run."""
_FIRST, _IN_ONE = 20, 200


class Path3(Namespaces):
    """The namespaces; a context manager that makes them and takes them away."""

    def __init__(self) -> None:
        self.left, self.path, self.right = (f"fsT{os.getpid()}-{name}" for name in ("left", "path", "right"))
        super().__init__((self.left, self.path, self.right))
        self._given = 0

    def addresses(self) -> tuple[str, str]:
        """A new pair of addresses, left's and right's. Raises LabError when there is no more."""
        if self._given >= MOST:
            raise LabError("too many programs for one network")
        third, last = divmod(self._given, _IN_ONE)
        self._given += 1
        left, right = f"10.78.{16 + third}.{_FIRST + last}", f"10.78.{32 + third}.{_FIRST + last}"
        inside(self.left, f"addr add {left}/32 dev lo", f"route add {right}/32 via 10.78.2.1 src {left}")
        inside(self.right, f"addr add {right}/32 dev lo", f"route add {left}/32 via 10.78.8.1 src {right}")
        inside(self.path, f"route add {left}/32 via 10.78.3.2", f"route add {right}/32 via 10.78.8.2")
        return left, right

    def own_addresses(self) -> tuple[str, ...]:
        """From where flowsonar asks."""
        return ("10.78.2.1", "10.78.3.1", "10.78.8.1")

    def _build(self) -> None:
        for name in self.names:
            self._namespace(name, FORWARD[:1] if name == self.path else ())
        self._link(self.left, "ahead", TO_SERVER, "10.78.2")
        self._link(self.left, "back", FROM_SERVER, "10.78.3")
        self._link(self.right, "side", WHOLE, "10.78.8")
        inside(self.left, "route add default via 10.78.2.1")
        inside(self.right, "route add default via 10.78.8.1")

    def _link(self, name: str, end: str, path_end: str, net: str) -> None:
        self._veth(name, end, self.path, path_end)
        inside(name, f"addr add {net}.2/24 dev {end}", f"link set {end} up")
        inside(self.path, f"addr add {net}.1/24 dev {path_end}", f"link set {path_end} up")

    def capturing(self) -> int:
        """How many packet sockets are open on the path."""
        return packet_sockets(self.path)

    def listening(self) -> set[tuple[str, str, int]]:
        """(transport, address, port) of every socket on the right that waits for clients."""
        return listening(self.right)
