"""Packets of a live interface through a memory-mapped AF_PACKET ring, TPACKET_V3.

The kernel (Documentation/networking/packet_mmap.rst) fills blocks and hands them over when full or after `retire_ms`;
they are read where they are and then given back.
"""

from __future__ import annotations

import array
import contextlib
import errno
import mmap
import socket
import struct
from collections.abc import Iterator, Sequence
from typing import Final, NamedTuple, Self

from flowsonar._native.framing import index_ring
from flowsonar.capture import bpf, linktypes
from flowsonar.capture.interfaces import describe_missing, hardware_type, is_loopback, is_up
from flowsonar.errors import CaptureError
from flowsonar.model import Block

__all__ = [
    "BLOCKS",
    "BLOCK_BYTES",
    "RETIRE_MS",
    "SETTLE_S",
    "Drops",
    "Ring",
    "drops_by_interface",
    "linktype_of",
    "open_rings",
]

BLOCK_BYTES: Final = 1 << 18
"""A block holds at least three of the largest offloaded frames (64 KiB); longer frames come through cut."""

BLOCKS: Final = 128
"""32 MiB of ring: at 1 Gbit/s, or with a few packets in each block, we may be away for 0.2 s or more."""

RETIRE_MS: Final = 2
"""The longest that a packet waits in a block that is not full."""
SETTLE_S: Final = 5 * RETIRE_MS / 1000
"""Who ends waits so long for the last packets: the kernel's timer counts in its ticks, of 10 ms where they are long."""

# linux/if_packet.h, linux/if_ether.h, asm-generic/socket.h
_SOL_PACKET: Final = 263
_PACKET_ADD_MEMBERSHIP: Final = 1
_PACKET_RX_RING: Final = 5
_PACKET_STATISTICS: Final = 6
_PACKET_VERSION: Final = 10
_PACKET_RESERVE: Final = 12
_PACKET_FANOUT: Final = 18
_PACKET_IGNORE_OUTGOING: Final = 23
_PACKET_MR_PROMISC: Final = 1
_FANOUT_HASH: Final = 0  # both directions of a flow to one ring
_FANOUT_DEFRAG: Final = 0x8000  # fragments go where their packet goes
_FANOUT_UNIQUE: Final = 0x2000  # the kernel gives a number that nobody has
_TPACKET_V3: Final = 2
_SO_ATTACH_FILTER: Final = 26
_SO_ATTACH_BPF: Final = 50
_ETH_P_ALL: Final = 3
_STATUS_WORD: Final = 2  # struct tpacket_block_desc: version, offset_to_priv, then block_status, num_pkts,
_LENGTH_WORD: Final = 5  # offset_to_first_pkt, blk_len: 32 bits each
_STATUS_USER: Final = 1  # TP_STATUS_USER: the block is ours
_STATUS_KERNEL: Final = 0
_FRAME_BYTES: Final = 2048
"""Version 3 packs frames of any length; the kernel only wants a number that divides the block."""
_VLAN_TAG_BYTES: Final = 4

_Program = Sequence[bpf.Instruction | tuple[int, int, int, int]]


class Drops(NamedTuple):
    """What the kernel counted since the ring was opened."""

    packets: int
    """Frames that passed the filter, those dropped among them."""
    drops: int
    """Frames that found no room in the ring."""


