"""The records of captures with the fast lane and without it, and captures made packet by packet."""

import struct
from ipaddress import IPv4Address
from pathlib import Path
from tempfile import TemporaryDirectory

from flowsonar.app import Reading
from flowsonar.app.parts import Parts
from flowsonar.outputs.decode import records
from flowsonar.outputs.eve import encode
from tests.app.rows import row


def written(
    captures: list[Path], parts: Parts, *, lanes: bool, cache: Path | None = None
) -> tuple[list[bytes], dict[str, int]]:
    reading = Reading(captures, parts=parts, cache=cache)
    lines: list[bytes] = []
    if lanes:
        for ended in reading.lines():
            for one in ended:
                lines += one.splitlines(keepends=True) if isinstance(one, bytes) else [encode(one)]
    else:
        lines = [encode(record) for record in reading]
    return lines, reading.counters


def same(captures: list[Path], parts: Parts) -> dict[str, int]:
    """Compare what the fast lane writes when it knows nothing, and when it was taught before, with the reference."""
    slow, _ = written(captures, parts, lanes=False)
    rows = [row(record) for record in Reading(captures, parts=parts)]
    with TemporaryDirectory() as folder:
        fast, counters = written(captures, parts, lanes=True, cache=Path(folder))
        taught, again = written(captures, parts, lanes=True, cache=Path(folder))
        whole = Reading(captures, parts=parts, cache=Path(folder)).lines(whole=True)
        assert [row(record) for ended in whole for record in records(ended)] == rows
    for lines in (fast, taught):
        assert len(lines) == len(slow)
        for one, other in zip(lines, slow, strict=True):
            assert one == other
    assert again["lane_flows"] >= counters["lane_flows"]
    assert counters["flows"] == sum(b'"reason":"active"' not in line for line in fast)
    return {**counters, "taught_flows": again["lane_flows"]}


class Net:
    """Writes a capture packet by packet; the clock goes on by itself."""

    def __init__(self) -> None:
        self._packets: list[bytes] = []
        self.now_us = 1_700_000_000_000_000

    def packet(self, protocol: int, source: str, destination: str, body: bytes) -> None:
        ends = IPv4Address(source).packed + IPv4Address(destination).packed
        head = struct.pack("!BBHHHBBH", 0x45, 0, 20 + len(body), 0, 0, 64, protocol, 0)
        self.raw(head + ends + body)

    def raw(self, data: bytes) -> None:
        seconds, rest = divmod(self.now_us, 1_000_000)
        self._packets.append(struct.pack("<IIII", seconds, rest, len(data), len(data)) + data)
        self.now_us += 777

    def udp(self, source: tuple[str, int], destination: tuple[str, int], data: bytes) -> None:
        body = struct.pack("!HHHH", source[1], destination[1], 8 + len(data), 0) + data
        self.packet(17, source[0], destination[0], body)

    def tcp(
        self, source: tuple[str, int], destination: tuple[str, int], flags: int, sequence: int, ack: int, data: bytes
    ) -> None:
        head = struct.pack("!HHIIBBHHH", source[1], destination[1], sequence, ack, 0x50, flags, 65535, 0, 0)
        self.packet(6, source[0], destination[0], head + data)

    def conversation(
        self, client: tuple[str, int], server: tuple[str, int], says: list[tuple[int, bytes]], *, syn: bool = True
    ) -> None:
        """Segments in turn: who (0 the client) and what."""
        ends = (client, server)
        numbers = [1000, 5000]
        if syn:
            self.tcp(client, server, 0x02, 999, 0, b"")
            self.tcp(server, client, 0x12, 4999, 1000, b"")
        for who, data in says:
            self.tcp(ends[who], ends[1 - who], 0x18, numbers[who], numbers[1 - who], data)
            numbers[who] += len(data)

    def write(self, path: Path) -> Path:
        head = struct.pack("<IHHiIII", 0xA1B2C3D4, 2, 4, 0, 0, 65535, 101)
        path.write_bytes(head + b"".join(self._packets))
        return path
