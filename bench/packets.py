"""The packet path: `flowsonar read` beside ndpiReader, NFStream and tshark on the two mixes of the corpus."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from bench.core_speed import measure_core
from bench.measure import in_turn
from bench.peers import NFSTREAM_PROGRAM, debian, nfstream
from flowsonar.capture import open_capture
from flowsonar.model import FRAME_SIZE

__all__ = ["core", "mixes", "packets"]

MIXES = {"flow-heavy": ["--copies", "10"], "packet-heavy": ["--copies", "1", "--boost", "16"]}


def mixes(shared: Path, out: Path) -> dict[str, Path]:
    """Make the captures where they are not there yet."""
    made = {}
    for name, arguments in MIXES.items():
        made[name] = out / f"{name}.pcap"
        if not made[name].exists():
            command = [
                sys.executable,
                str(shared / "tools/make_mix.py"),
                str(shared / "corpus/ndpi/pcap"),
                str(made[name]),
            ]
            subprocess.run([*command, *arguments], check=True, stdout=sys.stderr)
    return made


def packets_of(capture: Path) -> int:
    """Packets of a capture, read block by block: what this process holds would show as its children's peak."""
    with open_capture(capture) as source:
        return sum(len(block.frames) // FRAME_SIZE for block in source)


def packets(shared: Path, out: Path, runs: int) -> list[str]:
    """The table, as Markdown lines."""
    flowsonar = str(Path(sys.executable).parent / "flowsonar")
    lines = [
        "| mix | program | wall s | CPU s | Mpackets/s | peak MiB | ndpiReader's wall over it |",
        "|---|---|---|---|---|---|---|",
    ]
    for mix, capture in mixes(shared, out).items():
        count = packets_of(capture)
        commands = {
            "flowsonar read --json": [flowsonar, "read", str(capture), "--json"],
            "ndpiReader 4.2": [debian("ndpiReader", "libndpi-bin"), "-q", "-i", str(capture)],
            "tshark 4.0, -z io,phs": [debian("tshark", "tshark"), "-n", "-q", "-r", str(capture), "-z", "io,phs"],
            "NFStream 6.6": [nfstream(out), "-c", NFSTREAM_PROGRAM, str(capture)],
        }
        results = in_turn(commands, runs=runs)
        peer = results["ndpiReader 4.2"].wall_s
        lines += [
            f"| {mix} ({count:,} packets) | {run.name} | {run.wall_s:.2f} | {run.cpu_s:.2f} "
            f"| {count / run.wall_s / 1e6:.3f} | {run.peak_mib:.0f} | {peer / run.wall_s:.2f} |"
            for run in results.values()
        ]
    return lines


def core(shared: Path, out: Path) -> list[str]:
    """The C core alone: walk, decode, look-up and counters, events made but not taken to Python."""
    lines = ["| mix | walk, ns a packet | table, ns a packet | Mpackets/s |", "|---|---|---|---|"]
    for mix, capture in mixes(shared, out).items():
        speed = measure_core(capture, out)
        lines.append(f"| {mix} | {speed.walk_ns:.0f} | {speed.table_ns:.0f} | {speed.packets_per_s / 1e6:.2f} |")
    return lines
