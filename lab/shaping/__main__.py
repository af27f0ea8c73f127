"""`python -m lab.shaping`: a call beside BitTorrent and a download on a slow line, with flowsonar and without."""

from __future__ import annotations

import argparse
import fcntl
import json
import os
import random
import shutil
import signal
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

from lab.packages import VENV, MissingError, install, install_python
from lab.programs import LabError, Programs
from lab.shaping import report
from lab.shaping.network import Network
from lab.shaping.run import WAYS, Bench

_OUT = Path(__file__).resolve().parents[1] / "out"
_LOCK = Path("/run/lock/flowsonar-lab-shaping")
_ROOT = Path(__file__).resolve().parents[2]


def _arguments(words: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m lab.shaping",
        description=__doc__,
        epilog="exit code: 0 all figures reached, 1 one is not, 2 wrong usage, 3 the laboratory does not work",
    )
    parser.add_argument("--seconds", type=float, default=40, help="how long each load lasts (default 40)")
    parser.add_argument("--way", action="append", choices=list(WAYS), help="only these (idle is always measured)")
    parser.add_argument("--seed", type=int, help="for the random ports (printed on every run)")
    parser.add_argument("--keep", action="store_true", help="leave logs and captures behind")
    return parser.parse_args(words)


def _progress(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


def _work(chosen: argparse.Namespace, folder: Path, seed: int) -> int:
    ways = [way for way in WAYS if way in (chosen.way or WAYS) or way == "idle"]
    results = []
    with Network(), Programs(folder) as programs:
        bench = Bench(programs, folder, seed, _progress)
        bench.start()
        for way in ways:
            _progress(f"{WAYS[way]} ...")
            seconds = min(10.0, chosen.seconds) if way == "idle" else chosen.seconds
            results.append(bench.measure(way, seconds, again=10.0 if way == "flowsonar" else 0.0))
        wire = bench.finish()
    found = report.figures({result.way: result for result in results})
    print("99th percentile of the call's one-way delay (all ways but the first: what the load added), losses, and bulk")
    print("as a share of what the call leaves of the line; settled: from 10 s after the load's begin on", "", sep="\n")
    print("\n".join(report.table(results)), "", sep="\n")
    for one in found:
        print(f"{'reached    ' if one.reached else 'NOT reached'}  {one.what}: {one.found} (wanted: {one.wanted})")
    late = wire.get("late_us", {})
    print(f"the wire's own lateness: median {late.get('p50')} us, 99th percentile {late.get('p99')} us; seed {seed}")
    _OUT.mkdir(exist_ok=True)
    data, picture = _OUT / "shaping.json", _OUT / "shaping.svg"
    data.write_text(json.dumps(report.as_json(results, found, seed=seed, wire=wire)))
    draw = [str(VENV / "bin" / "python"), "-m", "lab.shaping.plot", str(data), str(picture)]
    drawn = subprocess.run(draw, cwd=_ROOT, capture_output=True, text=True, check=False)
    if drawn.returncode != 0:
        raise LabError(f"the plot cannot be drawn: {drawn.stderr.strip()[-400:]}")
    print(f"written: {data} {picture}")
    return 0 if all(one.reached for one in found) else 1


def _interrupted(_signal: int, _frame: object) -> None:
    raise KeyboardInterrupt


def main(words: Sequence[str] | None = None) -> int:
    """Run the laboratory."""
    chosen = _arguments(words)
    if os.geteuid() != 0:
        _progress("the laboratory makes network namespaces: run it as root")
        return 3
    signal.signal(signal.SIGTERM, _interrupted)
    seed = random.SystemRandom().randrange(1_000_000) if chosen.seed is None else chosen.seed
    os.environ["PYTHONPATH"] = os.pathsep.join([str(_ROOT), os.environ.get("PYTHONPATH", "")])
    folder = Path(tempfile.mkdtemp(prefix="flowsonar-shaping-"))
    with _LOCK.open("w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            installed = install()
            if installed:
                _progress(f"installed: {' '.join(installed)}")
            install_python(["libtorrent", "matplotlib"])
            return _work(chosen, folder, seed)
        except BlockingIOError:
            _progress("this laboratory is running already on this machine")
        except (LabError, MissingError) as error:
            _progress(f"the laboratory does not work: {error}")
        except KeyboardInterrupt:
            _progress("interrupted; everything that was started has been ended")
            return 130
        finally:
            if chosen.keep:
                _progress(f"kept: {folder}")
            else:
                shutil.rmtree(folder, ignore_errors=True)
    return 3


if __name__ == "__main__":
    sys.exit(main())
