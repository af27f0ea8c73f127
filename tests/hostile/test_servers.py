"""Hostile servers against `probe`: every one gets its record in time, memory stays small, nothing is believed."""

from __future__ import annotations

import socket
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.hostile import servers
from tests.hostile.running import Running
from tests.hostile.servers import Behaviour, Farm, farm

BUDGET = """
[budget]
rate = 10000.0
burst = 10000
per_host_rate = 10000.0
per_host_burst = 10000
per_prefix_rate = 10000.0
per_prefix_burst = 10000
per_host_parallel = 256
"""
MEMORY_MIB = 250
HELLO = servers.server_hello()
TEXT = "Ünïcödé ЖЖ 漢字 \u202e\u200b\ufeff"

TCP: dict[str, Behaviour] = {
    "silent": servers.silent,
    "deaf": servers.deaf,
    "closes": lambda connection: None,
    "echo": servers.echoing,
    "random": servers.random_bytes,
    "zeros flood": servers.flooding(bytes(65536)),
    "line flood": servers.flooding(b"220 more\r\n" * 6000),
    "continuation flood": servers.flooding(b"220-more\r\n" * 6000),
    "one line flood": servers.flooding(b"A" * 65536),
    "http header flood": servers.flooding(b"HTTP/1.1 200 OK\r\n" + b"X-Y: z\r\n" * 5000),
    "escape flood": servers.flooding(b"\x1b[2J\x1b]0;title\x07\x9b31m" * 3000),
    "drip of zeros": servers.dripping(bytes(4), 0.02),
    "drip of http": servers.dripping(b"HTTP/1.1 200 OK\r\nServer: slow\r\n\r\n", 0.05),
    "drip of tls": servers.dripping(servers.record(22, HELLO), 0.05),
    "drip of banner": servers.dripping(b"220 ", 0.05),
    "ten megabytes": servers.answering(b"x" * 10_000_000),
    "ten megabytes of http": servers.answering(
        b"HTTP/1.1 200 OK\r\nContent-Length: 10000000\r\n\r\n" + bytes(10_000_000)
    ),
    "bytes one by one": servers.dripping(bytes(range(256)), 0.001),
    "reset at once": servers.resetting(),
    "reset after a greeting": servers.resetting(b"220 hello\r\n"),
    "reset after hearing one byte": servers.resetting(heard=1),
    "reset in an answer": servers.resetting(b"HTTP/1.1 200 OK\r\nSer", heard=10),
    "half a number": servers.answering(b"HTTP/1.1 2"),
    "endless number": servers.answering(b"HTTP/1.1 200 OK\r\nContent-Length: " + b"9" * 60000 + b"\r\n\r\n"),
    "nul": servers.saying(b"\0"),
    "only line ends": servers.saying(b"\r\n" * 30000),
    **{
        f"text in {encoding}": servers.saying(("220 " + TEXT + "\r\n").encode(encoding, "replace"))
        for encoding in ("utf-8", "utf-16", "utf-32", "latin-1", "shift_jis", "koi8-r", "gb18030", "cp037", "utf-7")
    },
    "all bytes": servers.answering(bytes(range(256)) * 4),
    "invalid utf-8": servers.saying(b"SSH-2.0-\xff\xfe\xc3\x28\r\n"),
    "tls alert": servers.answering(servers.record(21, b"\x02\x28")),
    "tls warnings for ever": servers.flooding(servers.record(21, b"\x01\x00") * 2000),
    "tls of no length": servers.flooding(servers.record(22, b"") * 3000),
    "tls of most length": servers.after_hello(b"\x16\x03\x03\xff\xff" + bytes(65535)),
    "tls reset after hello": servers.after_hello(b"", reset=True),
    "tls end after hello": servers.after_hello(b"", end=True),
    "tls hello, then silence": servers.after_hello(servers.record(22, HELLO)),
    "tls hello, then end": servers.after_hello(servers.record(22, HELLO), end=True),
    "tls hello, then reset": servers.after_hello(servers.record(22, HELLO), reset=True),
    "tls hello cut": servers.after_hello(servers.record(22, HELLO)[:30], end=True),
    "tls hello of a strange cipher": servers.after_hello(servers.record(22, servers.server_hello(cipher=0xFFFE))),
    "tls hello that lies": servers.after_hello(servers.record(22, b"\x02\xff\xff\xff" + bytes(100))),
    "tls certificate of a megabyte": servers.after_hello(
        servers.record(22, HELLO) + servers.records(servers.certificate(1 << 20))
    ),
    "tls certificate of ten": servers.after_hello(
        servers.record(22, HELLO) + servers.records(servers.certificate(10 << 20))
    ),
    "tls nonsense certificate": servers.after_hello(
        servers.record(22, HELLO + servers.certificate(900) + b"\x0e\x00\x00\x00")
    ),
    "tls data at once": servers.after_hello(servers.record(23, bytes(1000)) * 100),
    "tls change of cipher for ever": servers.after_hello(servers.record(20, b"\x01") * 100_000),
    "tls hello request": servers.after_hello(servers.record(22, bytes(4)) * 1000),
    "tls retry for ever": servers.after_hello(
        servers.record(22, servers.server_hello(cipher=0x1301, extensions=b"\0\x2b\0\x02\x03\x04")) * 500
    ),
}


