"""The prober on real loopback sockets: servers that mean harm end in an answer, within bounds."""

from __future__ import annotations

import asyncio
import socket
import tracemalloc

import pytest

from flowsonar import limits
from flowsonar.model import Outcome
from tests.probes.sockets import asked, hang_up, labels


async def endless(reader, writer):
    while True:
        writer.write(b"x" * 65536)
        await writer.drain()


async def ten_megabytes_without_line_end(reader, writer):
    writer.write(b"220 " + b"y" * 10_000_000)
    await writer.drain()


async def drip(reader, writer):
    while True:
        writer.write(b"z")
        await writer.drain()
        await asyncio.sleep(0)


async def ten_megabytes_byte_by_byte(reader, writer):
    opened = writer.get_extra_info("socket")
    opened.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    for sent in range(10_000_000):
        writer.write(b"q")
        if sent % 16 == 0:
            await writer.drain()
            await asyncio.sleep(0)


async def reset(reader, writer):
    writer.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
    writer.transport.abort()


async def reset_after_question(reader, writer):
    await reader.read(1)
    await reset(reader, writer)


async def half_a_reply(reader, writer):
    await reader.read(1)
    writer.write(b"HTTP/1.1 2")


async def nothing_but_zeros(reader, writer):
    await reader.read(1)
    writer.write(b"\0" * 300_000)
    await writer.drain()


async def half_a_server_hello(reader, writer):
    await reader.read(1)
    writer.write(bytes.fromhex("160303007a020000760303") + b"\x11" * 20)
    await asyncio.sleep(60)


async def broken_server_hello(reader, writer):
    await reader.read(1)
    writer.write(bytes.fromhex("160303002a020000260303") + b"\xff" * 400)
    await asyncio.sleep(60)


async def alert_storm(reader, writer):
    while True:
        writer.write(bytes.fromhex("15030300020100") * 1000)
        await writer.drain()


async def every_encoding(reader, writer):
    await reader.read(1)
    writer.write("żółć \ufeff 漢字\r\n".encode("utf-16") + bytes(range(256)) + b"\x1b[2J\x07\r\n")


HOSTILE = [
    endless, ten_megabytes_without_line_end, ten_megabytes_byte_by_byte, drip, reset, reset_after_question, hang_up,
    half_a_reply, nothing_but_zeros, half_a_server_hello, broken_server_hello, alert_storm, every_encoding,
]  # fmt: skip


@pytest.mark.parametrize("first", ["plain", "tls"])
@pytest.mark.parametrize("handler", HOSTILE)
def test_hostile_servers_end_in_an_answer(run, handler, first):
    hints = {"candidates": ("tls",)} if first == "tls" else {}
    answer = run(asked(handler, **hints))
    assert answer.outcome in (Outcome.ANSWERED, Outcome.CLOSED, Outcome.SILENT, Outcome.REFUSED, Outcome.GARBLED)
    assert answer.took_ms < 1500
    assert answer.connections <= (5 if answer.outcome is not Outcome.CLOSED else 65)
    assert all(len(one.data) <= 256 for one in answer.evidence)
    assert all(one.service in (None, "tls", "ftp", "smtp") for one in answer.evidence)


def test_a_server_hello_that_breaks_off_is_still_tls(run):
    answer = run(asked(half_a_server_hello, candidates=("tls",)))
    assert labels(answer) == [("tls", None, "confirmed")]


@pytest.mark.parametrize("handler", [endless, drip, ten_megabytes_byte_by_byte])
def test_what_never_ends_takes_no_more_memory_than_a_few_replies(run, handler):
    run(asked(reset))  # what is made once is there
    tracemalloc.start()
    try:
        answer = run(asked(handler))
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert answer.outcome in (Outcome.ANSWERED, Outcome.CLOSED, Outcome.SILENT)
    assert peak < 32 * limits.REPLY_BYTES
