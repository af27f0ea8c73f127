"""Time a message of the codecs, in C and in Python: `python -m bench.codec_speed [CORPUS]`.

The messages are the first payloads of the nDPI corpus that each codec reads: TLS ClientHellos with their JA4, DNS
messages, HTTP requests, and QUIC clients' first Initials with keys, tag, hello and JA4.
"""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

from bench.core_speed import NATIVE, ROOT
from flowsonar.capture.capturefile import open_capture
from flowsonar.config import FlowSettings
from flowsonar.errors import CaptureError, MalformedError
from flowsonar.flows.events import Opened, Payload
from flowsonar.flows.table import make_table
from flowsonar.protocols import dns, http, ja4, quic, quic_keys, tls

__all__ = ["measure_codecs"]

_NAMES = {"t": "TLS ClientHello", "d": "DNS message", "h": "HTTP request", "q": "QUIC client's Initial"}
_PARTS = ("aes", "cpu", "dns", "http", "ja4", "quic", "quic_keys", "sha256", "tls")


def _read_tls(data: bytes) -> bool:
    hello = tls.read_first_flight(data)
    if not isinstance(hello, tls.ClientHello):
        return False
    ja4._ja4.cache_clear()
    return bool(ja4.ja4(hello))


def _read_quic(data: bytes) -> bool:
    quic_keys._secrets.cache_clear()
    initials = quic.Initials()
    for packet in quic.read_packets(data):
        if packet.kind is quic.Kind.INITIAL:
            initials.open(data, packet)
    hello = tls.read_message(initials.crypto[0].head())
    ja4._ja4.cache_clear()
    return isinstance(hello, tls.ClientHello) and bool(ja4.ja4(hello, "q"))


_READ: dict[str, Callable[[bytes], bool]] = {
    "t": _read_tls,
    "d": lambda data: bool(dns.read_message(data)),
    "h": lambda data: bool(http.read_request(data)),
    "q": _read_quic,
}


def _good(codec: str, data: bytes) -> bool:
    try:
        return _READ[codec](data)
    except MalformedError:
        return False


def _payloads(folder: Path) -> list[tuple[str, bytes]]:
    found = []
    for path in sorted(folder.iterdir()):
        table, protocols = make_table(FlowSettings()), {}
        try:
            with open_capture(path) as capture:
                for block in capture:
                    for event in table.feed(block):
                        if isinstance(event, Opened):
                            protocols[event.flow] = event.protocol
                        elif isinstance(event, Payload):
                            codecs = "th" if protocols[event.flow] == 6 else "dq"
                            found += [(codec, event.data) for codec in codecs if _good(codec, event.data)]
        except CaptureError:
            continue
    return found


def measure_codecs(corpus: Path, out: Path) -> list[tuple[str, int, float, float, float | None]]:
    """Give for each codec: name, messages, nanoseconds in C, in Python, in C without the processor's instructions."""
    messages = _payloads(corpus / "ndpi" / "pcap")
    out.mkdir(parents=True, exist_ok=True)
    program = out / "codec_speed"
    sources = [str(NATIVE / f"{part}.c") for part in _PARTS]
    subprocess.run(
        ["cc", "-std=c11", "-O3", f"-I{NATIVE}", str(ROOT / "bench" / "codec_speed.c"), *sources, "-o", str(program)],
        check=True,
    )
    packed = b"".join(codec.encode() + len(data).to_bytes(4, "little") + data for codec, data in messages)
    told = subprocess.run([program], input=packed, capture_output=True, check=True).stdout.decode()
    fast, portable = (dict(_numbers(part)) for part in told.split("portable\n"))
    rows = []
    for codec, name in _NAMES.items():
        own = [data for kind, data in messages if kind == codec]
        count, ns = fast[codec]
        assert count == len(own), "both read the same messages"
        rows.append((name, count, ns, _python_ns(codec, own), portable.get(codec, (0, None))[1]))
    return rows


def _numbers(text: str) -> list[tuple[str, tuple[int, float]]]:
    lines = [line.split() for line in text.splitlines()]
    return [(codec, (int(good), float(ns))) for codec, _, good, ns in lines]


def _python_ns(codec: str, messages: list[bytes]) -> float:
    best = float("inf")
    for _ in range(3):
        start = time.thread_time_ns()
        for data in messages:
            _READ[codec](data)
        best = min(best, (time.thread_time_ns() - start) / len(messages))
    return best


if __name__ == "__main__":
    where = Path(sys.argv[1]) if len(sys.argv) > 1 else ROOT.parent / "shared" / "corpus"
    print(f"{'codec':24} {'messages':>8} {'C ns':>8} {'Python ns':>10} {'ratio':>7} {'portable C ns':>14}")
    for title, count, c_ns, python_ns, plain_ns in measure_codecs(where, ROOT / "bench" / "out"):
        plain = f"{plain_ns:14.0f}" if plain_ns is not None else ""
        print(f"{title:24} {count:8} {c_ns:8.0f} {python_ns:10.0f} {python_ns / c_ns:7.0f} {plain}")
