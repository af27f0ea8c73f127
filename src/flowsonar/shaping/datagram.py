"""UDP datagrams with their IP headers, made and read: what is sent in another's name, what is taken off the path."""

from __future__ import annotations

import ipaddress
import struct
from typing import Final, NamedTuple

from flowsonar.model import Endpoint, Transport

__all__ = ["OURS", "Datagram", "build", "finished", "parse"]

_UDP: Final = 17
_TTL: Final = 64
_NUMBER: Final = 0xF50A
"""Identification (IPv4) or flow label (IPv6) of what is built here; one strange packet in 65,536 has it too."""
OURS: Final = (
    f"(ip[4:2] = {_NUMBER} and ip[8] = {_TTL} and ip[9] = {_UDP})"
    f" or (ip6[0:4] & 0xfffff = {_NUMBER} and ip6[7] = {_TTL} and ip6[6] = {_UDP})"
)
"""In tcpdump's language: what was built here and leaves this machine. It must not be taken for the peer's own."""


class Datagram(NamedTuple):
    """One, with both its ends."""

    source: Endpoint
    destination: Endpoint
    payload: bytes


def _sum(data: bytes) -> int:
    """The Internet checksum (RFC 1071)."""
    if len(data) % 2:
        data += b"\0"
    total: int = sum(struct.unpack(f"!{len(data) // 2}H", data))
    while total >> 16:
        total = (total & 0xFFFF) + (total >> 16)
    return ~total & 0xFFFF


def build(source: Endpoint, destination: Endpoint, payload: bytes) -> bytes:
    """IP and UDP headers and the payload. Both ends are of one family."""
    sender, receiver = ipaddress.ip_address(source.address), ipaddress.ip_address(destination.address)
    length = 8 + len(payload)
    ports = struct.pack("!HHH", source.port, destination.port, length)
    pseudo = sender.packed + receiver.packed + struct.pack("!IHH", length, 0, _UDP)
    check = _sum(pseudo + ports + b"\0\0" + payload) or 0xFFFF
    datagram = ports + struct.pack("!H", check) + payload
    if sender.version == 6:
        return struct.pack("!IHBB", 6 << 28 | _NUMBER, length, _UDP, _TTL) + sender.packed + receiver.packed + datagram
    head = struct.pack("!BBHHHBBH", 0x45, 0, 20 + length, _NUMBER, 0, _TTL, _UDP, 0) + sender.packed + receiver.packed
    return head[:10] + struct.pack("!H", _sum(head)) + head[12:] + datagram


def parse(packet: bytes) -> Datagram | None:
    """What an IP packet carries; None where it is no whole UDP datagram."""
    if len(packet) < 28:
        return None
    version = packet[0] >> 4
    if version == 4:
        at = (packet[0] & 15) * 4
        if at < 20 or packet[9] != _UDP or struct.unpack_from("!H", packet, 6)[0] & 0x3FFF:
            return None  # another protocol, or a fragment
        ends = packet[12:16], packet[16:20]
    elif version == 6 and packet[6] == _UDP:
        at = 40
        ends = packet[8:24], packet[24:40]
    else:
        return None
    if len(packet) < at + 8:
        return None
    source_port, destination_port, length = struct.unpack_from("!HHH", packet, at)
    if length < 8 or at + length > len(packet):
        return None
    source, destination = (str(ipaddress.ip_address(end)) for end in ends)
    return Datagram(
        Endpoint(Transport.UDP, source, source_port),
        Endpoint(Transport.UDP, destination, destination_port),
        packet[at + 8 : at + length],
    )


def finished(packet: bytes) -> bytes:
    """The same datagram with its UDP checksum made: what comes from software beside us may leave that to a card."""
    at = 40 if packet[0] >> 4 == 6 else (packet[0] & 15) * 4
    length, check = struct.unpack_from("!HH", packet, at + 4)
    if not check:  # IPv4 may do without (RFC 768)
        return packet
    addresses = packet[8:40] if packet[0] >> 4 == 6 else packet[12:20]
    pseudo = addresses + struct.pack("!IHH", length, 0, _UDP)
    made = _sum(pseudo + packet[at : at + 6] + b"\0\0" + packet[at + 8 : at + length]) or 0xFFFF
    return packet[: at + 6] + struct.pack("!H", made) + packet[at + 8 :]
