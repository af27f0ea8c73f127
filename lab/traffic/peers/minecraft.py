"""Minecraft with quarry, which speaks the game's own protocol.

`python -m lab.traffic.peers.minecraft ROLE ADDRESS PORT SECONDS`: ROLE is `serve`, `join` (a player who stays) or
`status` (mcstatus, as server lists ask).
"""

from __future__ import annotations

import sys

from mcstatus import JavaServer
from quarry.net.auth import OfflineProfile
from quarry.net.client import ClientFactory, SpawningClientProtocol
from quarry.net.server import ServerFactory, ServerProtocol
from twisted.internet import reactor


class _Server(ServerProtocol):  # type: ignore[misc]
    def player_joined(self) -> None:
        ServerProtocol.player_joined(self)
        self.ticker.add_loop(20, self.alive)

    def alive(self) -> None:
        self.send_packet("keep_alive", self.buff_type.pack("Q", 7))


def _serve(address: str, port: int) -> None:
    factory = ServerFactory()
    factory.protocol = _Server
    factory.online_mode = False
    factory.motd = "The laboratory"
    factory.listen(address, port)


def _join(address: str, port: int) -> None:
    factory = ClientFactory(OfflineProfile("laboratory"))
    factory.protocol = SpawningClientProtocol
    factory.connect(address, port)


if __name__ == "__main__":
    role, address, port, seconds = sys.argv[1:]
    if role == "status":
        print(JavaServer(address, int(port), timeout=5).status())
        sys.exit(0)
    (_serve if role == "serve" else _join)(address, int(port))
    if role == "join":
        reactor.callLater(float(seconds), reactor.stop)
    reactor.run()
