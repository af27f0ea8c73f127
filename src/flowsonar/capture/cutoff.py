"""Flows that are left in the kernel: a socket filter in eBPF that counts their packets and keeps them from the ring.

The filter (linux/bpf.h; Documentation/bpf of the kernel) looks each packet's addresses, ports and protocol up in a map.
What is there is counted and not taken, but for TCP's SYN, FIN and RST, by which the flow table knows when flows begin
and end.
Packets that it cannot read plainly (VLANs, fragments, extension headers, tunnels) are taken as ever.
"""

from __future__ import annotations

import ctypes
import errno
import os
import platform
import struct
import sys
from collections.abc import Iterable
from typing import Final

from flowsonar.capture import linktypes
from flowsonar.capture.bpf import SNAP_BYTES
from flowsonar.errors import CaptureError

__all__ = ["KEY_BYTES", "MAP_FLOWS", "CutFlows", "flow_key"]

MAP_FLOWS: Final = 1 << 16
"""Directions that are left in the kernel at a time; a map of them takes some 8 MiB when full."""
KEY_BYTES: Final = 40
_VALUE: Final = struct.Struct("=QQ")  # packets, bytes

_SYSCALLS: Final = {"x86_64": 321, "aarch64": 280, "riscv64": 280, "ppc64le": 361, "s390x": 351, "i686": 357}
_MAP_CREATE, _MAP_LOOKUP, _MAP_UPDATE, _MAP_DELETE, _PROG_LOAD = 0, 1, 2, 3, 5  # enum bpf_cmd
_HASH, _SOCKET_FILTER, _NO_PREALLOC = 1, 1, 1  # BPF_MAP_TYPE_HASH, BPF_PROG_TYPE_SOCKET_FILTER, BPF_F_NO_PREALLOC
_LOOKUP_ELEM, _LOAD_BYTES = 1, 26  # enum bpf_func_id: map_lookup_elem, skb_load_bytes
_LEN, _PROTOCOL, _VLAN_PRESENT = 0, 16, 20  # struct __sk_buff
_R0, _R1, _R2, _R3, _R4, _R6, _R7, _R8, _R9, _R10 = 0, 1, 2, 3, 4, 6, 7, 8, 9, 10
_KEY, _SCRATCH = -40, -88  # on the stack: the key, and 40 bytes of headers
_WORD, _HALF, _BYTE, _DOUBLE = 0x00, 0x08, 0x10, 0x18
_TCP, _UDP = 6, 17
_ENDS: Final = 0x07  # FIN, SYN, RST
_MISSING: Final = {  # bpf(2)
    errno.EPERM: "run as root (in a container or under lockdown the kernel may refuse root too), or ",
    errno.ENOSYS: f"there is no eBPF (CONFIG_BPF_SYSCALL) here that is known for {platform.machine()}; ",
    errno.EINVAL: "this kernel's eBPF lacks something that the filter needs; ",
    errno.ENOMEM: "raise the limit of locked memory (ulimit -l), or ",
}
"""What to do where the kernel refuses; a classic filter cannot stand in, it has no map to look flows up in."""


def flow_key(protocol: int, source: bytes, source_port: int, destination: bytes, destination_port: int) -> bytes:
    """One direction of a flow, as the filter makes it of a packet."""
    ports = source_port.to_bytes(2) + destination_port.to_bytes(2)
    return source.ljust(16, b"\0") + destination.ljust(16, b"\0") + ports + bytes((protocol, 0, 0, 0))


class CutFlows:
    """The flows of one ring that are left in the kernel. Raises CaptureError where the kernel does not allow it."""

    def __init__(self, linktype: int, *, flows: int = MAP_FLOWS) -> None:
        attributes = struct.pack("=IIIII", _HASH, KEY_BYTES, _VALUE.size, flows, _NO_PREALLOC)
        self._map = _bpf(_MAP_CREATE, attributes, "its map")
        program = b"".join(_program(self._map, 14 if linktype == linktypes.ETHERNET else 0))
        code = ctypes.create_string_buffer(program, len(program))
        licence = ctypes.create_string_buffer(b"Apache-2.0")
        load = struct.pack(
            "=IIQQIIQ", _SOCKET_FILTER, len(program) // 8, ctypes.addressof(code), ctypes.addressof(licence), 0, 0, 0
        )
        try:
            self.program = _bpf(_PROG_LOAD, load, "its program")
        except CaptureError:
            os.close(self._map)
            raise

    def add(self, key: bytes) -> bool:
        """Leave packets of this direction in the kernel; False where there is no room."""
        return self._element(_MAP_UPDATE, key, bytearray(_VALUE.size))

    def look(self, key: bytes) -> tuple[int, int]:
        """Packets and bytes that were left there so far."""
        value = bytearray(_VALUE.size)
        if not self._element(_MAP_LOOKUP, key, value):
            return 0, 0
        packets, size = _VALUE.unpack(value)
        return packets, size

    def take(self, key: bytes) -> tuple[int, int]:
        """The same; they come again from now on."""
        found = self.look(key)
        self._element(_MAP_DELETE, key, bytearray())
        return found

    def close(self) -> None:
        """Let go of the map and the program; the ring that uses them keeps them until it is closed."""
        os.close(self.program)
        os.close(self._map)

    def _element(self, command: int, key: bytes, value: bytearray) -> bool:
        keys = ctypes.create_string_buffer(key, KEY_BYTES)
        values = ctypes.create_string_buffer(bytes(value), max(1, len(value)))
        place = ctypes.addressof(values) if value else 0
        attributes = struct.pack("=IIQQQ", self._map, 0, ctypes.addressof(keys), place, 0)
        try:
            _call(command, attributes)
        except OSError:
            return False
        value[:] = values.raw[: len(value)]
        return True


