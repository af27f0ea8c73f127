"""Answers everything with random bytes, on many ports: `python -m lab.lookalikes.babbler PORTS.json`.

Each port has habits of its own, by its number: how long its answers are, how many, whether it ends a connection. Ports
called `rtp` answer with packets of media, whatever comes.
"""

from __future__ import annotations

import asyncio
import json
import random
import struct
import sys
from pathlib import Path

__all__ = ["media", "said"]

_LENGTHS = (4, 11, 14, 20, 23, 26, 60, 96, 132, 200, 600)


def said(chance: random.Random) -> list[bytes]:
    """One answer: messages of random bytes, mostly one."""
    often = chance.choice((0, 1, 1, 1, 2))
    return [chance.randbytes(chance.choice(_LENGTHS)) for _ in range(often)]


def media(chance: random.Random, count: int = 3) -> list[bytes]:
    """Packets of one source in order, as RTP has them (RFC 3550 section 5.1)."""
    number, clock, source = chance.randrange(60000), chance.randrange(1 << 31), chance.randrange(1 << 32)
    return [
        struct.pack("!BBHII", 0x80, 0, number + step, clock + 160 * step, source) + chance.randbytes(160)
        for step in range(count)
    ]


class _Datagrams(asyncio.DatagramProtocol):
    def __init__(self, port: int, kind: str) -> None:
        self._chance, self._kind = random.Random(port), kind

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = transport

    def datagram_received(self, _data: bytes, addr: tuple[str, int]) -> None:
        for answer in media(self._chance) if self._kind == "rtp" else said(self._chance):
            self._transport.sendto(answer, addr)  # type: ignore[attr-defined]


async def _stream(port: int, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    habit = random.Random(port)
    ends, speaks = habit.choice((0.0, 0.2, 1.0)), habit.choice((0.0, 0.5, 1.0))
    chance = random.Random()
    try:
        while await reader.read(4096):
            if chance.random() < speaks:
                writer.write(b"".join(said(chance)))
                await writer.drain()
            if chance.random() < ends:
                break
    except ConnectionError:
        pass
    finally:
        writer.close()


async def _serve(places: list[tuple[str, str, int]]) -> None:
    loop = asyncio.get_running_loop()
    for kind, transport, port in places:
        if transport == "udp":
            await loop.create_datagram_endpoint(lambda: _Datagrams(port, kind), ("127.0.0.1", port))  # noqa: B023
        else:
            await asyncio.start_server(lambda *ends, port=port: _stream(port, *ends), "127.0.0.1", port)
    print("ready", flush=True)
    await asyncio.Event().wait()


if __name__ == "__main__":
    asyncio.run(_serve([tuple(one) for one in json.loads(Path(sys.argv[1]).read_text())]))
