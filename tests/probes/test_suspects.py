"""Odd and hostile peers on real sockets: whom a flow makes suspect of being a peer's is sent little."""

from __future__ import annotations

import asyncio
import contextlib
import os
import socket
from collections.abc import Awaitable, Callable
from functools import cache

import pytest

from flowsonar.config import BudgetSettings, Settings
from flowsonar.model import Confidence, Endpoint, Hints, Question, Transport
from flowsonar.probes import Prober
from flowsonar.probes.moves import MOST_CONNECTIONS, MOST_DATAGRAMS
from flowsonar.probes.special.mse import KEY_BYTES
from flowsonar.signatures.loader import load_signatures
from flowsonar.signatures.matcher import Matcher
from tests.probes.sockets import tcp_server

BUDGET = BudgetSettings(
    rate=1e6, burst=100_000, per_host_rate=1e6, per_host_burst=100_000, per_prefix_rate=1e6, per_prefix_burst=100_000,
    per_host_parallel=64, timeout_s=3.0, max_unanswered=12, control=False,
)  # fmt: skip
Reader, Writer = asyncio.StreamReader, asyncio.StreamWriter
Stream = Callable[[Reader, Writer, int], Awaitable[None]]


def _reset(writer: Writer) -> None:
    writer.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
    writer.transport.abort()


async def _silent(reader: Reader, _writer: Writer, _number: int) -> None:
    while await reader.read(4096):
        pass


async def _hangs_up(_reader: Reader, _writer: Writer, _number: int) -> None:
    pass


async def _resets(_reader: Reader, writer: Writer, _number: int) -> None:
    _reset(writer)


async def _garbage(reader: Reader, writer: Writer, _number: int) -> None:
    while await reader.read(4096):
        writer.write(os.urandom(40))


async def _echo(reader: Reader, writer: Writer, _number: int) -> None:
    while data := await reader.read(4096):
        writer.write(data)


async def _key_of_its_own(reader: Reader, writer: Writer, _number: int) -> None:
    await reader.read(KEY_BYTES)
    writer.write(os.urandom(KEY_BYTES + 17))
    await _silent(reader, writer, 0)


async def _key_and_end(reader: Reader, writer: Writer, _number: int) -> None:
    await reader.read(KEY_BYTES)
    writer.write(os.urandom(KEY_BYTES))


async def _key_then_reset(reader: Reader, writer: Writer, _number: int) -> None:
    await reader.read(KEY_BYTES)
    writer.write(os.urandom(KEY_BYTES))
    await reader.read(1)
    _reset(writer)


async def _one_at_a_time(reader: Reader, writer: Writer, number: int) -> None:
    if number == 1:
        await _key_then_end(reader, writer)
    elif number != 3:  # turns the second away at once
        await _key_of_its_own(reader, writer, number)


async def _key_then_end(reader: Reader, writer: Writer) -> None:
    await reader.read(KEY_BYTES)
    writer.write(os.urandom(KEY_BYTES))
    await reader.read(1)


async def _late_key(reader: Reader, writer: Writer, _number: int) -> None:
    await asyncio.sleep(0.3)
    await _key_of_its_own(reader, writer, 0)


async def _late_key_then_end(reader: Reader, writer: Writer, number: int) -> None:
    await asyncio.sleep(0.05 * number)
    await _key_then_end(reader, writer)


async def _one_byte_at_a_time(reader: Reader, writer: Writer, _number: int) -> None:
    await reader.read(1)
    for byte in os.urandom(KEY_BYTES):
        writer.write(bytes((byte,)))
        await asyncio.sleep(0.005)
    await _silent(reader, writer, 0)


def _after(number: int) -> Stream:
    async def closes(reader: Reader, _writer: Writer, _number: int) -> None:
        with contextlib.suppress(asyncio.IncompleteReadError):
            await reader.readexactly(number)

    return closes


STREAMS: dict[str, Stream] = {
    "silent": _silent,
    "garbage": _garbage,
    "echo": _echo,
    "a key of its own": _key_of_its_own,
    "a key and the end": _key_and_end,
    "a key and a reset": _key_then_reset,
    "one at a time": _one_at_a_time,
    "a late key": _late_key,
    "late keys and the end": _late_key_then_end,
    "byte by byte": _one_byte_at_a_time,
    "hangs up": _hangs_up,
    "resets": _resets,
    **{f"closes after {number} bytes": _after(number) for number in (1, 20, 28, 48, 97, 150, 200)},
}
HINTS = {
    "peers only": ("bittorrent",),
    "or TLS": ("bittorrent", "tls"),
}
MAY_BE_TLS = {"hangs up", "resets", *(name for name in STREAMS if name.startswith("closes after"))}
"""Without a byte: of a flow from the middle that may be TLS's, so do its servers."""


