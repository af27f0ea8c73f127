"""Matching one payload against all signatures."""

from __future__ import annotations

import random
import time
from collections.abc import Sequence
from dataclasses import replace

from flowsonar.app.parts import Parts
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
HEAD = b"HTTP/1.1 200 OK\r\nServer: nginx/1.22.1\r\nContent-Type: text/html\r\n\r\n"
LINE = b"<p>some words of a page, <a href='/more'>with a link</a></p>\n"


def matching() -> list[str]:
    """The table, as Markdown lines: CPU time a call, best of five."""
    matcher = Parts.load(Settings()).matcher
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
    """Replies of growing size against the whole database: the very same again, and each one new."""
    lines = [
        "| bytes of a reply | a new page, microseconds | the same page again | new random bytes |",
        "|---|---|---|---|",
    ]
    for size in SIZES:
        page = (HEAD + LINE * (size // len(LINE) + 1))[:size]
        calls = max(200, 2_000_000 // (size + 100))
        pages = [_reply(page[:-8] + b"%08d" % index) for index in range(calls)]
        noise = [_reply(random.Random(index).randbytes(size)) for index in range(calls)]
        times = [_reply_us(matcher, replies) for replies in (pages, pages[:1] * calls, noise)]
        lines.append(f"| {size} | {times[0]:.1f} | {times[1]:.1f} | {times[2]:.1f} |")
    return lines


def _reply(data: bytes) -> Reply:
    return Reply(
        probe="http/get", step=0, data=data, transport=Transport.TCP, sent={}, message=b"GET / HTTP/1.0\r\n\r\n"
    )


def _reply_us(matcher: Matcher, replies: Sequence[Reply]) -> float:
    """The bytes are new each time: what a string remembers of itself does not count."""
    best = float("inf")
    for _ in range(5):
        fresh = [replace(reply, data=bytes(bytearray(reply.data))) for reply in replies]
        started = time.process_time()
        for reply in fresh:
            matcher.reply(reply)
        best = min(best, time.process_time() - started)
    return best / len(replies) * 1e6
