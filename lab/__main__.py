"""`python -m lab`: real services in network namespaces with a known truth, watched by flowsonar."""

from __future__ import annotations

import argparse
import fcntl
import json
import os
import random
import shutil
import signal
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

from lab import nmap_compare, report
from lab.packages import MissingError, install
from lab.ports import Ports
from lab.programs import LabError, Programs
from lab.run import Lab
from lab.services import Service, Site
from lab.situations import SITUATIONS, Situation
from lab.topology import LOCK, Topology


def _arguments(words: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m lab",
        description=__doc__,
        epilog="exit code: 0 passed, 1 a label is wrong or missing, 2 wrong usage, 3 the laboratory does not work",
    )
    names = [situation.name for situation in SITUATIONS]
    parser.add_argument("--quick", action="store_true", help="the situations that CI runs, without nmap")
    parser.add_argument("--situation", action="append", choices=names, help="only this one (may be repeated)")
    parser.add_argument("--service", action="append", metavar="NAME", help="only services whose name contains this")
    parser.add_argument("--no-nmap", action="store_true", help="leave out the comparison with nmap -sV")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write everything that was found")
    parser.add_argument("--seed", type=int, help="for the random ports (printed on every run)")
    parser.add_argument("--keep", action="store_true", help="leave logs, records and captures behind")
    parser.add_argument("--list", action="store_true", help="print the situations")
    return parser.parse_args(words)


def _situations(chosen: argparse.Namespace) -> list[Situation]:
    if chosen.situation:
        return [situation for situation in SITUATIONS if situation.name in chosen.situation]
    return [situation for situation in SITUATIONS if situation.quick or not chosen.quick]


def _progress(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


def _ours(results: Sequence[report.Result]) -> dict[str, tuple[str, float | None]]:
    """Label and time of each service's first flow from the first packet on."""
    found: dict[str, tuple[str, float | None]] = {}
    for result in results:
        for row in result.rows:
            if result.situation == "first" and row.family == 4:
                found.setdefault(row.service, (row.label, row.ms))
    return found


def _wanted(services: list[Service], names: list[str] | None) -> list[Service]:
    wanted = [service for service in services if not names or any(name in service.name for name in names)]
    if not wanted:
        raise LabError(f"no service is called like that; there are: {', '.join(item.name for item in services)}")
    return wanted


def _work(chosen: argparse.Namespace, directory: Path, seed: int) -> int:
    results: list[report.Result] = []
    scans: list[nmap_compare.Scan] = []
    with Topology() as topology, Programs(directory) as programs:
        lab = Lab(topology, programs, Site(programs, Ports(seed), directory), directory)
        services = _wanted(lab.start(), chosen.service)
        _progress(f"first start of flowsonar, which compiles its signatures: {lab.warm():.1f} s")
        for situation in _situations(chosen):
            _progress(f"{situation.name}: {situation.title} ...")
            results.append(lab.run(situation, services))
            if situation.name == "first" and not chosen.quick and not chosen.no_nmap:
                _progress("nmap -sV on the same ports ...")
                scans = nmap_compare.scan(programs, services, directory / "nmap")
        wire = lab.finish_wire()
    rows = [row for result in results for row in result.rows]
    print("\n".join(report.table(rows)), "", *report.summary(results, wire), sep="\n")
    if scans:
        print("", *nmap_compare.table(scans, _ours(results)), sep="\n")
    for result in results:
        for note in result.notes:
            print(f"note: {result.situation}: {note}")
    problems = report.problems(results)
    if chosen.json:
        chosen.json.write_text(json.dumps(report.as_json(results, seed=seed, wire=wire, problems=problems), indent=1))
    print("", f"{len(problems)} failures" if problems else "passed", *(f"  {text}" for text in problems), sep="\n")
    print(f"seed {seed}")
    return 1 if problems else 0


def _interrupted(_signal: int, _frame: object) -> None:
    raise KeyboardInterrupt


def main(words: Sequence[str] | None = None) -> int:
    """Run the laboratory."""
    chosen = _arguments(words)
    if chosen.list:
        for situation in SITUATIONS:
            print(f"{situation.name:18} {'quick' if situation.quick else '':6} {situation.title}")
        return 0
    if os.geteuid() != 0:
        _progress("the laboratory makes network namespaces: run it as root")
        return 3
    signal.signal(signal.SIGTERM, _interrupted)
    seed = random.SystemRandom().randrange(1_000_000) if chosen.seed is None else chosen.seed
    os.environ["PYTHONPATH"] = os.pathsep.join(
        [str(Path(__file__).resolve().parents[1]), os.environ.get("PYTHONPATH", "")]
    )
    directory = Path(tempfile.mkdtemp(prefix="flowsonar-lab-"))
    with LOCK.open("w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            installed = install()
            if installed:
                _progress(f"installed: {' '.join(installed)}")
            return _work(chosen, directory, seed)
        except BlockingIOError:
            _progress("another laboratory is running on this machine")
        except (LabError, MissingError) as error:
            _progress(f"the laboratory does not work: {error}")
        except KeyboardInterrupt:
            _progress("interrupted; everything that was started has been ended")
            return 130
        finally:
            if chosen.keep:
                _progress(f"kept: {directory}")
            else:
                shutil.rmtree(directory, ignore_errors=True)
        return 3


if __name__ == "__main__":
    sys.exit(main())
