"""The filter in the kernel: what is in its map is counted and not taken."""

import errno
import os
import struct

import pytest

from flowsonar.capture.cutoff import CutFlows, flow_key
from flowsonar.capture.ring import Ring
from flowsonar.errors import CaptureError
from tests.capture.build import frames
from tests.capture.conftest import add_veth
from tests.capture.test_ring import MACS, collect, marked, sender
from tests.needs import needs_root

A, B = bytes((192, 0, 2, 1)), bytes((192, 0, 2, 2))
A6, B6 = bytes(15) + b"\1", bytes(15) + b"\2"


def _udp4(data: bytes, *, fragment: int = 0, options: bytes = b"") -> bytes:
    size = 28 + len(options) + len(data)
    head = struct.pack(">BBHHHBBH", 0x45 + len(options) // 4, 0, size, 0, fragment, 64, 17, 0) + A + B + options
    return MACS + b"\x08\x00" + head + struct.pack(">HHHH", 4000, 53, 8 + len(data), 0) + data


def _tcp6(flags: int, data: bytes) -> bytes:
    head = struct.pack(">IHBB", 6 << 28, 20 + len(data), 6, 64) + A6 + B6
    return MACS + b"\x86\xdd" + head + struct.pack(">HHIIBBHHH", 4000, 80, 1, 1, 0x50, flags, 0, 0, 0) + data


@needs_root()
def test_the_kernel_takes_the_program() -> None:
    for linktype in (1, 101):
        flows = CutFlows(linktype, flows=2)
        keys = [flow_key(6, A, 1, B, port) for port in range(3)]
        assert [flows.add(key) for key in keys] == [True, True, False]
        assert flows.look(keys[0]) == flows.take(keys[0]) == (0, 0)
        flows.close()


@marked
def test_what_is_in_the_map_stays_in_the_kernel() -> None:
    add_veth()
    udp, tcp = flow_key(17, A, 4000, B, 53), flow_key(6, A6, 4000, B6, 80)
    flows = CutFlows(1)
    with Ring("fsB1") as ring, sender("fsB0") as sending:
        ring.attach(flows.program)
        sending.send(_udp4(b"first"))
        assert [frame.data[-5:] for frame in collect(ring, 1)] == [b"first"]
        assert flows.add(udp)
        assert flows.add(tcp)
        taken = [
            _udp4(b"fragment", fragment=0x2000),
            _udp4(b"later", fragment=3),
            _tcp6(0x11, b"fin"),
            _tcp6(0x02, b"syn"),
            _tcp6(0x14, b"rst"),
            MACS + b"\x08\x00" + b"\x45short",
            MACS + b"\x81\x00\x00\x05" + _udp4(b"tagged")[12:],
            _udp4(b"other").replace(struct.pack(">HH", 4000, 53), struct.pack(">HH", 53, 4000)),
        ]
        left = [_udp4(b"left"), _udp4(b"options", options=bytes(8)), _tcp6(0x18, b"data"), _tcp6(0x10, b"")]
        for frame in (*left, *taken, *left):
            sending.send(frame)
        found = collect(ring, len(taken))
        found += frames(ring.read())
        assert [frame.data[: len(one)] for frame, one in zip(found, taken, strict=True)] == taken
        assert flows.look(udp) == (4, 2 * (32 + 43))
        assert flows.take(tcp) == (4, 2 * (64 + 60))
        assert flows.take(udp)[0] == 4
        assert flows.look(udp) == (0, 0)
        sending.send(_udp4(b"again"))
        assert [frame.data[-5:] for frame in collect(ring, 1)] == [b"again"]
    flows.close()


def test_keys_are_of_one_direction() -> None:
    assert flow_key(17, A, 1, B, 2) != flow_key(17, B, 2, A, 1)
    assert len(flow_key(17, A, 1, B, 2)) == len(flow_key(17, A6, 1, B6, 2)) == 40
    with pytest.raises(OverflowError):
        flow_key(17, A, 1 << 16, B, 2)


@pytest.mark.parametrize(
    ("code", "told"),
    [
        (errno.EPERM, "run as root"),
        (errno.ENOSYS, "CONFIG_BPF_SYSCALL"),
        (errno.EINVAL, "this kernel's eBPF lacks"),
        (errno.ENOMEM, "ulimit -l"),
        (errno.EIO, os.strerror(errno.EIO)),
    ],
)
def test_a_kernel_that_refuses_is_told_with_what_is_missing(
    monkeypatch: pytest.MonkeyPatch, code: int, told: str
) -> None:
    def refuse(command: int, attributes: bytes) -> int:
        raise OSError(code, os.strerror(code))

    monkeypatch.setattr("flowsonar.capture.cutoff._call", refuse)
    with pytest.raises(CaptureError, match=r"leave --cutoff out$") as caught:
        CutFlows(1)
    assert told in str(caught.value)
    assert "\n" not in str(caught.value)
