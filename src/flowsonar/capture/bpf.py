"""Kernel packet filters: classic BPF programs for the few questions we have, or from an expression by tcpdump.

Instructions are those of linux/filter.h (Documentation/networking/filter.rst of the kernel).
"""

from __future__ import annotations

import ipaddress
import shutil
import struct
import subprocess
from collections.abc import Iterable, Sequence
from typing import Final, NamedTuple

from flowsonar.capture import linktypes
from flowsonar.errors import CaptureError

__all__ = [
    "INSTRUCTION_BYTES",
    "SNAP_BYTES",
    "Exclusion",
    "Instruction",
    "compile_expression",
    "compile_filter",
    "pack_program",
]

SNAP_BYTES: Final = 1 << 18
"""Bytes of a frame that an accepting filter keeps: larger than any frame, offloaded ones (64 KiB and header) too."""

INSTRUCTION_BYTES: Final = 8
"""Of `struct sock_filter`."""

_PROGRAM_LENGTH: Final = 4096
"""BPF_MAXINSNS: the kernel takes no longer program."""

_TCPDUMP_S: Final = 10.0
"""tcpdump compiles in milliseconds, but may resolve names first."""

# Instruction codes: class | size | mode, or class | operation | source.
_LD_WORD, _LD_HALF, _LD_BYTE = 0x20, 0x28, 0x30  # A = data[k]
_LD_HALF_INDEXED = 0x48  # A = data[X + k]
_LDX_IP_LENGTH = 0xB1  # X = 4 * (data[k] & 0xf)
_JUMP_EQUAL, _JUMP_SET = 0x15, 0x45
_RETURN = 0x06

_ANCILLARY_PROTOCOL: Final = 0xFFFFF000  # SKF_AD_OFF + SKF_AD_PROTOCOL: the frame's EtherType as the kernel knows it
_ETHERTYPE_IP, _ETHERTYPE_IP6 = 0x0800, 0x86DD
_IP: Final = (_ETHERTYPE_IP, _ETHERTYPE_IP6)
_AROUND_IP: Final = (0x8100, 0x88A8, 0x8847, 0x8848, 0x8864)  # VLAN, QinQ, MPLS twice, PPPoE
_TRANSPORTS_WITH_PORTS: Final = (6, 17, 132)


class Instruction(NamedTuple):
    """One instruction of classic BPF, as `struct sock_filter`."""

    code: int
    jt: int
    jf: int
    k: int


class Exclusion(NamedTuple):
    """Traffic that is not wanted: from or to an address, a port, or both at once on the same side."""

    address: str | None = None
    port: int | None = None


class _Assembler:
    """Collects instructions whose jumps name labels; one test may jump at most 255 instructions."""

    def __init__(self) -> None:
        self._lines: list[tuple[int, str | None, str | None, int]] = []
        self._labels: dict[str, int] = {}

    def add(self, code: int, k: int, *, true: str | None = None, false: str | None = None) -> None:
        self._lines.append((code, true, false, k))

    def label(self, name: str) -> None:
        self._labels[name] = len(self._lines)

    def program(self) -> list[Instruction]:
        return [
            Instruction(code, self._distance(at, true), self._distance(at, false), k)
            for at, (code, true, false, k) in enumerate(self._lines)
        ]

    def _distance(self, at: int, label: str | None) -> int:
        distance = 0 if label is None else self._labels[label] - at - 1
        assert 0 <= distance < 256, "each exclusion has its own exits, so that jumps stay short"
        return distance


def compile_filter(
    *, linktype: int = linktypes.ETHERNET, only_ip: bool = False, exclude: Iterable[Exclusion] = ()
) -> list[Instruction]:
    """A program that takes everything but what is named.

    `only_ip` keeps IPv4, IPv6 and what the kernel knows as tagged or tunnelled Ethernet types out of the rest:
    ARP, LLDP and the like are dropped. `exclude` looks at untagged IPv4 and IPv6 without extension headers and at
    first fragments; anything it cannot read is kept. Of raw IP interfaces nothing but IP is taken anyway.
    Raises `CaptureError` for what is no address or port.
    """
    network = 14 if linktype == linktypes.ETHERNET else 0
    asm = _Assembler()
    if linktype != linktypes.ETHERNET:
        _add_only(asm, _IP)
    elif only_ip:
        _add_only(asm, _IP + _AROUND_IP)
    for number, exclusion in enumerate(exclude):
        _add_exclusion(asm, f"{number}", exclusion, network)
    asm.add(_RETURN, SNAP_BYTES)
    program = asm.program()
    if len(program) > _PROGRAM_LENGTH:
        raise CaptureError("too many addresses and ports are excluded from capturing: name networks by an expression")
    return program


def _add_only(asm: _Assembler, wanted: tuple[int, ...]) -> None:
    asm.add(_LD_HALF, _ANCILLARY_PROTOCOL)
    for ethertype in wanted:
        asm.add(_JUMP_EQUAL, ethertype, true="wanted")
    asm.add(_RETURN, 0)
    asm.label("wanted")


