"""Frames for the flow tables' tests: a few builders of headers, and blocks of them."""

import struct
from collections.abc import Iterable
from typing import NamedTuple

from flowsonar.model import Block

FIN, SYN, RST, PSH, ACK = 1, 2, 4, 8, 16
SECOND = 1_000_000_000
START = 1_700_000_000 * SECOND
CLIENT, SERVER = bytes([10, 0, 0, 1]), bytes([10, 0, 0, 2])
CLIENT6, SERVER6 = bytes.fromhex("fd00" + "00" * 13 + "01"), bytes.fromhex("fd00" + "00" * 13 + "02")


class Frame(NamedTuple):
    data: bytes
    time_ns: int = START
    wire: int | None = None
    linktype: int = 1
    interface: int = 0


def block(frames: Iterable[Frame]) -> Block:
    data, entries = bytearray(), bytearray()
    for frame in frames:
        wire = len(frame.data) if frame.wire is None else frame.wire
        entries += struct.pack(
            "<QIIIHH", frame.time_ns, len(data), len(frame.data), wire, frame.linktype, frame.interface
        )
        data += frame.data
    return Block(bytes(data), bytes(entries))


def ethernet(payload: bytes, ethertype: int = 0x0800) -> bytes:
    return bytes(range(12)) + struct.pack(">H", ethertype) + payload


def ipv4(
    payload: bytes,
    protocol: int,
    source: bytes = CLIENT,
    destination: bytes = SERVER,
    *,
    identification: int = 1,
    fragment: int = 0,
    options: bytes = b"",
    total: int | None = None,
) -> bytes:
    header = 20 + len(options)
    total = header + len(payload) if total is None else total
    first = struct.pack(">BBHHHBBH", 0x40 | header // 4, 0, total, identification, fragment, 64, protocol, 0)
    return first + source + destination + options + payload


def ipv6(
    payload: bytes,
    protocol: int,
    source: bytes = CLIENT6,
    destination: bytes = SERVER6,
    *,
    length: int | None = None,
) -> bytes:
    length = len(payload) if length is None else length
    return struct.pack(">IHBB", 6 << 28, length, protocol, 64) + source + destination + payload


def udp(payload: bytes = b"", source: int = 1000, destination: int = 53, *, length: int | None = None) -> bytes:
    length = 8 + len(payload) if length is None else length
    return struct.pack(">HHHH", source, destination, length, 0) + payload


def tcp(
    flags: int,
    sequence: int = 0,
    ack: int = 0,
    payload: bytes = b"",
    source: int = 1000,
    destination: int = 80,
    *,
    options: bytes = b"",
) -> bytes:
    offset = (20 + len(options)) // 4 << 4
    sequence, ack = sequence & 0xFFFFFFFF, ack & 0xFFFFFFFF
    return struct.pack(">HHIIBBHHH", source, destination, sequence, ack, offset, flags, 1024, 0, 0) + options + payload


class Conversation:
    """One TCP connection between CLIENT and SERVER; `frames` is the list of what was seen."""

    def __init__(self, *, client_start: int = 1000, server_start: int = 5000, port: int = 1000) -> None:
        self.frames: list[Frame] = []
        self.next = [client_start, server_start]
        self.port = port
        self.time_ns = START

    def segment(self, direction: int, flags: int, payload: bytes = b"", *, at: int | None = None) -> None:
        """Send from the client (0) or the server (1); `at` is a sequence number that is not the next one."""
        sequence = self.next[direction] if at is None else at
        ports = (self.port, 80) if direction == 0 else (80, self.port)
        addresses = (CLIENT, SERVER) if direction == 0 else (SERVER, CLIENT)
        header = tcp(flags, sequence, self.next[1 - direction] if flags & ACK else 0, payload, *ports)
        self.frames.append(Frame(ethernet(ipv4(header, 6, *addresses)), self.time_ns))
        if at is None:
            self.next[direction] += len(payload) + bool(flags & SYN) + bool(flags & FIN)
        self.time_ns += 1_000_000

    def handshake(self) -> None:
        self.segment(0, SYN)
        self.segment(1, SYN | ACK)
        self.segment(0, ACK)

    def goodbye(self) -> None:
        self.segment(0, FIN | ACK)
        self.segment(1, FIN | ACK)
        self.segment(0, ACK)
