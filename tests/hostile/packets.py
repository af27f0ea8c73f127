"""Frames for a wire, made here byte by byte."""

from __future__ import annotations

import random
import socket
import struct

MACS = bytes.fromhex("020000000001020000000002")


def sum16(data: bytes) -> int:
    """The Internet checksum (RFC 1071)."""
    total = sum(struct.unpack(f"!{len(data) // 2}H", data)) if len(data) % 2 == 0 else sum16(data + b"\0") ^ 0xFFFF
    while total >> 16:
        total = (total & 0xFFFF) + (total >> 16)
    return total ^ 0xFFFF


def ipv4(source: str, target: str, protocol: int, body: bytes) -> bytes:
    """An Ethernet frame with an IPv4 packet."""
    ends = socket.inet_aton(source) + socket.inet_aton(target)
    header = struct.pack("!BBHHHBBH", 0x45, 0, 20 + len(body), 0, 0x4000, 64, protocol, 0) + ends
    header = header[:10] + struct.pack("!H", sum16(header)) + header[12:]
    return MACS + b"\x08\x00" + header + body


def tcp(source: tuple[str, int], target: tuple[str, int], *, flags: int, sequence: int = 1, data: bytes = b"") -> bytes:
    """A frame with a TCP segment (RFC 9293 section 3.1); its checksum is left open."""
    segment = struct.pack("!HHIIBBHHH", source[1], target[1], sequence, 1, 0x50, flags, 65535, 0, 0) + data
    return ipv4(source[0], target[0], 6, segment)


def udp(source: tuple[str, int], target: tuple[str, int], data: bytes) -> bytes:
    """A frame with a UDP datagram."""
    return ipv4(source[0], target[0], 17, struct.pack("!HHHH", source[1], target[1], 8 + len(data), 0) + data)


def mangled(frame: bytes, chance: random.Random) -> bytes:
    """A frame with some of its bytes changed, cut or doubled."""
    changed = bytearray(frame)
    for _ in range(chance.randrange(1, 8)):
        changed[chance.randrange(len(changed))] = chance.randrange(256)
    kind = chance.randrange(4)
    if kind == 0:
        return bytes(changed[: chance.randrange(14, len(changed))])
    if kind == 1:
        return (bytes(changed) * 2)[:1500]
    return bytes(changed)
