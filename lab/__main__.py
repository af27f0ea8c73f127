"""`python -m lab`: real services in network namespaces with a known truth, watched by flowsonar."""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Sequence
from pathlib import Path

from lab import nmap_compare, report
from lab.frame import perform, say, seeded
from lab.packages import install
from lab.ports import Ports
from lab.programs import LabError, Programs
from lab.run import Lab
from lab.services import Service, Site
from lab.situations import SITUATIONS, Situation
from lab.topology import Topology


def _arguments(words: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m lab",
        description=__doc__,
        epilog="exit code: 0 passed, 1 a label is wrong or too many are missing, 2 wrong usage, 3 it does not work",
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
        say(f"first start of flowsonar, which compiles its signatures: {lab.warm():.1f} s")
        for situation in _situations(chosen):
            say(f"{situation.name}: {situation.title} ...")
            results.append(lab.run(situation, services))
            if situation.name == "first" and not chosen.quick and not chosen.no_nmap:
                say("nmap -sV on the same ports ...")
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
    for text in report.unlabelled(results):
        if text not in problems:
            print(f"note: {text}; {report.MUST_BE_RIGHT:.0%} are enough")
    if chosen.json:
        chosen.json.write_text(json.dumps(report.as_json(results, seed=seed, wire=wire, problems=problems), indent=1))
    print("", f"{len(problems)} failures" if problems else "passed", *(f"  {text}" for text in problems), sep="\n")
    print(f"seed {seed}")
    return 1 if problems else 0


def main(words: Sequence[str] | None = None) -> int:
    """Run the laboratory."""
    chosen = _arguments(words)
    if chosen.list:
        for situation in SITUATIONS:
            print(f"{situation.name:18} {'quick' if situation.quick else '':6} {situation.title}")
        return 0

    def work(folder: Path) -> int:
        installed = install()
        if installed:
            say(f"installed: {' '.join(installed)}")
        return _work(chosen, folder, seeded(chosen.seed))

    return perform(work, name="lab", keep=chosen.keep, alone=True)


if __name__ == "__main__":
    sys.exit(main())