def _call(command: int, attributes: bytes) -> int:
    number = _SYSCALLS.get(platform.machine())
    if number is None:
        raise OSError(errno.ENOSYS, "unknown processor")
    buffer = ctypes.create_string_buffer(attributes, len(attributes))
    libc = ctypes.CDLL(None, use_errno=True)
    result: int = libc.syscall(number, command, ctypes.byref(buffer), len(attributes))
    if result < 0:
        code = ctypes.get_errno()
        raise OSError(code, os.strerror(code))
    return result


def _bpf(command: int, attributes: bytes, what: str) -> int:
    try:
        return _call(command, attributes)
    except OSError as error:
        missing = _MISSING.get(error.errno or 0, "")
        raise CaptureError(
            f"flows cannot be left in the kernel: {what} is refused ({error.strerror}): {missing}leave --cutoff out"
        ) from None


# -- the program ------------------------------------------------------------------------------------------------------


def _program(number: int, network: int) -> Iterable[bytes]:
    """The filter for frames whose IP header is at `network`; `number` is the map's descriptor."""
    asm = _Assembler()
    asm.move(_R6, _R1)
    asm.load(_WORD, _R0, _R6, _VLAN_PRESENT)
    asm.jump_unless_equal(_R0, 0, "take")
    for at in range(_KEY, 0, 8):
        asm.store_number(_DOUBLE, at, 0)
    asm.load(_WORD, _R0, _R6, _PROTOCOL)
    asm.jump_if_equal(_R0, _swapped(0x0800), "ipv4")
    asm.jump_unless_equal(_R0, _swapped(0x86DD), "take")

    _network(asm, network)
    _transport(asm)
    _look_up(asm, number)
    return asm.program()


def _network(asm: _Assembler, network: int) -> None:
    """Addresses, protocol (R8), length (R7) and the place of what follows (R9)."""
    asm.headers(network, 40)  # RFC 8200
    asm.load(_BYTE, _R8, _R10, _SCRATCH + 6)
    for word in range(4):
        asm.load(_DOUBLE, _R0, _R10, _SCRATCH + 8 + 8 * word)
        asm.store(_DOUBLE, _KEY + 8 * word, _R0)
    asm.load(_HALF, _R7, _R10, _SCRATCH + 4)
    asm.to_host(_R7)
    asm.add_number(_R7, 40)
    asm.put_number(_R9, network + 40)
    asm.jump("transport")

    asm.label("ipv4")  # RFC 791
    asm.headers(network, 20)
    asm.load(_HALF, _R0, _R10, _SCRATCH + 6)
    asm.and_number(_R0, _swapped(0x3FFF))  # more to come, or not the first fragment
    asm.jump_unless_equal(_R0, 0, "take")
    asm.load(_BYTE, _R8, _R10, _SCRATCH + 9)
    for at, place in ((12, 0), (16, 16)):
        asm.load(_WORD, _R0, _R10, _SCRATCH + at)
        asm.store(_WORD, _KEY + place, _R0)
    asm.load(_HALF, _R7, _R10, _SCRATCH + 2)
    asm.to_host(_R7)
    asm.load(_BYTE, _R9, _R10, _SCRATCH)
    asm.and_number(_R9, 15)
    asm.shift_left(_R9, 2)
    asm.add_number(_R9, network)


