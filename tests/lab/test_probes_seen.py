"""Counting what was sent from a capture."""

import socket
import struct

import pytest
from lab.probes_seen import capture_command, count, packets


def _ip(target: str, protocol: int, body: bytes) -> bytes:
    if ":" in target:
        head = struct.pack("!IHBB", 6 << 28, len(body), protocol, 64) + bytes(16)
        return head + socket.inet_pton(socket.AF_INET6, target) + body
    return (
        struct.pack("!BBHIBBH4s", 0x45, 0, 20 + len(body), 0, 64, protocol, 0, bytes(4))
        + socket.inet_aton(target)
        + body
    )


def _tcp(source: int, port: int, flags: int) -> bytes:
    return struct.pack("!HHIIBBHI", source, port, 0, 0, 0x50, flags, 0, 0)


def _pcap(frames: list[bytes], linktype: int = 276) -> bytes:
    head = struct.pack("<IHHiIII", 0xA1B2C3D4, 2, 4, 0, 0, 128, linktype)
    return head + b"".join(
        struct.pack("<IIII", 0, 0, len(frame) + 20, len(frame) + 20) + bytes(20) + frame for frame in frames
    )


STREAM = [
    _ip("192.0.2.1", 6, _tcp(1000, 80, 0x02)),
    _ip("192.0.2.1", 6, _tcp(1000, 80, 0x02)),  # sent again: the same connection
    _ip("192.0.2.1", 6, _tcp(1000, 80, 0x10)),
    _ip("192.0.2.1", 6, _tcp(1001, 80, 0x02)),
    _ip("192.0.2.1", 6, _tcp(1002, 80, 0x12)),  # answers a connection of somebody else
    _ip("2001:db8::1", 17, struct.pack("!HHHH", 5, 53, 8, 0)),
    _ip("2001:db8::1", 17, struct.pack("!HHHH", 5, 53, 8, 0)),
    _ip("192.0.2.1", 1, bytes(8)),
]


def test_count() -> None:
    sent = count(packets(_pcap(STREAM)))
    assert set(sent) == {("tcp", "192.0.2.1", 80), ("udp", "2001:db8::1", 53)}
    tcp, udp = sent["tcp", "192.0.2.1", 80], sent["udp", "2001:db8::1", 53]
    assert (tcp.packets, tcp.tries) == (5, 2)
    assert (udp.packets, udp.tries) == (2, 2)


def test_a_capture_cut_anywhere_gives_what_is_whole() -> None:
    whole = _pcap(STREAM)
    counts = [sum(sent.packets for sent in count(packets(whole[:end])).values()) for end in range(len(whole) + 1)]
    assert counts == sorted(counts)
    assert counts[-1] == 7


def test_short_packets_are_passed_over() -> None:
    assert count([b"", b"\x45", _ip("192.0.2.1", 6, b"\0\1")]) == {}


def test_another_link_type_is_told() -> None:
    with pytest.raises(ValueError, match="SLL2"):
        list(packets(_pcap(STREAM, linktype=1)))


def test_the_capture_asks_for_all_addresses() -> None:
    assert (
        capture_command(__import__("pathlib").Path("f"), {"b", "a"})[-1]
        == "(tcp or udp) and (src host a or src host b)"
    )
