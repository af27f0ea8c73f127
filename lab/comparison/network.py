"""Two namespaces joined by a link: the programs on one side, who asks and the real clients on the other.

The names carry the process's number, so that several comparisons may run on one machine; the addresses are private
ones, which flowsonar's default scope contains.
"""

from __future__ import annotations

import os
from pathlib import Path

from lab.namespaces import Namespaces, inside, listening, packet_sockets

__all__ = ["CLIENT4", "CLIENT6", "LINK", "SERVER4", "SERVER6", "Pair"]

SERVER4, SERVER6 = "10.77.0.2", "fd77::2"
CLIENT4, CLIENT6 = "10.77.0.1", "fd77::1"
LINK = "lab0"
"""The interface's name on both sides."""
_USERS = {"passwd": "Debian-exim:x:64990:64990::/:/usr/sbin/nologin\n", "group": "Debian-exim:x:64990:\n"}


def _users() -> dict[str, str]:
    """The machine's users and groups, and those that programs miss which are unpacked only."""
    return {file: Path("/etc", file).read_text() + line for file, line in _USERS.items()}


class Pair(Namespaces):
    """The two namespaces; a context manager that makes them and takes them away."""

    def __init__(self) -> None:
        self.server, self.client = (f"fsC{os.getpid()}-{side}" for side in ("server", "client"))
        super().__init__((self.server, self.client))

    def _build(self) -> None:
        for name in self.names:
            self._namespace(name, files=_users())
        self._veth(self.server, LINK, self.client, LINK)
        for name, four, six in ((self.server, SERVER4, SERVER6), (self.client, CLIENT4, CLIENT6)):
            inside(name, f"addr add {four}/24 dev {LINK}", f"addr add {six}/64 dev {LINK} nodad", f"link set {LINK} up")

    def know_users(self) -> None:
        """Have the namespaces know the users of packages that were installed since they were made."""
        for name in self.names:
            self.lay(name, _users())

    def listening(self) -> set[tuple[str, int]]:
        """(transport, port) of every socket on the programs' side that waits for clients."""
        return {(transport, port) for transport, _, port in listening(self.server)}

    def capturing(self) -> int:
        """How many packet sockets are open on the clients' side."""
        return packet_sockets(self.client)