def _transport(asm: _Assembler) -> None:
    """The ports, where they stand in this packet; TCP's beginnings and ends are taken."""
    asm.label("transport")
    asm.jump_if_equal(_R8, _UDP, "udp")
    asm.jump_unless_equal(_R8, _TCP, "take")
    asm.headers(_R9, 14, register=True)
    asm.load(_BYTE, _R0, _R10, _SCRATCH + 13)
    asm.and_number(_R0, _ENDS)
    asm.jump_unless_equal(_R0, 0, "take")
    asm.jump("look")
    asm.label("udp")
    asm.headers(_R9, 4, register=True)


def _look_up(asm: _Assembler, number: int) -> None:
    """Count what is in the map and drop it; take the rest."""
    asm.label("look")
    asm.load(_WORD, _R0, _R10, _SCRATCH)
    asm.store(_WORD, _KEY + 32, _R0)
    asm.store(_BYTE, _KEY + 36, _R8)
    asm.map_address(_R1, number)
    asm.move(_R2, _R10)
    asm.add_number(_R2, _KEY)
    asm.call(_LOOKUP_ELEM)
    asm.jump_if_equal(_R0, 0, "take")
    asm.put_number(_R1, 1)
    asm.count(_R0, 0, _R1)
    asm.count(_R0, 8, _R7)
    asm.put_number(_R0, 0)
    asm.leave()
    asm.label("take")
    asm.put_number(_R0, SNAP_BYTES)
    asm.leave()


def _swapped(number: int) -> int:
    """Two bytes of a packet as this processor reads them."""
    return int.from_bytes(number.to_bytes(2), sys.byteorder)


class _Assembler:
    """Collects instructions (Documentation/bpf/standardization/instruction-set.rst); jumps go forward, to labels."""

    def __init__(self) -> None:
        self._lines: list[tuple[int, int, int, int | str, int]] = []
        self._labels: dict[str, int] = {}

    def label(self, name: str) -> None:
        self._labels[name] = len(self._lines)

    def move(self, to: int, source: int) -> None:
        self._add(0xBF, to, source)

    def put_number(self, to: int, number: int) -> None:
        self._add(0xB7, to, number=number)

    def add_number(self, to: int, number: int) -> None:
        self._add(0x07, to, number=number)

    def and_number(self, to: int, number: int) -> None:
        self._add(0x57, to, number=number)

    def shift_left(self, to: int, bits: int) -> None:
        self._add(0x67, to, number=bits)

    def to_host(self, to: int) -> None:
        """Turn 16 bits from network order into this processor's."""
        self._add(0xDC, to, number=16)

    def load(self, size: int, to: int, source: int, offset: int) -> None:
        self._add(0x61 | size, to, source, offset)

    def store(self, size: int, offset: int, source: int) -> None:
        """On the stack."""
        self._add(0x63 | size, _R10, source, offset)

    def store_number(self, size: int, offset: int, number: int) -> None:
        """On the stack."""
        self._add(0x62 | size, _R10, 0, offset, number)

    def count(self, to: int, offset: int, source: int) -> None:
        """Add to 64 bits in memory, atomically."""
        self._add(0xC3 | _DOUBLE, to, source, offset)

    def jump(self, label: str) -> None:
        self._add(0x05, 0, 0, label)

    def jump_if_equal(self, register: int, number: int, label: str) -> None:
        self._add(0x15, register, 0, label, number)

    def jump_unless_equal(self, register: int, number: int, label: str) -> None:
        self._add(0x55, register, 0, label, number)

    def call(self, function: int) -> None:
        self._add(0x85, 0, number=function)

    def leave(self) -> None:
        self._add(0x95, 0)

    def map_address(self, to: int, descriptor: int) -> None:
        """Two instructions: BPF_PSEUDO_MAP_FD."""
        self._add(0x18, to, 1, number=descriptor)
        self._add(0, 0)

    def headers(self, place: int, size: int, *, register: bool = False) -> None:
        """Copy bytes of the packet from a place, or a register's, to the stack; packets without them are taken."""
        self.move(_R1, _R6)
        if register:
            self.move(_R2, place)
        else:
            self.put_number(_R2, place)
        self.move(_R3, _R10)
        self.add_number(_R3, _SCRATCH)
        self.put_number(_R4, size)
        self.call(_LOAD_BYTES)
        self.jump_unless_equal(_R0, 0, "take")

    def program(self) -> Iterable[bytes]:
        for at, (code, to, source, offset, number) in enumerate(self._lines):
            distance = self._labels[offset] - at - 1 if isinstance(offset, str) else offset
            registers = to | source << 4 if sys.byteorder == "little" else to << 4 | source
            yield struct.pack("=BBhi", code, registers, distance, number)

    def _add(self, code: int, to: int, source: int = 0, offset: int | str = 0, number: int = 0) -> None:
        self._lines.append((code, to, source, offset, number))