class Ring:
    """The packets of one interface; give `fileno` to an event loop and call `read` when it is readable.

    An interface that goes down or vanishes does not raise: `gone` says so and names what is waited for. Call `check`
    about once a second: it finds out about vanished interfaces and takes the capture up again when one of the same
    name is there. Raises `CaptureError` when it cannot be opened.
    """

    interface: str
    linktype: int
    """LINKTYPE_ number of the frames: Ethernet, or raw IP for interfaces with any other kind of header."""
    gone: str | None
    """Why there is nothing to capture at the moment; None while capturing."""
    group: int | None
    """The rings among which the interface's packets are shared out; None where this one gets all."""

    def __init__(
        self,
        interface: str,
        *,
        index: int = 0,
        block_size: int = BLOCK_BYTES,
        blocks: int = BLOCKS,
        retire_ms: int = RETIRE_MS,
        filter: str | _Program | None = None,  # noqa: A002 - that is what everybody calls it
        promiscuous: bool = True,
        group: int | None = None,
        shared: bool = False,
    ) -> None:
        """`index` is the interface number put into the frames.

        `shared` begins a group of rings among which flows are shared out by their hash; `group` joins one.

        `filter` is for the kernel: a classic BPF program for frames of `linktype_of(interface)`, or an expression of
        pcap-filter(7), which needs tcpdump.
        """
        assert block_size % mmap.PAGESIZE == 0, "the kernel maps whole pages"
        self.interface = interface
        self.linktype = linktype_of(interface)
        self.gone = None
        self.group = None
        self._index = index
        self._words = block_size // 4
        self._blocks = blocks
        self._next = 0
        self._packets = 0
        self._drops = 0
        self._loopback = is_loopback(interface)
        self._promiscuous = promiscuous and not self._loopback
        program = bpf.compile_expression(filter, linktype=self.linktype) if isinstance(filter, str) else filter
        self._socket = _open_socket(interface, self.linktype)
        try:
            _attach(self._socket, program or bpf.compile_filter(linktype=self.linktype))
            self._map = self._set_up(block_size, retire_ms)
            self.group = self._join(group) if shared or group is not None else None
        except BaseException:
            self._socket.close()
            raise
        self._memory = memoryview(self._map)
        self._status = self._memory.cast("I")
        self._lent = memoryview(b"")
        self.check()

    def _set_up(self, block_size: int, retire_ms: int) -> mmap.mmap:
        """Ask the kernel for the ring, map it, and let the packets come."""
        if self._loopback:  # everything there is seen leaving and arriving
            with contextlib.suppress(OSError):  # before Linux 4.20 `index_ring` alone leaves the copies out
                self._socket.setsockopt(_SOL_PACKET, _PACKET_IGNORE_OUTGOING, 1)
        frames = block_size // _FRAME_BYTES * self._blocks
        request = struct.pack("=7I", block_size, self._blocks, _FRAME_BYTES, frames, retire_ms, 0, 0)
        protection = mmap.PROT_READ | mmap.PROT_WRITE
        try:
            self._socket.setsockopt(_SOL_PACKET, _PACKET_VERSION, _TPACKET_V3)
            self._socket.setsockopt(_SOL_PACKET, _PACKET_RESERVE, _VLAN_TAG_BYTES)  # `index_ring` puts tags back there
            self._socket.setsockopt(_SOL_PACKET, _PACKET_RX_RING, request)
            ring = mmap.mmap(self._socket.fileno(), block_size * self._blocks, mmap.MAP_SHARED, protection)
        except (OSError, ValueError) as error:
            reason = (error.strerror if isinstance(error, OSError) else None) or str(error)
            raise CaptureError(
                f"no capture ring for {self.interface}: {reason}: name fewer interfaces, or end other captures"
            ) from None
        try:
            self._bind()
        except OSError as error:
            ring.close()
            if error.errno == errno.ENODEV:
                raise CaptureError(describe_missing(self.interface)) from None
            raise CaptureError(
                f"cannot capture on {self.interface}: {error.strerror}: see `flowsonar doctor`"
            ) from None
        return ring

    def _bind(self) -> None:
        """Attach to the interface of this name, which may be a new one since the last time."""
        self._socket.bind((self.interface, _ETH_P_ALL))
        if self._promiscuous:
            number = socket.if_nametoindex(self.interface)
            membership = struct.pack("=iHH8s", number, _PACKET_MR_PROMISC, 0, b"")
            with contextlib.suppress(OSError):  # some drivers have no such mode; then what comes by itself must do
                self._socket.setsockopt(_SOL_PACKET, _PACKET_ADD_MEMBERSHIP, membership)

    def attach(self, program: int) -> None:
        """Put an eBPF program, by its descriptor, in the filter's place."""
        try:
            self._socket.setsockopt(socket.SOL_SOCKET, _SO_ATTACH_BPF, program)
        except OSError as error:
            raise CaptureError(f"the kernel does not take the program for --cutoff: {error.strerror}") from None

    def _join(self, group: int | None) -> int:
        """Share the interface's packets with the group's other rings; None makes a group. Gives its number."""
        flags = _FANOUT_HASH | _FANOUT_DEFRAG | (_FANOUT_UNIQUE if group is None else 0)
        try:
            self._socket.setsockopt(_SOL_PACKET, _PACKET_FANOUT, struct.pack("=I", (group or 0) | flags << 16))
            return self._socket.getsockopt(_SOL_PACKET, _PACKET_FANOUT) & 0xFFFF
        except OSError as error:
            raise CaptureError(
                f"the packets of {self.interface} cannot be shared among rings: {error.strerror}: leave --rings out"
            ) from None

    def fileno(self) -> int:
        """Readable when a block is ready, or the interface went down."""
        return self._socket.fileno()

    def read(self) -> Iterator[Block]:
        """All blocks that are ready, without waiting; at most one round of the ring.

        A block's bytes are those of the ring itself: they are valid until the next one is asked for, then the kernel
        has them again (and a view that was kept refuses to be read). Nothing happens unless this is iterated.
        """
        idle = True
        for _ in range(self._blocks):
            word = self._next * self._words
            # The kernel writes the status last, so that all else is in place once it is seen.
            if not self._status[word + _STATUS_WORD] & _STATUS_USER:
                break
            idle = False
            length = min(4 * self._words, self._status[word + _LENGTH_WORD])
            self._lent = self._memory[4 * word : 4 * word + length]
            try:
                frames = index_ring(self._lent, self.linktype, self._index, self._loopback)
                if frames:
                    yield Block(self._lent, frames)
            finally:
                self._lent.release()
                if not self._map.closed:
                    self._status[word + _STATUS_WORD] = _STATUS_KERNEL
                    self._next = (self._next + 1) % self._blocks
        if self.gone is not None or (idle and self._failed()):
            self.check()

    def check(self) -> str | None:
        """Look whether the interface is there and up, take it up again where it is a new one; gives `gone`."""
        self.gone = self._look()
        self._failed()  # attaching to an interface that is down leaves an error behind
        return self.gone

    def _failed(self) -> bool:
        """Whether an error stands at the socket, as after its interface went down; asking takes it away."""
        return self._socket.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR) != 0

    def _look(self) -> str | None:
        attached = str(self._socket.getsockname()[0])  # empty once the interface was removed
        if attached:
            self.interface = attached  # it may have been renamed
        else:
            hardware = hardware_type(self.interface)
            if hardware is None:
                return f"interface {self.interface} has vanished: waiting for one of that name"
            if _linktype(hardware) != self.linktype:
                return f"interface {self.interface} is of another kind than before: start the capture again"
            if self.group is not None:  # a socket in a group cannot be attached anew (packet(7))
                return f"interface {self.interface} was removed: start the capture again, or leave --rings out"
            try:
                self._bind()
            except OSError as error:
                return f"interface {self.interface} cannot be captured from: {error.strerror}: waiting"
        if not is_up(self.interface):
            return f"interface {self.interface} is down: waiting for it (`ip link set {self.interface} up`)"
        return None

    def drops(self) -> Drops:
        """Packets and drops since the start; the kernel forgets its counters when asked, so they are added up here."""
        answer = self._socket.getsockopt(_SOL_PACKET, _PACKET_STATISTICS, 12)
        packets, drops, _ = struct.unpack("=III", answer)
        self._packets += packets
        self._drops += drops
        return Drops(self._packets, self._drops)

    def close(self) -> None:
        """End the capture and give the memory back, also while a block is being read."""
        self._lent.release()
        self._status.release()
        self._memory.release()
        self._map.close()
        self._socket.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exception: object) -> None:
        self.close()