@pytest.fixture
def config(tmp_path: Path) -> Path:
    path = tmp_path / "flowsonar.toml"
    path.write_text(BUDGET, encoding="ascii")
    return path


@pytest.fixture
def bad() -> Iterator[Farm]:
    with farm() as made:
        yield made


def probed(home: Path, config: Path, ports: dict[str, int], *, suffix: str = "") -> dict[str, dict[str, Any]]:
    targets = [f"127.0.0.1:{port}{suffix}" for port in ports.values()]
    with Running(home, "probe", "--json", "--config", config, *targets) as running:
        for port in ports.values():
            running.await_line(rb'"dest_port":%d\b' % port)
        peak_mib = running.peak_mib()
        assert running.end() == 0
    assert peak_mib < MEMORY_MIB
    by_port = {record["dest_port"]: record for record in running.records()}
    assert len(running.records()) == len(ports)
    return {name: by_port[port] for name, port in ports.items()}


def test_every_bad_server_gets_its_record(tmp_path: Path, config: Path, bad: Farm) -> None:
    ports = {name: bad.tcp(behaviour) for name, behaviour in TCP.items()}
    records = probed(tmp_path, config, ports)
    for name, record in records.items():
        sonar = record["flowsonar"]
        assert bad.asked[ports[name]] <= 5 + 60, name
        assert sonar["verdict_ms"] < 6000, (name, sonar["verdict_ms"])
        if sonar["confidence"] == "confirmed":
            allowed = {"tls"} if "tls" in name else {"http", "echo", "ssh"}
            assert record["app_proto"] in allowed, (name, sonar)
    assert records["silent"]["app_proto"] == "unknown"
    assert records["random"]["app_proto"] == "unknown"
    assert records["zeros flood"]["app_proto"] == "unknown"


def elsewhere(answer: bytes) -> Callable[[socket.socket, bytes, object], None]:
    """Answers from another address and from another port than was asked."""

    def reply(_: socket.socket, data: bytes, source: object) -> None:
        for address in ("127.0.0.2", "127.0.0.1"):
            with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as other:
                other.bind((address, 0))
                other.sendto(answer or data, source)  # type: ignore[arg-type]

    return reply


def repeating(answer: bytes, times: int) -> Callable[[socket.socket, bytes, object], None]:
    def reply(listener: socket.socket, data: bytes, source: object) -> None:
        for _ in range(times):
            listener.sendto(answer or data, source)  # type: ignore[arg-type]

    return reply


UDP = {
    "elsewhere": elsewhere(b""),
    "flood": repeating(bytes(1400), 3000),
    "echo flood": repeating(b"", 500),
    "empty": repeating(b"", 0),
    "large": repeating(bytes(60000), 20),
    "of no length": lambda listener, data, source: listener.sendto(b"", source),
    "dns of compression loops": repeating(b"\0\0\x81\x80\0\x01\0\x01\0\0\0\0\xc0\x0c\0\x10\0\x03\xc0\x0c", 3),
}


def test_every_bad_datagram_server_gets_its_record(tmp_path: Path, config: Path, bad: Farm) -> None:
    ports = {name: bad.udp(answer) for name, answer in UDP.items()}
    records = probed(tmp_path, config, ports, suffix="/udp")
    for name, record in records.items():
        assert bad.asked[ports[name]] <= 60, name
        assert record["flowsonar"]["confidence"] != "confirmed" or record["app_proto"] == "echo", (name, record)
    assert records["elsewhere"]["app_proto"] == "unknown"


def test_what_a_server_says_cannot_command_the_terminal(tmp_path: Path, config: Path, bad: Farm) -> None:
    evil = b"\x1b[2J\x1b]0;owned\x07\x9b31m\x08\x7f\r\xc2\x9b\xe2\x80\xae"
    ports = [
        bad.tcp(servers.saying(b"SSH-2.0-Open" + evil + b"SSH_9.9\r\n")),
        bad.tcp(servers.answering(b"HTTP/1.1 200 OK\r\nServer: ng" + evil + b"inx\r\nContent-Length: 0\r\n\r\n")),
        bad.tcp(servers.saying(b"220 " + evil + b" FTP\r\n")),
        bad.tcp(servers.saying(evil)),
    ]
    with Running(tmp_path, "probe", "--config", config, *[f"127.0.0.1:{port}" for port in ports]) as running:
        assert running.end() == 0
    with Running(tmp_path, "explain", "127.0.0.1") as explained:
        assert explained.end() == 0
    for text in (running.output, explained.output, running.errors, explained.errors):
        shown = text.decode("utf-8")
        assert not {char for char in shown if (not char.isprintable() and char != "\n")}, shown
