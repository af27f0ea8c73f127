"""Kernel filters, run here by a small machine of the test's own; the ring's tests give them to the kernel."""

import ipaddress
import struct

import pytest

from flowsonar.capture import bpf, linktypes
from flowsonar.capture.bpf import Exclusion, Instruction, compile_expression, compile_filter, pack_program
from flowsonar.errors import CaptureError
from tests.needs import needs_program


def run(program: list[Instruction], ethertype: int, data: bytes) -> int:
    """What the program returns for a frame; a load beyond the frame returns 0, as in the kernel."""
    accumulator = index = at = 0
    while True:
        code, jt, jf, k = program[at]
        at += 1
        if code == 0x06:
            return k
        if code in {0x20, 0x28, 0x30, 0x48}:
            if k == 0xFFFFF000:
                accumulator = ethertype
                continue
            size = {0x20: 4, 0x28: 2, 0x30: 1, 0x48: 2}[code]
            start = k + (index if code == 0x48 else 0)
            if start + size > len(data):
                return 0
            accumulator = int.from_bytes(data[start : start + size], "big")
        elif code == 0xB1:
            if k >= len(data):
                return 0
            index = 4 * (data[k] & 0xF)
        elif code == 0x15:
            at += jt if accumulator == k else jf
        elif code == 0x45:
            at += jt if accumulator & k else jf
        elif code == 0x05:
            at += k
        else:
            raise AssertionError(f"instruction {code:#x}")


def packet(
    source: str, target: str, ports: tuple[int, int] = (1000, 2000), protocol: int = 6, fragment: int = 0
) -> bytes:
    """An IP packet without its link header; IPv4 with one option word."""
    head, tail = ipaddress.ip_address(source), ipaddress.ip_address(target)
    payload = struct.pack(">HH", *ports) + bytes(16)
    if head.version == 4:
        fixed = struct.pack(">BBHHHBBH", 0x46, 0, 24 + len(payload), 1, fragment, 64, protocol, 0)
        return fixed + head.packed + tail.packed + bytes(4) + payload
    return struct.pack(">IHBB", 6 << 28, len(payload), protocol, 64) + head.packed + tail.packed + payload


A, B, C = "10.0.0.1", "10.0.0.2", "10.0.0.3"
A6, B6 = "2001:db8::1", "2001:db8::2"

CASES = [
    ((), packet(A, B), True),
    ((Exclusion(address=A),), packet(A, B), False),
    ((Exclusion(address=A),), packet(B, A), False),
    ((Exclusion(address=A),), packet(B, C), True),
    ((Exclusion(address=A),), packet(A6, B6), True),
    ((Exclusion(address=A6),), packet(A6, B6), False),
    ((Exclusion(address=A6),), packet(B6, A6), False),
    ((Exclusion(address=A6),), packet(B6, B6), True),
    ((Exclusion(address=A6),), packet(A, B), True),
    ((Exclusion(port=22),), packet(A, B, (22, 5000)), False),
    ((Exclusion(port=22),), packet(A, B, (5000, 22)), False),
    ((Exclusion(port=22),), packet(A, B, (5000, 22), 17), False),
    ((Exclusion(port=22),), packet(A, B, (5000, 22), 132), False),
    ((Exclusion(port=22),), packet(A, B, (5000, 22), 1), True),
    ((Exclusion(port=22),), packet(A, B, (5000, 22), 17, fragment=0x2001), True),
    ((Exclusion(port=22),), packet(A, B, (5000, 22), 17, fragment=0x2000), False),
    ((Exclusion(port=22),), packet(A, B, (5000, 23)), True),
    ((Exclusion(port=22),), packet(A6, B6, (22, 5000)), False),
    ((Exclusion(port=22),), packet(A6, B6, (5000, 22), 17), False),
    ((Exclusion(port=22),), packet(A6, B6, (5000, 22), 58), True),
    ((Exclusion(port=22),), packet(A6, B6, (5000, 23)), True),
    ((Exclusion(address=A, port=22),), packet(A, B, (22, 5000)), False),
    ((Exclusion(address=A, port=22),), packet(B, A, (5000, 22)), False),
    ((Exclusion(address=A, port=22),), packet(A, B, (5000, 22)), True),
    ((Exclusion(address=A, port=22),), packet(C, B, (22, 5000)), True),
    ((Exclusion(address=A6, port=22),), packet(A6, B6, (22, 5000)), False),
    ((Exclusion(address=A6, port=22),), packet(A6, B6, (5000, 22)), True),
    ((Exclusion(address=A), Exclusion(port=22)), packet(B, C, (1, 22)), False),
    ((Exclusion(address=A), Exclusion(port=22)), packet(B, A, (1, 2)), False),
    ((Exclusion(address=A), Exclusion(port=22)), packet(B, C, (1, 2)), True),
]


