"""Servers that say what a service says, and are none: many ports in one process.

    python -m lab.peers.liar ADDRESS FILE

FILE is a JSON list of {"port": N, "transport": "tcp" or "udp", "kind": KIND, "data": HEX}. The kinds:

| kind | does |
|---|---|
| `banner` | says the data at once, then nothing |
| `banner-garbage` | says the data at once, and 40 random bytes to whatever comes |
| `banner-again` | says the data at once, and once more to whatever comes |
| `answer` | says the data to whatever comes |
| `answer-close` | the same, and ends the connection |
| `mixed` | gives our own bytes back with the data behind them |
| `http` | answers every line that ends in a blank one with 200 and the data as its page, whatever path is asked |
"""

from __future__ import annotations

import asyncio
import json
import os
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import cast

__all__ = ["KINDS", "Liar", "main", "reply"]

KINDS = ("banner", "banner-garbage", "banner-again", "answer", "answer-close", "mixed", "http")
_GARBAGE_BYTES = 40
_ENDS = frozenset({"answer-close", "http"})


@dataclass(frozen=True, slots=True, kw_only=True)
class Liar:
    """One port."""

    port: int
    kind: str
    data: bytes
    transport: str = "tcp"

    def line(self) -> dict[str, object]:
        """As it stands in the file."""
        return {"port": self.port, "transport": self.transport, "kind": self.kind, "data": self.data.hex()}


def reply(kind: str, data: bytes, heard: bytes) -> bytes:
    """What is said to `heard`."""
    match kind:
        case "banner":
            return b""
        case "banner-garbage":
            return os.urandom(_GARBAGE_BYTES)
        case "mixed":
            return heard + data
        case "http":
            if b"\n\r\n" not in heard and b"\n\n" not in heard:
                return b""
            return b"HTTP/1.1 200 OK\r\nContent-Type: text/html\r\nContent-Length: %d\r\n\r\n%b" % (len(data), data)
    return data


class _Datagrams(asyncio.DatagramProtocol):
    def __init__(self, liar: Liar) -> None:
        self._liar = liar

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.DatagramTransport", transport)

    def datagram_received(self, data: bytes, addr: tuple[str, int]) -> None:
        if said := reply(self._liar.kind, self._liar.data, data):
            self._transport.sendto(said, addr)


def _speaker(liar: Liar):  # type: ignore[no-untyped-def]
    async def speak(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            if liar.kind.startswith("banner"):
                writer.write(liar.data)
            while heard := await reader.read(65536):
                writer.write(reply(liar.kind, liar.data, heard))
                await writer.drain()
                if liar.kind in _ENDS:
                    break
        except OSError:
            pass
        finally:
            writer.close()

    return speak


async def _serve(address: str, liars: list[Liar]) -> None:
    loop = asyncio.get_running_loop()
    for liar in liars:
        if liar.transport == "udp":
            await loop.create_datagram_endpoint(lambda liar=liar: _Datagrams(liar), local_addr=(address, liar.port))
        else:
            await asyncio.start_server(_speaker(liar), address, liar.port)
    await asyncio.Event().wait()


def main(arguments: list[str]) -> int:
    """Serve until ended."""
    address, file = arguments
    lines = json.loads(Path(file).read_text())
    liars = [Liar(**{**line, "data": bytes.fromhex(line["data"])}) for line in lines]
    asyncio.run(_serve(address, liars))
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