@cache
def _known() -> tuple[object, Matcher]:
    signatures = load_signatures()
    return signatures, Matcher(signatures)


def _prober() -> Prober:
    signatures, matcher = _known()
    return Prober(signatures, matcher, Settings(budget=BUDGET), audit=lambda _entry: None)  # type: ignore[arg-type]


def _hints(candidates: tuple[str, ...]) -> Hints:
    return Hints(initiator_bytes=os.urandom(200), responder_bytes=os.urandom(300), candidates=candidates)


async def _streams(candidates: tuple[str, ...]) -> dict[str, tuple[int, int, str, Confidence]]:
    """What each kind of peer got: connections taken there, those that the answer tells, service, confidence."""

    async def one(name: str, does: Stream) -> tuple[int, int, str, Confidence]:
        taken = 0

        async def serve(reader: Reader, writer: Writer) -> None:
            nonlocal taken
            taken += 1
            await does(reader, writer, taken)

        async with tcp_server(serve) as endpoint:
            answer = await prober.ask(Question(endpoint=endpoint, hints=_hints(candidates)))
            await asyncio.sleep(0.1)
        best = max(answer.evidence, key=lambda piece: piece.confidence.rank, default=None)
        told = ("", Confidence.UNKNOWN) if best is None else (best.service or "", best.confidence)
        return taken, answer.connections, *told

    prober = _prober()
    try:
        found = await asyncio.gather(*(one(name, does) for name, does in STREAMS.items()))
    finally:
        await prober.close()
    return dict(zip(STREAMS, found, strict=True))


@pytest.mark.parametrize("hint", HINTS)
def test_a_suspect_is_connected_to_three_times_at_most(hint: str) -> None:
    found = asyncio.run(_streams(HINTS[hint]))
    bounded = {name: one for name, one in found.items() if hint != "or TLS" or name not in MAY_BE_TLS}
    assert {name: one for name, one in bounded.items() if max(one[:2]) > MOST_CONNECTIONS} == {}
    assert {
        name: one for name, one in found.items() if one[2] == "bittorrent" and one[3].rank >= Confidence.LIKELY.rank
    } == {}


DATAGRAMS: dict[str, Callable[[bytes], bytes | None]] = {
    "silent": lambda _data: None,
    "echo": lambda data: data,
    "garbage": lambda _data: os.urandom(30),
    "one byte": lambda _data: b"\0",
    "old uTP resets": lambda data: data[:4] + bytes(14) + b"\3" + os.urandom(2) + data[19:21],
    "uTP resets": lambda data: b"\x31\0" + data[2:4] + bytes(12) + os.urandom(2) + data[16:18],
    "a long dictionary": lambda data: b"d1:rd2:id20:" + os.urandom(20) + b"e1:t4:xxxx1:y1:re",
    "errors": lambda data: b"d1:eli203e7:missinge1:t4:yyyy1:y1:ee",
}


async def _datagrams() -> dict[str, tuple[int, int]]:
    class Peer(asyncio.DatagramProtocol):
        def __init__(self, does: Callable[[bytes], bytes | None]) -> None:
            self.does, self.heard = does, 0

        def connection_made(self, transport: asyncio.BaseTransport) -> None:
            self.transport = transport

        def datagram_received(self, data: bytes, address: object) -> None:
            self.heard += 1
            answer = self.does(data)
            if answer is not None:
                self.transport.sendto(answer, address)  # type: ignore[attr-defined]

    async def one(does: Callable[[bytes], bytes | None]) -> tuple[int, int]:
        loop = asyncio.get_running_loop()
        transport, peer = await loop.create_datagram_endpoint(lambda: Peer(does), local_addr=("127.0.0.1", 0))
        port = transport.get_extra_info("sockname")[1]
        try:
            hints = _hints(("bittorrent",))
            answer = await prober.ask(Question(endpoint=Endpoint(Transport.UDP, "127.0.0.1", port), hints=hints))
            await asyncio.sleep(0.1)
        finally:
            transport.close()
        return peer.heard, answer.datagrams

    prober = _prober()
    try:
        found = await asyncio.gather(*(one(does) for does in DATAGRAMS.values()))
    finally:
        await prober.close()
    return dict(zip(DATAGRAMS, found, strict=True))


def test_a_suspect_is_sent_four_datagrams_at_most() -> None:
    found = asyncio.run(_datagrams())
    assert {name: one for name, one in found.items() if max(one) > MOST_DATAGRAMS} == {}
    assert all(heard > 0 for heard, _ in found.values())
