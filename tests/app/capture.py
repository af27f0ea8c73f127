"""Writes a small capture: one TCP connection from 127.0.0.1, only what its initiator says."""

import struct
from ipaddress import IPv4Address


def conversation(address: str, port: int, says: list[bytes]) -> bytes:
    """A classic pcap of raw IPv4: SYN, then a segment each."""
    records = [_segment(address, port, 0x02, 999, b"")]
    sequence = 1000
    for data in says:
        records.append(_segment(address, port, 0x18, sequence, data))
        sequence += len(data)
    head = struct.pack("<IHHiIII", 0xA1B2C3D4, 2, 4, 0, 0, 65535, 101)
    return head + b"".join(
        struct.pack("<IIII", 1_700_000_000, number * 1000, len(packet), len(packet)) + packet
        for number, packet in enumerate(records)
    )


def _segment(address: str, port: int, flags: int, sequence: int, data: bytes) -> bytes:
    tcp = struct.pack("!HHIIBBHHH", 40001, port, sequence, 0, 0x50, flags, 65535, 0, 0) + data
    ends = IPv4Address("127.0.0.1").packed + IPv4Address(address).packed
    return struct.pack("!BBHHHBBH", 0x45, 0, 20 + len(tcp), 0, 0, 64, 6, 0) + ends + tcp
