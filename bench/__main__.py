"""`make bench`: every table of docs/benchmarks.md, measured now on this machine."""

from __future__ import annotations

import argparse
import os
import platform
from pathlib import Path

from bench.asking import asking
from bench.live import live
from bench.matching import matching
from bench.packets import core, mixes, packets
from bench.recorded import recorded
from bench.start import start
from bench.throughput import throughput


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m bench", description=__doc__)
    parser.add_argument("--shared", type=Path, default=Path("../shared"), help="where corpus and tools lie")
    parser.add_argument("--out", type=Path, default=Path("bench/out"), help="captures and peers are kept here")
    parser.add_argument("--runs", type=int, default=3)
    parser.add_argument(
        "--only", choices=["packets", "core", "asking", "throughput", "matching", "recorded", "start", "live"]
    )
    args = parser.parse_args()
    args.out.mkdir(parents=True, exist_ok=True)
    tables = {
        "packets": ("Packet path, whole programs on one core", lambda: packets(args.shared, args.out, args.runs)),
        "core": ("C core alone", lambda: core(args.shared, args.out)),
        "asking": ("Asking, loopback", asking),
        "throughput": ("Asking a thousand ports", lambda: throughput(args.runs)),
        "matching": ("Matching", matching),
        "recorded": ("Recorded banners", lambda: recorded(args.shared / "corpus/recog")),
        "start": ("Start", lambda: start(args.runs)),
        "live": ("Live capture at rising rates", lambda: live(mixes(args.shared, args.out)["flow-heavy"])),
    }
    print(
        f"{platform.machine()}, {os.cpu_count()} cores, Linux {platform.release()}, Python {platform.python_version()}"
    )
    for name, (title, table) in tables.items():
        if args.only in (None, name):
            print(f"\n## {title}\n")
            print("\n".join(table()), flush=True)


if __name__ == "__main__":
    main()