def open_rings(
    interfaces: Sequence[str],
    *,
    rings: int = 1,
    blocks: int = BLOCKS,
    filter: str | None = None,  # noqa: A002 - as `Ring` calls it
) -> list[Ring]:
    """Open so many rings for each interface, `blocks` in each of them. Raises `CaptureError`."""
    opened: list[Ring] = []
    try:
        for index, name in enumerate(interfaces):
            group = None
            for number in range(rings):
                shared = rings > 1 and not number
                opened.append(Ring(name, index=index, filter=filter, blocks=blocks, group=group, shared=shared))
                group = opened[-1].group
    except BaseException:
        for ring in opened:
            ring.close()
        raise
    return opened


def drops_by_interface(rings: Sequence[Ring]) -> dict[str, int]:
    """`kernel_packets` and `kernel_drops` of all, and each of them by interface where there are several."""
    by_name: dict[str, list[int]] = {}
    for ring in rings:
        sums = by_name.setdefault(ring.interface, [0, 0])
        drops = ring.drops()
        sums[0] += drops.packets
        sums[1] += drops.drops
    found = {
        "kernel_packets": sum(sums[0] for sums in by_name.values()),
        "kernel_drops": sum(sums[1] for sums in by_name.values()),
    }
    if len(by_name) > 1:
        for name, (packets, dropped) in by_name.items():
            found |= {f"kernel_packets.{name}": packets, f"kernel_drops.{name}": dropped}
    return found


