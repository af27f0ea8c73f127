"""Soulseek with aioslsk: two clients, and the server that they meet at, which nobody publishes.

`python -m lab.traffic.peers.soulseek server ADDRESS PORT`: lets everybody in, tells addresses and passes requests for
connections on, in aioslsk's own messages.
`... client NAME SERVER PORT LISTEN FOLDER SECONDS [FRIEND]`: shares FOLDER; with a FRIEND, it looks at what the friend
shares and fetches it. LISTEN and the port after it are open, the second for obfuscated connections.
"""

from __future__ import annotations

import asyncio
import sys
from pathlib import Path
from typing import Any

from aioslsk.client import SoulSeekClient
from aioslsk.commands import PeerGetSharesCommand, UserSearchCommand
from aioslsk.protocol import messages
from aioslsk.settings import CredentialsSettings, Settings

_WAIT_S = 1.0


class _Server:
    def __init__(self) -> None:
        self._users: dict[str, tuple[str, list[int], asyncio.StreamWriter]] = {}

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        name, host = "", writer.get_extra_info("peername")[0]
        while True:
            try:
                head = await reader.readexactly(4)
                said = head + await reader.readexactly(int.from_bytes(head, "little"))
            except (asyncio.IncompleteReadError, ConnectionError):
                return
            try:
                asked: Any = messages.ServerMessage.deserialize_request(said)
            except Exception:  # noqa: BLE001 - what it does not know it need not answer
                continue
            if isinstance(asked, messages.Login.Request):
                name = asked.username
                self._users[name] = host, [0, 0], writer
                welcome = messages.Login.Response(
                    success=True, greeting="", ip=host, md5hash="0" * 32, privileged=False
                )
                writer.write(welcome.serialize())
            elif isinstance(asked, messages.SetListenPort.Request):
                self._users[name][1][:] = asked.port, asked.obfuscated_port or 0
            else:
                self._answer(name, asked, writer)

    def _answer(self, name: str, asked: Any, writer: asyncio.StreamWriter) -> None:
        own_host, own_ports, _ = self._users[name]
        other = self._users.get(getattr(asked, "username", ""))
        if isinstance(asked, messages.GetPeerAddress.Request):
            host, (port, hidden) = (other[0], other[1]) if other else ("0.0.0.0", (0, 0))
            told = messages.GetPeerAddress.Response(asked.username, host, port, int(hidden > 0), hidden)
            writer.write(told.serialize())
        elif isinstance(asked, messages.AddUser.Request):
            stats = messages.UserStats(avg_speed=1, uploads=1, shared_file_count=1, shared_folder_count=1)
            known = other is not None
            writer.write(messages.AddUser.Response(asked.username, known, 2 if known else None, stats).serialize())
        elif isinstance(asked, messages.ConnectToPeer.Request) and other:
            call = messages.ConnectToPeer.Response(
                name, asked.typ, own_host, own_ports[0], asked.ticket, False, int(own_ports[1] > 0), own_ports[1]
            )
            other[2].write(call.serialize())
        elif isinstance(asked, messages.UserSearch.Request) and other:
            other[2].write(messages.FileSearch.Response(name, asked.ticket, asked.query).serialize())


async def _serve(address: str, port: int) -> None:
    server = await asyncio.start_server(_Server().serve, address, port)
    async with server:
        await server.serve_forever()


async def _client(name: str, server: str, port: int, listen: int, folder: Path, seconds: float, friend: str) -> None:
    settings = Settings(credentials=CredentialsSettings(username=name, password="lab"))
    settings.network.server.hostname, settings.network.server.port = server, port
    settings.network.listening.port, settings.network.listening.obfuscated_port = listen, listen + 1
    settings.network.upnp.enabled = False
    settings.network.peer.obfuscate = "hidden" in name
    settings.shares.download = str(folder / "fetched")
    if not friend:
        settings.shares.directories = [{"path": str(folder / "shared")}]  # type: ignore[list-item]
    settings = Settings.model_validate(settings.model_dump())
    client = SoulSeekClient(settings)
    await client.start()
    await client.login()
    if friend:
        await asyncio.sleep(_WAIT_S)
        await client.execute(UserSearchCommand(friend, "lab"))
        shares, _ = await client.execute(PeerGetSharesCommand(friend), response=True)
        for directory in shares:
            for file in directory.files:
                await client.transfers.download(friend, f"{directory.name}\\{file.filename}")
    await asyncio.sleep(seconds)
    await client.stop()


if __name__ == "__main__":
    role, *words = sys.argv[1:]
    if role == "server":
        asyncio.run(_serve(words[0], int(words[1])))
    else:
        name, server, port, listen, folder, seconds, *friend = words
        friends = friend[0] if friend else ""
        asyncio.run(_client(name, server, int(port), int(listen), Path(folder), float(seconds), friends))
