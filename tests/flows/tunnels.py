"""Tunnels for the flow tables' tests: what each of them puts around a packet."""

import struct

from tests.flows.frames import ethernet, ipv4, ipv6, udp

A, B, C = bytes([192, 0, 2, 1]), bytes([192, 0, 2, 2]), bytes([192, 0, 2, 3])
A6, B6 = bytes.fromhex("20010db8" + "00" * 11 + "01"), bytes.fromhex("20010db8" + "00" * 11 + "02")


def ip(payload: bytes, protocol: int, source: bytes, destination: bytes) -> bytes:
    return (ipv4 if len(source) == 4 else ipv6)(payload, protocol, source, destination)


def ethertype_of(packet: bytes) -> int:
    return 0x0800 if packet[0] >> 4 == 4 else 0x86DD


def in_ip(packet: bytes, source: bytes = A, destination: bytes = B) -> bytes:
    return ip(packet, 4 if packet[0] >> 4 == 4 else 41, source, destination)


def gre(
    packet: bytes, source: bytes = A, destination: bytes = B, *, key: int | None = None, checksum: bool = False,
    sequence: bool = False, kind: int | None = None,
) -> bytes:  # fmt: skip
    flags = 0x8000 * checksum | 0x2000 * (key is not None) | 0x1000 * sequence
    header = struct.pack(">HH", flags, ethertype_of(packet) if kind is None else kind) + bytes(4 * checksum)
    header += b"" if key is None else struct.pack(">I", key)
    return ip(header + bytes(4 * sequence) + packet, 47, source, destination)


def pptp(packet: bytes, source: bytes = A, destination: bytes = B, *, call: int = 7, ack: bool = False) -> bytes:
    ppp = b"\xff\x03\x00\x21" + packet
    header = struct.pack(">HHHHI", 0x3081 if ack else 0x3001, 0x880B, len(ppp), call, 1) + bytes(4 * ack)
    return ip(header + ppp, 47, source, destination)


def vxlan(packet: bytes, source: bytes = A, destination: bytes = B, *, vni: int = 100, port: int = 4789) -> bytes:
    header = struct.pack(">II", 0x08000000, vni << 8)
    return ip(udp(header + ethernet(packet, ethertype_of(packet)), 50000, port), 17, source, destination)


def geneve(packet: bytes, source: bytes = A, destination: bytes = B, *, vni: int = 100, options: int = 0) -> bytes:
    header = struct.pack(">BBHI", options, 0, 0x6558, vni << 8) + bytes(4 * options)
    return ip(udp(header + ethernet(packet, ethertype_of(packet)), 50000, 6081), 17, source, destination)


def gtp(
    packet: bytes, source: bytes = A, destination: bytes = B, *, teid: int = 1, extended: bool = False,
    length: int | None = None,
) -> bytes:  # fmt: skip
    more = bytes.fromhex("0000 00 85 01 100f 00") if extended else b""
    length = len(more) + len(packet) if length is None else length
    header = struct.pack(">BBHI", 0x34 if extended else 0x30, 0xFF, length, teid) + more
    return ip(udp(header + packet, 2152, 2152), 17, source, destination)


def teredo(
    packet: bytes, source: bytes = A, destination: bytes = B, *, origin: bool = False, auth: bool = False
) -> bytes:
    header = (bytes([0, 1, 0, 0]) + bytes(9)) * auth + bytes(8) * origin
    return ip(udp(header + packet, 50000, 3544), 17, source, destination)


def l2tp(packet: bytes, source: bytes = A, destination: bytes = B, *, session: int = 5, full: bool = False) -> bytes:
    ppp = b"\xff\x03" + (b"\x00\x21" if packet[0] >> 4 == 4 else b"\x00\x57") + packet
    if not full:
        return ip(udp(struct.pack(">HHH", 0x0002, 1, session) + ppp, 1701, 1701), 17, source, destination)
    header = struct.pack(">HHHHIH", 0x4A02, 16 + len(ppp), 1, session, 0, 2) + b"\0\0"
    return ip(udp(header + ppp, 1701, 1701), 17, source, destination)


def etherip(packet: bytes, source: bytes = A, destination: bytes = B) -> bytes:
    return ip(b"\x30\x00" + ethernet(packet, ethertype_of(packet)), 97, source, destination)


def mpls(packet: bytes, source: bytes = A, destination: bytes = B) -> bytes:
    return ip(bytes.fromhex("00065140") + packet, 137, source, destination)


INNER = ipv4(udp(b"inner", 1000, 53), 17)
INNER6 = ipv6(udp(b"inner", 1000, 53), 17)

TUNNELS = [
    ("ipip", in_ip(INNER), "ipip 192.0.2.1 > 192.0.2.2"),
    ("6in4", in_ip(INNER6), "6in4 192.0.2.1 > 192.0.2.2"),
    ("4in6", in_ip(INNER, A6, B6), "4in6 2001:db8::1 > 2001:db8::2"),
    ("6in6", in_ip(INNER6, A6, B6), "6in6 2001:db8::1 > 2001:db8::2"),
    ("gre", gre(INNER), "gre 192.0.2.1 > 192.0.2.2"),
    ("gre-full", gre(INNER6, key=7, checksum=True, sequence=True), "gre 192.0.2.1 > 192.0.2.2 7"),
    ("gre-ethernet", gre(ethernet(INNER), kind=0x6558, key=9), "gre 192.0.2.1 > 192.0.2.2 9"),
    ("gre-6", gre(INNER, A6, B6, key=7), "gre 2001:db8::1 > 2001:db8::2 7"),
    ("pptp", pptp(INNER), "pptp 192.0.2.1 > 192.0.2.2 7"),
    ("pptp-ack", pptp(INNER, ack=True), "pptp 192.0.2.1 > 192.0.2.2 7"),
    ("vxlan", vxlan(INNER), "vxlan 192.0.2.1 > 192.0.2.2 100"),
    ("vxlan-linux", vxlan(INNER6, port=8472), "vxlan 192.0.2.1 > 192.0.2.2 100"),
    ("geneve", geneve(INNER), "geneve 192.0.2.1 > 192.0.2.2 100"),
    ("geneve-options", geneve(INNER6, options=3), "geneve 192.0.2.1 > 192.0.2.2 100"),
    ("gtp", gtp(INNER, teid=77), "gtp-u 192.0.2.1 > 192.0.2.2 77"),
    ("gtp-extended", gtp(INNER6, teid=77, extended=True), "gtp-u 192.0.2.1 > 192.0.2.2 77"),
    ("teredo", teredo(INNER6), "teredo 192.0.2.1 > 192.0.2.2"),
    ("teredo-both", teredo(INNER6, origin=True, auth=True), "teredo 192.0.2.1 > 192.0.2.2"),
    ("l2tp", l2tp(INNER), "l2tp 192.0.2.1 > 192.0.2.2 65541"),
    ("l2tp-full", l2tp(INNER6, full=True), "l2tp 192.0.2.1 > 192.0.2.2 65541"),
    ("etherip", etherip(INNER), "etherip 192.0.2.1 > 192.0.2.2"),
    ("mpls", mpls(INNER), "mpls-in-ip 192.0.2.1 > 192.0.2.2"),
]
"""Name, packet, how the hop is called. Inside is always a datagram to port 53."""

AROUND = (in_ip, gre, pptp, vxlan, geneve, gtp, teredo, l2tp, etherip, mpls)
