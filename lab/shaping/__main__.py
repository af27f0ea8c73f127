"""`python -m lab.shaping`: a call beside BitTorrent and a download on a slow line, with flowsonar and without."""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

from lab.frame import perform, say, seeded
from lab.packages import VENV, install, install_python
from lab.programs import LabError, Programs
from lab.shaping import report
from lab.shaping.network import Network
from lab.shaping.run import WAYS, Bench

_OUT = Path(__file__).resolve().parents[1] / "out"
_ROOT = Path(__file__).resolve().parents[2]
_QUICK_S = 10.0
_TRIES = 3
"""A way is measured so often, until the machine was steady for half of it."""
UNTOLD = 4
"""Exit code where nothing is missed, and something cannot be told."""


def _arguments(words: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m lab.shaping",
        description=__doc__,
        epilog="exit code: 0 all figures reached, 1 one is not, 2 wrong usage, 3 the laboratory does not work, "
        "4 the machine stood still too often to tell",
    )
    parser.add_argument("--seconds", type=float, default=40, help="how long each load lasts (default 40)")
    parser.add_argument("--quick", action="store_true", help="a short load, and only what no busy machine changes")
    parser.add_argument("--way", action="append", choices=list(WAYS), help="only these (idle is always measured)")
    parser.add_argument("--shape", default="", metavar="WORDS", help="more options for `flowsonar shape`")
    parser.add_argument("--seed", type=int, help="for the random ports (printed on every run)")
    parser.add_argument("--keep", action="store_true", help="leave logs and captures behind")
    chosen = parser.parse_args(words)
    if chosen.quick:
        chosen.seconds, chosen.way = min(chosen.seconds, _QUICK_S), chosen.way or ["flowsonar"]
    return chosen


def _work(chosen: argparse.Namespace, folder: Path, seed: int) -> int:
    ways = [way for way in WAYS if way in (chosen.way or WAYS) or way == "idle"]
    results = []
    with Network(), Programs(folder) as programs:
        bench = Bench(programs, folder, seed, say, chosen.shape.split())
        bench.start()
        for way in ways:
            say(f"{WAYS[way]} ...")
            seconds = (
                min(10.0, chosen.seconds / 2 if chosen.quick else chosen.seconds) if way == "idle" else chosen.seconds
            )
            again = min(10.0, seconds) if way == "flowsonar" else 0.0
            results.append(bench.measure(way, seconds, again, tries=1 if chosen.quick else _TRIES))
        wire = bench.finish()
    found = report.figures({result.way: result for result in results})
    print("99th percentile of the call's one-way delay (all ways but the first: what the load added), losses, and bulk")
    print("as a share of what the call leaves of the line; settled: from 10 s after the load's begin on", "", sep="\n")
    print("\n".join(report.table(results)), "", sep="\n")
    print("left out, because the machine itself stood still (each processor is watched); the delays with them:")
    print("\n".join(report.left_out(results)), "", sep="\n")
    counts = [one for one in found if one.steady or not chosen.quick]
    for one in found:
        missed = "NOT reached" if one.reached is not None else "cannot tell"
        state = "reached    " if one.reached else missed if one in counts else "(not here) "
        print(f"{state}  {one.what}: {one.found} (wanted: {one.wanted})")
    for result in results:
        if not result.tells:
            why = f"it stood still for {result.still:.1%} of the time, near most packets of the call"
            print(f"{WAYS[result.way]}: cannot be told on this machine: {why}")
        for whose, dscp in report.others(result):
            print(f"another class's mark, {WAYS[result.way]}: {whose}: DSCP {dscp}")
    late = wire.get("late_us", {})
    print(f"the wire's own lateness: median {late.get('p50')} us, 99th percentile {late.get('p99')} us; seed {seed}")
    _OUT.mkdir(exist_ok=True)
    data = _OUT / "shaping.json"
    picture = _ROOT / "docs" / "shaping.svg" if set(ways) == set(WAYS) else _OUT / "shaping.svg"
    data.write_text(json.dumps(report.as_json(results, found, seed=seed, wire=wire)))
    draw = [str(VENV / "bin" / "python"), "-m", "lab.shaping.plot", str(data), str(picture)]
    drawn = subprocess.run(draw, cwd=_ROOT, capture_output=True, text=True, check=False)
    if drawn.returncode != 0:
        raise LabError(f"the plot cannot be drawn: {drawn.stderr.strip()[-400:]}")
    print(f"written: {data} {picture}")
    if any(one.reached is False for one in counts):
        return 1
    return UNTOLD if any(one.reached is None for one in counts) else 0


def main(words: Sequence[str] | None = None) -> int:
    """Run the laboratory."""
    chosen = _arguments(words)

    def work(folder: Path) -> int:
        installed = install()
        if installed:
            say(f"installed: {' '.join(installed)}")
        install_python(["libtorrent", "matplotlib"])
        return _work(chosen, folder, seeded(chosen.seed))

    return perform(work, name="shaping", keep=chosen.keep, alone=True)


if __name__ == "__main__":
    sys.exit(main())
