"""Where the packets are in captured bytes: the face of framing.c and of its Python reference."""

from __future__ import annotations

import struct
from types import ModuleType

from flowsonar._native import _framing_reference, core
from flowsonar._native._framing_reference import MAX_BLOCK, MAX_CAPTURED
from flowsonar.model import Block

__all__ = [
    "MAX_BLOCK",
    "MAX_CAPTURED",
    "index_pcap",
    "index_pcapng",
    "index_ring",
    "pack_interface",
    "render_pcapng",
]

_module: ModuleType = core or _framing_reference

_PROBLEMS = {
    0: None,
    _framing_reference.PROBLEM_CAPTURED: f"a record claims more than {MAX_CAPTURED} captured bytes",
    _framing_reference.PROBLEM_BLOCK: "a packet block contradicts its own length",
    _framing_reference.PROBLEM_INTERFACE: "a packet block names an interface that the file does not describe",
}


def index_pcap(
    data: bytes | bytearray | memoryview,
    byteorder: str,
    fraction_ns: int,
    extra_header: int,
    linktype: int,
    interface: int,
) -> tuple[bytes, int, str | None]:
    """Frames of the whole records at the start of `data`, bytes they take, and what is wrong with the next record.

    `byteorder` is "<" or ">"; `fraction_ns` 1000 or 1; `extra_header` 8 for the modified format 0xa1b2cd34, else 0.
    An incomplete record at the end is left for the next call. `data` is shorter than 4 GiB.
    """
    frames, consumed, problem = _module.index_pcap(data, byteorder, fraction_ns, extra_header, linktype, interface)
    return frames, consumed, _PROBLEMS[problem]


def pack_interface(linktype: int, interface: int, snaplen: int, ticks_per_s: int, offset_s: int) -> bytes:
    """One entry of the interface table of `index_pcapng`; `interface` is the number that the frames shall carry."""
    return struct.pack("<HHIQq", linktype, interface, snaplen, ticks_per_s, offset_s)


def index_pcapng(
    data: bytes | bytearray | memoryview, byteorder: str, interfaces: bytes
) -> tuple[bytes, int, str | None]:
    """Frames of the whole packet blocks at the start of `data`, bytes they take, and what is wrong with the next.

    Stops at the first block of another type, or an incomplete one: the caller looks at what stands there.
    A simple packet block has no time and takes that of the packet before it, 0 where there is none.
    """
    frames, consumed, problem = _module.index_pcapng(data, byteorder, interfaces)
    return frames, consumed, _PROBLEMS[problem]


def index_ring(block: bytearray | memoryview, linktype: int, interface: int, skip_outgoing: bool = False) -> bytes:
    """Frames of one TPACKET_V3 block, offsets into `block`.

    `block` is writable: a VLAN tag that the kernel took out of an Ethernet frame is put back in place, so call this
    once per block. `skip_outgoing` leaves out the sender's copies (loopback shows every packet twice).
    """
    frames: bytes = _module.index_ring(block, linktype, interface, skip_outgoing)
    return frames


def render_pcapng(block: Block) -> bytes:
    """Enhanced packet blocks (little-endian, nanoseconds: `if_tsresol` 9) of all frames of a block."""
    blocks: bytes = _module.render_pcapng(block.data, block.frames)
    return blocks
