"""SSH servers of Python's libraries: `python -m lab.peers.ssh_servers asyncssh|paramiko PORT HOST_KEY`."""

from __future__ import annotations

import asyncio
import importlib
import socket
import sys
import threading


async def _asyncssh(port: int, key: str) -> None:
    library = importlib.import_module("asyncssh")
    await library.listen("", port, server_host_keys=[key])
    await asyncio.Event().wait()


def _paramiko(port: int, key: str) -> None:
    library = importlib.import_module("paramiko")
    host_key = library.RSAKey(filename=key)
    listening = socket.create_server(("::", port), family=socket.AF_INET6, dualstack_ipv6=True)

    def serve(connection: socket.socket) -> None:
        transport = library.Transport(connection)
        transport.add_server_key(host_key)
        try:
            transport.start_server(event=threading.Event(), server=library.ServerInterface())
        except (library.SSHException, EOFError):
            return

    while True:
        serve(listening.accept()[0])


if __name__ == "__main__":
    if sys.argv[1] == "asyncssh":
        asyncio.run(_asyncssh(int(sys.argv[2]), sys.argv[3]))
    else:
        _paramiko(int(sys.argv[2]), sys.argv[3])
