"""Trackers on the loopback of every host: peers find each other, and nothing of it crosses the gateway.

    python -m lab.hidden.tracker PLAN.json

The plan is a list of [namespace, [[address, port], ...]]: who asks in that namespace is told these peers.
"""

from __future__ import annotations

import asyncio
import ctypes
import ipaddress
import json
import os
import socket
import sys
from pathlib import Path

__all__ = ["ANNOUNCE", "PORT", "answer", "main"]

PORT = 6969
ANNOUNCE = f"http://127.0.0.1:{PORT}/announce"
_CLONE_NEWNET = 0x40000000  # linux/sched.h
_INTERVAL_S = 900
_LIBC = ctypes.CDLL(None, use_errno=True)


def answer(peers: list[tuple[str, int]]) -> bytes:
    """The HTTP response to any announce: compact peers (BEP 23)."""
    packed = b"".join(ipaddress.IPv4Address(address).packed + port.to_bytes(2, "big") for address, port in peers)
    body = b"d8:completei1e10:incompletei1e8:intervali%de5:peers%d:%se" % (_INTERVAL_S, len(packed), packed)
    return b"HTTP/1.0 200 OK\r\nContent-Type: text/plain\r\nContent-Length: %d\r\n\r\n%s" % (len(body), body)


def _listen(namespace: str) -> socket.socket:
    """A listening socket on the loopback of a namespace."""
    descriptor = os.open(f"/run/netns/{namespace}", os.O_RDONLY)
    try:
        if _LIBC.setns(descriptor, _CLONE_NEWNET):
            raise OSError(ctypes.get_errno(), f"setns {namespace}")
    finally:
        os.close(descriptor)
    return socket.create_server(("127.0.0.1", PORT))


async def _serve(plan: list[tuple[str, list[tuple[str, int]]]]) -> None:
    for namespace, peers in plan:
        said = answer(peers)

        async def told(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, said: bytes = said) -> None:
            try:
                await asyncio.wait_for(reader.readuntil(b"\r\n\r\n"), 5)
                writer.write(said)
                await writer.drain()
            except (OSError, asyncio.IncompleteReadError, asyncio.LimitOverrunError, TimeoutError):
                pass
            writer.close()

        await asyncio.start_server(told, sock=_listen(namespace))
    print("ready", flush=True)
    await asyncio.Event().wait()


def main(arguments: list[str]) -> None:
    """Serve until ended."""
    asyncio.run(_serve(json.loads(Path(arguments[0]).read_text())))


if __name__ == "__main__":
    main(sys.argv[1:])
