"""Where the packets are in captured bytes, in plain Python: specification and fallback of framing.c.

Frames come out as `Block.frames` wants them: 24 little-endian bytes an entry. Problems come out as numbers; `framing`
gives them their sentences.
"""

from __future__ import annotations

import struct

__all__ = [
    "MAX_BLOCK",
    "MAX_CAPTURED",
    "PROBLEM_BLOCK",
    "PROBLEM_CAPTURED",
    "PROBLEM_INTERFACE",
    "index_pcap",
    "index_pcapng",
    "index_ring",
    "render_pcapng",
]

MAX_CAPTURED = 262144
"""Longest captured packet believed; libpcap has the same bound (MAXIMUM_SNAPLEN)."""

MAX_BLOCK = 1 << 20
"""Longest pcapng packet block believed: a packet and its options."""

PROBLEM_CAPTURED, PROBLEM_BLOCK, PROBLEM_INTERFACE = 1, 2, 3

_ENTRY = struct.Struct("<QIIIHH")
_INTERFACE = struct.Struct("<HHIQq")
_TIME_MAX = (1 << 63) - 1

_SIMPLE_PACKET, _PACKET, _ENHANCED_PACKET = 3, 2, 6  # pcapng block types, draft-ietf-opsawg-pcapng section 4

# linux/if_packet.h
_VLAN_VALID, _VLAN_TPID_VALID = 0x10, 0x40
_OUTGOING = 4
_RING_HEADER = 48  # TPACKET_ALIGN(sizeof(struct tpacket3_hdr)); struct sockaddr_ll follows
_RING_ADDRESS_END = _RING_HEADER + 20
_PACKET_TYPE_AT = _RING_HEADER + 10


def index_pcap(
    data: bytes | bytearray | memoryview,
    byteorder: str,
    fraction_ns: int,
    extra_header: int,
    linktype: int,
    interface: int,
) -> tuple[bytes, int, int]:
    """Frames of whole pcap records, bytes consumed, problem number (0 for none)."""
    record = struct.Struct(byteorder + "IIII")
    header = 16 + extra_header
    frames = bytearray()
    at = 0
    while at + header <= len(data):
        seconds, fraction, captured, wire = record.unpack_from(data, at)
        if captured > MAX_CAPTURED:
            return bytes(frames), at, PROBLEM_CAPTURED
        if at + header + captured > len(data):
            break
        time_ns = seconds * 1_000_000_000 + fraction * fraction_ns
        frames += _ENTRY.pack(time_ns, at + header, captured, max(wire, captured), linktype, interface)
        at += header + captured
    return bytes(frames), at, 0


def index_pcapng(data: bytes | bytearray | memoryview, byteorder: str, interfaces: bytes) -> tuple[bytes, int, int]:
    """Frames of whole packet blocks up to the first block of another type; bytes consumed; problem number."""
    table = [_INTERFACE.unpack_from(interfaces, at) for at in range(0, len(interfaces), _INTERFACE.size)]
    u32 = struct.Struct(byteorder + "I")
    frames = bytearray()
    at = 0
    time_ns = 0
    while at + 12 <= len(data):
        kind, total = u32.unpack_from(data, at)[0], u32.unpack_from(data, at + 4)[0]
        if kind not in (_SIMPLE_PACKET, _PACKET, _ENHANCED_PACKET):
            break
        header = 12 if kind == _SIMPLE_PACKET else 28
        if total % 4 or not header + 4 <= total <= MAX_BLOCK:
            return bytes(frames), at, PROBLEM_BLOCK
        if at + total > len(data):
            break
        if u32.unpack_from(data, at + total - 4)[0] != total:
            return bytes(frames), at, PROBLEM_BLOCK
        if kind == _SIMPLE_PACKET:
            number, ticks = 0, None
            wire = u32.unpack_from(data, at + 8)[0]
            captured = min(wire, total - header - 4)
        else:
            shape = "IIIII" if kind == _ENHANCED_PACKET else "HHIIII"
            number, *_, high, low, captured, wire = struct.unpack_from(byteorder + shape, data, at + 8)
            ticks = high << 32 | low
        if number >= len(table):
            return bytes(frames), at, PROBLEM_INTERFACE
        linktype, interface, snaplen, rate, offset_s = table[number]
        if ticks is None:
            captured = min(captured, snaplen) if snaplen else captured
        else:
            time_ns = _time_ns(ticks, rate, offset_s)
        if captured > MAX_CAPTURED:
            return bytes(frames), at, PROBLEM_CAPTURED
        if captured > total - header - 4:
            return bytes(frames), at, PROBLEM_BLOCK
        frames += _ENTRY.pack(time_ns, at + header, captured, max(wire, captured), linktype, interface)
        at += total
    return bytes(frames), at, 0


def _time_ns(ticks: int, rate: int, offset_s: int) -> int:
    seconds, rest = divmod(ticks, rate or 1_000_000)
    time_ns = (seconds + offset_s) * 1_000_000_000 + rest * 1_000_000_000 // (rate or 1_000_000)
    return min(max(time_ns, 0), _TIME_MAX)


def index_ring(block: bytearray | memoryview, linktype: int, interface: int, skip_outgoing: bool) -> bytes:
    """Frames of one TPACKET_V3 block; VLAN tags that the kernel took out are put back (so: once per block)."""
    view = memoryview(block).cast("B")
    frames = bytearray()
    if len(view) < 24:
        return b""
    count, at = struct.unpack_from("=II", view, 12)
    for _ in range(count):
        if at + _RING_ADDRESS_END > len(view):
            break
        step, sec, nsec, captured, wire, status, mac = struct.unpack_from("=IIIIIIH", view, at)
        tci, tpid = struct.unpack_from("=IH", view, at + 32)
        start = at + mac
        outgoing = view[at + _PACKET_TYPE_AT] == _OUTGOING
        if start + captured > len(view):
            break
        if not (outgoing and skip_outgoing):
            if linktype == 1 and status & _VLAN_VALID and captured >= 12 and mac >= _RING_HEADER + 4:
                view[start - 4 : start + 8] = bytes(view[start : start + 12])
                tag = tpid if status & _VLAN_TPID_VALID else 0x8100
                struct.pack_into(">HH", view, start + 8, tag, tci & 0xFFFF)
                start, captured, wire = start - 4, captured + 4, wire + 4
            wire = min(max(wire, captured), 0xFFFFFFFF)
            frames += _ENTRY.pack(sec * 1_000_000_000 + nsec, start, captured, wire, linktype, interface)
        if step == 0:
            break
        at += step
    return bytes(frames)


def render_pcapng(data: bytes | bytearray | memoryview, frames: bytes) -> bytes:
    """Little-endian enhanced packet blocks; times in nanoseconds, so the interface block must say so (if_tsresol 9)."""
    out = bytearray()
    for time_ns, start, captured, wire, _, interface in _ENTRY.iter_unpack(frames):
        if start + captured > len(data):
            continue
        pad = -captured % 4
        total = 32 + captured + pad
        out += struct.pack(
            "<IIIIIII", _ENHANCED_PACKET, total, interface, time_ns >> 32, time_ns & 0xFFFFFFFF, captured, wire
        )
        out += data[start : start + captured]
        out += bytes(pad)
        out += struct.pack("<I", total)
    return bytes(out)