@pytest.mark.parametrize("linktype", [linktypes.ETHERNET, linktypes.RAW])
@pytest.mark.parametrize(("exclude", "data", "kept"), CASES)
def test_exclusions(linktype: int, exclude: tuple[Exclusion, ...], data: bytes, kept: bool) -> None:
    ethertype = 0x0800 if data[0] >> 4 == 4 else 0x86DD
    frame = bytes(12) + struct.pack(">H", ethertype) + data if linktype == linktypes.ETHERNET else data
    program = compile_filter(linktype=linktype, exclude=exclude)
    assert run(program, ethertype, frame) == (bpf.SNAP_BYTES if kept else 0)


@pytest.mark.parametrize(
    ("linktype", "only_ip", "ethertype", "kept"),
    [
        (1, False, 0x0806, True),
        (1, True, 0x0806, False),
        (1, True, 0x0800, True),
        (1, True, 0x86DD, True),
        (1, True, 0x8100, True),
        (1, True, 0x8847, True),
        (1, True, 0x8864, True),
        (101, False, 0x0800, True),
        (101, False, 0x86DD, True),
        (101, False, 0x0806, False),
    ],
)
def test_only_ip(linktype: int, only_ip: bool, ethertype: int, kept: bool) -> None:
    program = compile_filter(linktype=linktype, only_ip=only_ip)
    assert bool(run(program, ethertype, bytes(60))) is kept


def test_by_default_everything_is_taken() -> None:
    assert compile_filter() == [Instruction(0x06, 0, 0, bpf.SNAP_BYTES)]


@pytest.mark.parametrize(
    ("exclusion", "says"),
    [
        (Exclusion(), "neither"),
        (Exclusion(address="example.net"), "not an IP address"),
        (Exclusion(address="10.0.0.0/8"), "not an IP address"),
        (Exclusion(port=65536), "not within"),
        (Exclusion(port=-1), "not within"),
    ],
)
def test_wrong_exclusions(exclusion: Exclusion, says: str) -> None:
    with pytest.raises(CaptureError, match=says):
        compile_filter(exclude=[exclusion])


def test_too_many_exclusions() -> None:
    with pytest.raises(CaptureError, match="too many"):
        compile_filter(exclude=[Exclusion(port=port) for port in range(1000)])
    assert len(compile_filter(exclude=[Exclusion(port=port) for port in range(100)])) < 4096


@needs_program("tcpdump")
def test_expression() -> None:
    program = compile_expression("tcp port 22")
    frame = bytes(12) + b"\x08\0"
    assert run(program, 0x0800, frame + packet(A, B, (22, 1))) == bpf.SNAP_BYTES
    assert run(program, 0x0800, frame + packet(A, B, (23, 1))) == 0
    assert compile_expression("ip6", linktype=linktypes.RAW) != compile_expression("ip6")


@needs_program("tcpdump")
@pytest.mark.parametrize("expression", ["tcp prt 22", "-w /tmp/nothing", "a\0b", "host 300.1.1.1.1", "(" * 10_000])
def test_wrong_expressions(expression: str) -> None:
    with pytest.raises(CaptureError, match="the capture filter") as caught:
        compile_expression(expression)
    assert "\n" not in str(caught.value)


def test_expression_without_tcpdump(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("shutil.which", lambda *_, **__: None)
    with pytest.raises(CaptureError, match="install tcpdump"):
        compile_expression("ip")


@pytest.mark.parametrize("program", [[], [(6, 0, 0, 1)] * 4097, [(6, 0, 0)], [(6, 0, 256, 0)], [(6, 0, 0, -1)]])
def test_programs_that_no_kernel_takes(program: list[tuple[int, int, int, int]]) -> None:
    with pytest.raises(CaptureError, match="a capture filter"):
        pack_program(program)