def _add_exclusion(asm: _Assembler, name: str, exclusion: Exclusion, network: int) -> None:
    address = _address(exclusion.address)
    port = exclusion.port
    if address is None and port is None:
        raise CaptureError("an exclusion from capturing names neither an address nor a port")
    if port is not None and not 0 <= port <= 0xFFFF:
        raise CaptureError(f"port {port} to exclude from capturing is not within 0 to 65535")
    keep, drop = f"{name} keep", f"{name} drop"
    versions: list[int] = [4, 6] if address is None else [address.version]
    for version in versions:
        after = f"{name} after {version}"
        asm.add(_LD_HALF, _ANCILLARY_PROTOCOL)
        asm.add(_JUMP_EQUAL, _ETHERTYPE_IP if version == 4 else _ETHERTYPE_IP6, false=after)
        if port is not None:
            _add_port_check(asm, f"{name} {version}", version, network, keep)
        for side in (0, 1):
            other = f"{name} {version} not {side}"
            if address is not None:
                at = network + (12 + 4 * side if version == 4 else 8 + 16 * side)
                for word, value in enumerate(struct.unpack(f">{len(address.packed) // 4}I", address.packed)):
                    asm.add(_LD_WORD, at + 4 * word)
                    asm.add(_JUMP_EQUAL, value, false=other)
            if port is not None:
                if version == 4:
                    asm.add(_LD_HALF_INDEXED, network + 2 * side)
                else:
                    asm.add(_LD_HALF, network + 40 + 2 * side)
                asm.add(_JUMP_EQUAL, port, true=drop, false=other)
            else:
                asm.add(_JUMP_EQUAL, 0, true=drop, false=drop)
            asm.label(other)
        asm.label(after)
    asm.add(_JUMP_EQUAL, 0, true=keep, false=keep)
    asm.label(drop)
    asm.add(_RETURN, 0)
    asm.label(keep)


def _add_port_check(asm: _Assembler, name: str, version: int, network: int, keep: str) -> None:
    """Go on where ports stand behind the header; X is the length of the IPv4 header then."""
    ported = f"{name} ported"
    asm.add(_LD_BYTE, network + (9 if version == 4 else 6))
    for transport in _TRANSPORTS_WITH_PORTS:
        asm.add(_JUMP_EQUAL, transport, true=ported)
    asm.add(_JUMP_EQUAL, 0, true=keep, false=keep)
    asm.label(ported)
    if version == 4:
        asm.add(_LD_HALF, network + 6)
        asm.add(_JUMP_SET, 0x1FFF, true=keep)  # a later fragment has no ports
        asm.add(_LDX_IP_LENGTH, network)


def _address(text: str | None) -> ipaddress.IPv4Address | ipaddress.IPv6Address | None:
    if text is None:
        return None
    try:
        return ipaddress.ip_address(text)
    except ValueError:
        raise CaptureError(f"{text!r} to exclude from capturing is not an IP address") from None


def compile_expression(expression: str, *, linktype: int = linktypes.ETHERNET) -> list[Instruction]:
    """The program for an expression in the language of pcap-filter(7), compiled by tcpdump.

    A tag that the network card took off the frame is not seen by `vlan N`. Raises `CaptureError` where tcpdump is
    not installed or does not understand the expression.
    """
    tcpdump = shutil.which("tcpdump") or shutil.which("tcpdump", path="/usr/sbin:/sbin:/usr/local/sbin")
    if tcpdump is None:
        raise CaptureError(f"the capture filter {expression!r} needs tcpdump to be compiled: install tcpdump")
    kind = "EN10MB" if linktype == linktypes.ETHERNET else "RAW"
    command = [tcpdump, "-s", str(SNAP_BYTES), "-ddd", "-y", kind, "--", expression]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=_TCPDUMP_S, check=False)
    except (OSError, ValueError, subprocess.TimeoutExpired) as error:
        raise CaptureError(f"the capture filter {expression!r} could not be compiled by tcpdump: {error}") from None
    if done.returncode != 0:
        lines = done.stderr.strip().splitlines() or ["tcpdump gives no reason"]
        reason = lines[-1].removeprefix("tcpdump: ")
        raise CaptureError(f"the capture filter {expression!r} is not understood: {reason}")
    try:
        (count,), *program = (tuple(map(int, line.split())) for line in done.stdout.splitlines())
        instructions = [Instruction(*numbers) for numbers in program]
    except (TypeError, ValueError):
        count, instructions = -1, []
    if len(instructions) != count:
        raise CaptureError(f"the capture filter {expression!r} could not be compiled: tcpdump -ddd printed no program")
    return instructions


def pack_program(program: Sequence[Instruction | tuple[int, int, int, int]]) -> bytes:
    """The instructions as an array of `struct sock_filter`.

    Raises `CaptureError` for a program that the kernel cannot take.
    """
    if not 0 < len(program) <= _PROGRAM_LENGTH:
        raise CaptureError(f"a capture filter has 1 to {_PROGRAM_LENGTH} instructions, not {len(program)}")
    try:
        return b"".join(struct.pack("=HBBI", *instruction) for instruction in program)
    except (struct.error, TypeError):
        raise CaptureError("a capture filter is a list of (code, jt, jf, k) within their ranges") from None
