"""Matching one payload against all signatures."""

from __future__ import annotations

import itertools
import random
import time
from collections.abc import Callable, Sequence
from dataclasses import replace

from flowsonar.app.parts import Parts
from flowsonar.cli import process
from flowsonar.config import Settings
from flowsonar.model import Side, Transport
from flowsonar.signatures import Matcher, Reply

__all__ = ["matching"]

PAYLOADS = {
    "nobody knows it": (Side.INITIATOR, bytes.fromhex("9c1f83d2e07755aa0b64f1c8de93ab3107c4e96fd2b85a1c") * 4),
    "a GET request": (
        Side.INITIATOR,
        b"GET / HTTP/1.1\r\nHost: files.example\r\nUser-Agent: curl/7.88.1\r\nAccept: */*\r\n\r\n",
    ),
    "an HTTP response, product and version read out": (
        Side.RESPONDER,
        b"HTTP/1.1 200 OK\r\nServer: nginx/1.22.1\r\nContent-Type: text/html\r\nContent-Length: 2\r\n\r\nok",
    ),
}
CALLS = 20_000
SIZES = (64, 256, 1024, 4096, 16384, 65536)
"""Bytes of the replies: a page behind HTTP's header, and random bytes."""
SERVERS: dict[str, Callable[[int], bytes]] = {
    "a new page": lambda _: b"nginx/1.22.1",
    "its program's version is new": lambda index: b"nginx/1.%d.%d" % (index // 100, index % 100),
    "its `Server` line is new": lambda index: b"Apache/2.4.%d (Debian) OpenSSL/1.1.%d" % (index, index),
    "its program is one nobody knows": lambda index: b"Program-%06d/3.1" % index,
}
"""What the pages' `Server` lines say, by the page's number: no number comes twice."""
RUNS = 5
LINE = b"<p>some words of a page, <a href='/more'>with a link</a></p>\n"


def matching() -> list[str]:
    """The table, as Markdown lines: CPU time a call, best of five."""
    matcher = Parts.load(Settings()).matcher
    process.collect_rarely()  # as the commands do that handle many flows
    lines = ["| payload | microseconds a call |", "|---|---|"]
    for name, (side, data) in PAYLOADS.items():
        best = float("inf")
        for _ in range(5):
            started = time.process_time()
            for _ in range(CALLS):
                matcher.payload(Transport.TCP, side, data)
            best = min(best, time.process_time() - started)
        lines.append(f"| {name} | {best / CALLS * 1e6:.1f} |")
    return [*lines, "", *_replies(matcher)]


def _replies(matcher: Matcher) -> list[str]:
    """Replies of growing size against the whole database: each one new, the very same again, and random bytes."""
    lines = [
        f"| bytes of a reply | {' | '.join(SERVERS)} | the same page again | new random bytes |",
        f"|---|{'---|' * len(SERVERS)}---|---|",
    ]
    number = itertools.count(1)
    for size in SIZES:
        calls = max(200, 2_000_000 // (size + 100))
        times = []
        for server in SERVERS.values():
            runs = [[_reply(_page(server, next(number), size)) for _ in range(calls)] for _ in range(RUNS)]
            times.append(_reply_us(matcher, runs))
        times.append(_reply_us(matcher, [[_reply(_page(SERVERS["a new page"], 0, size))] * calls] * RUNS))
        noise = [_reply(random.Random(index).randbytes(size)) for index in range(calls)]
        times.append(_reply_us(matcher, [noise] * RUNS))
        lines.append(f"| {size} | {' | '.join(f'{time:.1f}' for time in times)} |")
    return lines


def _page(server: Callable[[int], bytes], number: int, size: int) -> bytes:
    """A page of so many bytes behind HTTP's header, which is cut where there is no room; its last bytes are new."""
    head = b"HTTP/1.1 200 OK\r\nServer: %b\r\nContent-Type: text/html\r\n\r\n" % server(number)
    return (head + LINE * (size // len(LINE) + 1))[: size - 8] + b"%08d" % number


def _reply(data: bytes) -> Reply:
    return Reply(
        probe="http/get", step=0, data=data, transport=Transport.TCP, sent={}, message=b"GET / HTTP/1.0\r\n\r\n"
    )


def _reply_us(matcher: Matcher, runs: Sequence[Sequence[Reply]]) -> float:
    """The least of several runs. The bytes are new each time: what a string remembers of itself does not count."""
    best = float("inf")
    for replies in runs:
        fresh = [replace(reply, data=bytes(bytearray(reply.data))) for reply in replies]
        started = time.process_time()
        for reply in fresh:
            matcher.reply(reply)
        best = min(best, (time.process_time() - started) / len(replies))
    return best * 1e6
