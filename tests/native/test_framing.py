"""The face of the walkers: problems are sentences, and the selector's choice is used."""

import os
import struct
import subprocess
import sys

from flowsonar import _native
from flowsonar._native import framing
from flowsonar.model import Block


def test_problems_are_sentences() -> None:
    data = struct.pack("<IIII", 1, 2, 0xFFFFFFFF, 0)
    frames, consumed, problem = framing.index_pcap(data, "<", 1000, 0, 1, 0)
    assert (frames, consumed) == (b"", 0)
    assert problem is not None
    assert "captured bytes" in problem
    assert framing.index_pcap(b"", "<", 1000, 0, 1, 0) == (b"", 0, None)


def test_interfaces_are_packed_for_the_walker() -> None:
    block = struct.pack("<IIIIIII", 6, 36, 0, 0, 3, 4, 60) + b"abcd" + struct.pack("<I", 36)
    table = framing.pack_interface(101, 5, 0, 1000, 2)
    frames, consumed, problem = framing.index_pcapng(block, "<", table)
    assert struct.unpack("<QIIIHH", frames) == (2_003_000_000, 28, 4, 60, 101, 5)
    assert (consumed, problem) == (36, None)
    assert framing.index_pcapng(block, "<", b"")[2] is not None


def test_blocks_are_rendered() -> None:
    frames = struct.pack("<QIIIHH", 1, 0, 3, 3, 1, 0)
    assert len(framing.render_pcapng(Block(b"abc", frames))) == 36


def test_a_ring_block_may_be_empty() -> None:
    assert framing.index_ring(bytearray(48), 1, 0) == b""


def test_the_native_part_can_be_left_out() -> None:
    code = (
        "from flowsonar import _native; from flowsonar.config import FlowSettings;"
        "from flowsonar.flows.table import make_table;"
        "assert not _native.NATIVE and _native.core is None;"
        "print(_native.reason, type(make_table(FlowSettings(capacity=1))).__name__)"
    )
    done = subprocess.run(
        [sys.executable, "-c", code],
        env={**os.environ, "FLOWSONAR_NATIVE": "skip"},
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout == "FLOWSONAR_NATIVE=skip is set ReferenceTable\n"


def test_one_of_two_is_chosen() -> None:
    assert _native.NATIVE == (_native.core is not None) == (not _native.reason)
