"""What the other tools print is read as flows with names."""

from __future__ import annotations

import struct
from pathlib import Path

from lab.hidden import others

WHERE = others.key("tcp", ("10.0.0.1", 40000), ("10.0.0.2", 6881))


def test_ndpi() -> None:
    text = "protocol,src_ip,src_port,dst_ip,dst_port,ndpi_proto\nTCP,x\n6,10.0.0.1,40000,10.0.0.2,6881,BitTorrent\n"
    assert others.parse_ndpi(text) == {WHERE: "BitTorrent"}


def test_nfstream() -> None:
    lines = [
        'no json\n[6, "10.0.0.1", 40000, "10.0.0.2", 6881, "Unknown", 0]',
        '[6, "10.0.0.2", 6881, "10.0.0.1", 40000, "BitTorrent", 1]',
        '[1, "10.0.0.2", 0, "10.0.0.1", 0, "ICMP", 1]',
    ]
    assert others.parse_nfstream("\n".join(lines)) == {WHERE: "BitTorrent"}


def test_tshark() -> None:
    head = "10.0.0.1\t10.0.0.2\t40000\t6881\t\t\t"
    lines = [
        f"{head}eth:ethertype:ip:tcp",
        f"{head}eth:ethertype:ip:tcp:bittorrent",
        f"{head}eth:ethertype:ip:tcp:data",
    ]
    assert others.parse_tshark("\n".join([*lines, "short"])) == {WHERE: "bittorrent"}


def test_names_mean_bittorrent_nothing_or_something_else() -> None:
    assert [others.right(name) for name in ("BitTorrent", "bt-dht", "", "Unknown", "RTP")] == [
        True,
        True,
        None,
        None,
        False,
    ]
    assert others.count({WHERE: "BitTorrent"}, [WHERE, others.key("udp", ("a", 1), ("b", 2))]) == (1, 0, 1)


def test_flows_are_counted_from_the_packets(tmp_path: Path) -> None:
    def packet(payload: bytes) -> bytes:
        tcp = struct.pack("!HHIIBBHHH", 40000, 6881, 1, 1, 0x50, 0x18, 1, 0, 0) + payload
        ip = struct.pack("!BBHHHBBH", 0x45, 0, 20 + len(tcp), 0, 0, 64, 6, 0) + bytes([10, 0, 0, 1, 10, 0, 0, 2])
        frame = bytes(12) + b"\x08\x00" + ip + tcp
        return struct.pack("<IIII", 0, 0, len(frame), len(frame)) + frame

    head = struct.pack("<IHHiIII", 0xA1B2C3D4, 2, 4, 0, 0, 65535, 1)
    file = tmp_path / "flows.pcap"
    file.write_bytes(head + packet(b"") + packet(b"12345") + b"cut")
    found = others.talks(file)
    assert {where: talk.payload for where, talk in found.items()} == {WHERE: 5}