def linktype_of(interface: str) -> int:
    """The LINKTYPE_ number of the frames that a `Ring` on this interface gives.

    Raises `CaptureError` where there is no such interface, or one that carries no IP packets.
    """
    hardware = hardware_type(interface)
    if hardware is None:
        raise CaptureError(describe_missing(interface))
    if linktypes.is_monitor_hardware(hardware):
        raise CaptureError(f"interface {interface} carries no IP packets (hardware type {hardware}): name another one")
    return _linktype(hardware)


def _linktype(hardware: int) -> int:
    return linktypes.ETHERNET if linktypes.is_ethernet_hardware(hardware) else linktypes.RAW


def _open_socket(interface: str, linktype: int) -> socket.socket:
    """A packet socket that receives nothing yet. Headers of other links are left to the kernel to take off."""
    kind = socket.SOCK_RAW if linktype == linktypes.ETHERNET else socket.SOCK_DGRAM
    try:
        return socket.socket(socket.AF_PACKET, kind | socket.SOCK_CLOEXEC | socket.SOCK_NONBLOCK, 0)
    except PermissionError:
        raise CaptureError(
            f"no privilege to capture on {interface}: run as root, or give the Python that runs flowsonar the "
            "capability cap_net_raw (`flowsonar doctor` shows how), or try `flowsonar demo`, which needs none"
        ) from None
    except OSError as error:
        raise CaptureError(
            f"cannot capture on {interface}: {error.strerror}: live capture needs Linux with packet sockets"
        ) from None


def _attach(capturing: socket.socket, program: _Program) -> None:
    """Give the kernel the filter before the first packet can come."""
    instructions = array.array("B", bpf.pack_program(program))
    address, length = instructions.buffer_info()
    try:
        # struct sock_fprog: a count, padding as for a pointer, the address of the instructions
        capturing.setsockopt(
            socket.SOL_SOCKET, _SO_ATTACH_FILTER, struct.pack("HP", length // bpf.INSTRUCTION_BYTES, address)
        )
    except OSError as error:
        raise CaptureError(f"the kernel does not take the capture filter: {error.strerror}") from None
