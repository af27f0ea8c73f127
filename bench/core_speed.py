"""Packets a second of the C core alone: framing walk, decoder and flow table, without Python around them."""

from __future__ import annotations

import subprocess
from dataclasses import dataclass
from pathlib import Path

__all__ = ["CoreSpeed", "measure_core"]

ROOT = Path(__file__).resolve().parents[1]
NATIVE = ROOT / "src" / "flowsonar" / "_native"


@dataclass(frozen=True, slots=True, kw_only=True)
class CoreSpeed:
    """The best of several rounds."""

    packets: int
    flows: int
    events: int
    walk_ns: float
    """Nanoseconds a packet to find it in the file's bytes."""
    table_ns: float
    """Nanoseconds a packet to decode it, look its flow up and count it, events included."""

    @property
    def packets_per_s(self) -> float:
        """Walk and table together."""
        return 1e9 / (self.walk_ns + self.table_ns)


def measure_core(capture: Path, out: Path, rounds: int = 5) -> CoreSpeed:
    """Build the program into `out` and run it on a classic little-endian Ethernet pcap (what make_mix.py writes).

    The blocks have just been read, so they are in the processor's cache, as in the real program.
    """
    out.mkdir(parents=True, exist_ok=True)
    program = out / "core_speed"
    sources = [str(path) for path in sorted(NATIVE.glob("*.c")) if not path.name.startswith("binding")]
    own = str(ROOT / "bench" / "core_speed.c")
    build = ["cc", "-std=c11", "-O3", f"-I{NATIVE}", own, *sources, "-o", str(program), "-lm"]
    subprocess.run(build, check=True)
    done = subprocess.run([str(program), str(capture), str(rounds)], check=True, capture_output=True, text=True)
    best = min(
        ([float(word) for word in line.split()] for line in done.stdout.splitlines()),
        key=lambda numbers: numbers[3] + numbers[4],
    )
    packets, flows, events, walk, table = best
    return CoreSpeed(
        packets=int(packets), flows=int(flows), events=int(events), walk_ns=walk / packets, table_ns=table / packets
    )
