"""What left the gateway on its own account: counted from a capture, not from what flowsonar says of itself."""

from __future__ import annotations

import ipaddress
import struct
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

__all__ = ["Sent", "capture_command", "count", "packets"]

_LINUX_SLL2 = 276  # tcpdump.org/linktypes: what `-i any` gives
_SLL2_HEADER = 20
_SYN, _ACK = 0x02, 0x10


@dataclass(slots=True)
class Sent:
    """What was sent to one endpoint."""

    packets: int = 0
    ports: set[int] = field(default_factory=set)
    """Source ports of TCP connections that were begun."""
    datagrams: int = 0
    """UDP datagrams."""

    @property
    def tries(self) -> int:
        """Connections or datagrams: what the figure to reach counts."""
        return len(self.ports) + self.datagrams


def capture_command(file: Path, addresses: Iterable[str]) -> list[str]:
    """The tcpdump that keeps what these addresses send by TCP and UDP."""
    sources = " or ".join(f"src host {address}" for address in sorted(addresses))
    snap = "128"  # headers are enough
    return ["tcpdump", "-i", "any", "-n", "-U", "-s", snap, "-w", str(file), f"(tcp or udp) and ({sources})"]


def packets(data: bytes) -> Iterator[bytes]:
    """IP packets of a pcap file in SLL2; ends quietly where the file was cut."""
    if len(data) < 24:
        return
    order = "<" if data[:4] in {b"\xd4\xc3\xb2\xa1", b"\x4d\x3c\xb2\xa1"} else ">"
    if struct.unpack_from(order + "I", data, 20)[0] & 0xFFFF != _LINUX_SLL2:
        raise ValueError("the capture of what was sent is not in SLL2")
    position = 24
    while position + 16 <= len(data):
        length = struct.unpack_from(order + "I", data, position + 8)[0]
        position += 16
        if position + length > len(data):
            return
        yield data[position + _SLL2_HEADER : position + length]
        position += length


def count(stream: Iterable[bytes]) -> dict[tuple[str, str, int], Sent]:
    """What was sent to each (transport, address, port)."""
    found: dict[tuple[str, str, int], Sent] = {}
    for packet in stream:
        if len(packet) < 20:
            continue
        if packet[0] >> 4 == 4:
            protocol, target, start = packet[9], packet[16:20], (packet[0] & 15) * 4
        else:
            protocol, target, start = packet[6], packet[24:40], 40
        if protocol not in {6, 17} or len(packet) < start + 8:
            continue
        source_port, port = struct.unpack_from("!HH", packet, start)
        key = ("tcp" if protocol == 6 else "udp", str(ipaddress.ip_address(target)), port)
        sent = found.setdefault(key, Sent())
        sent.packets += 1
        if protocol == 17:
            sent.datagrams += 1
        elif len(packet) > start + 13 and packet[start + 13] & (_SYN | _ACK) == _SYN:
            sent.ports.add(source_port)
    return found
