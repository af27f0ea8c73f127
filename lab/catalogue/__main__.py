"""`python -m lab.catalogue`: every program of the catalogue, asked by flowsonar and by its peers, beside the truth."""

from __future__ import annotations

import argparse
import json
import shlex
import sys
from collections.abc import Sequence
from pathlib import Path

from lab.catalogue import QUICK, crossed, families, trace
from lab.catalogue.entry import Entry
from lab.comparison import table
from lab.comparison.batch import Batch, Compared, Options
from lab.comparison.network import Pair
from lab.comparison.said import Names
from lab.frame import USAGE, perform, say, seeded
from lab.packages import MissingError, install, install_debian
from lab.ports import Ports
from lab.programs import LabError, Programs

_TOOLS = (
    ("iproute2", "ip"),
    ("procps", "sysctl"),
    ("openssl", "openssl"),
    ("tcpdump", "tcpdump"),
    ("curl", "curl"),
    ("nmap", "nmap"),
    ("libndpi-bin", "ndpiReader"),
)


def _arguments(words: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m lab.catalogue",
        description=__doc__,
        epilog="exit code: 0 passed, 1 a confirmed label is wrong or too few are right, 2 wrong usage, 3 no result",
    )
    parser.add_argument("--only", nargs="+", metavar="NAME", help="only entries whose name contains one of these")
    parser.add_argument("--family", nargs="+", metavar="F", help="only these families (modules of lab/catalogue)")
    parser.add_argument("--quick", action="store_true", help="a dozen programs, without nmap: what CI runs")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write everything that was found")
    parser.add_argument("--trace", type=Path, metavar="FILE", help="write what was asked of each endpoint, and when")
    parser.add_argument("--no-nmap", action="store_true", help="leave nmap -sV out")
    parser.add_argument("--nmap-udp", action="store_true", help="let nmap ask UDP ports too: a minute a port")
    parser.add_argument("--no-ndpi", action="store_true", help="leave the real clients out, and so nDPI and read")
    parser.add_argument(
        "--probe", default="", metavar="OPTIONS", help="further options of `flowsonar probe`, as one word"
    )
    parser.add_argument("--at-once", action="store_true", help="ask the endpoints of a batch at once, not one by one")
    parser.add_argument("--crossed", action="store_true", help="instead put every question to every program")
    parser.add_argument("--batch", type=int, default=24, metavar="N", help="programs at a time (24)")
    parser.add_argument("--seed", type=int, help="for the random ports (printed on every run)")
    parser.add_argument("--keep", action="store_true", help="leave logs, records and captures behind")
    parser.add_argument("--list", action="store_true", help="print the catalogue")
    return parser.parse_args(words)


def _chosen(chosen: argparse.Namespace) -> list[Entry]:
    known = families()
    wrong = [name for name in chosen.family or () if name not in known]
    if wrong:
        raise LabError(f"no family is called {', '.join(wrong)}; there are: {', '.join(known)}")
    entries = [
        entry for name, programs in known.items() if not chosen.family or name in chosen.family for entry in programs
    ]
    if chosen.quick:
        entries = [entry for entry in entries if entry.name in QUICK]
    if chosen.only:
        entries = [entry for entry in entries if any(part in entry.name for part in chosen.only)]
    if not entries:
        raise LabError("no program is called like that; see --list")
    return entries


def _install(entries: Sequence[Entry]) -> None:
    """All Debian packages in one go, which takes a fraction of the time of one after the other."""
    packages = sorted({package for entry in entries for package in entry.packages})
    try:
        install_debian(packages)
    except MissingError as error:
        say(f"not all packages could be installed at once, so each with its program: {str(error)[:300]}")


def _work(chosen: argparse.Namespace, entries: Sequence[Entry], directory: Path, seed: int) -> int:
    names = Names.load()
    options = Options(
        nmap=not (chosen.no_nmap or chosen.quick),
        nmap_udp=chosen.nmap_udp,
        ndpi=not chosen.no_ndpi,
        probe=tuple(shlex.split(chosen.probe)),
        at_once=chosen.at_once,
        crossed=chosen.crossed,
    )
    left_out = {name for name, gone in (("nmap", not options.nmap), ("ndpiReader", not options.ndpi)) if gone}
    install([tool for tool in _TOOLS if tool[1] not in left_out])
    _install(entries)
    rows: list[Compared] = []
    with Pair() as pair, Programs(directory) as programs:
        batch = Batch(pair, programs, Ports(seed), directory, names, options, say)
        batch.warm()
        size = max(1, chosen.batch)
        for start in range(0, len(entries), size):
            say(f"programs {start + 1} to {min(start + size, len(entries))} of {len(entries)}")
            rows += batch.run(entries[start : start + size])
    if chosen.crossed:
        print("\n".join(crossed.summary(batch.told, batch.failed)), f"seed {seed}", sep="\n")
        return 0 if crossed.passes(batch.told) else 1
    print("\n".join(table.table(rows, names.parents)), "", sep="\n")
    print("\n".join(table.summary(rows, batch.times, batch.failed, names.parents)))
    wrong = table.problems(rows, names.parents)
    if chosen.trace:
        asked = [row for folder in sorted(directory.glob("batch-*")) for row in trace.asked(folder)]
        chosen.trace.write_text("\n".join(trace.lines(asked)) + "\n")
    if chosen.json:
        chosen.json.write_text(json.dumps(table.as_json(rows, batch.times, batch.failed), indent=1) + "\n")
    print(*(f"  {text}" for text in wrong), sep="\n")
    passed = table.passes(rows, names.parents)
    print("passed" if passed else "failed", f"seed {seed}", sep="\n")
    return 0 if passed else 1


def main(words: Sequence[str] | None = None) -> int:
    """Run the comparison."""
    chosen = _arguments(words)
    try:
        entries = _chosen(chosen)
    except LabError as error:
        say(str(error))
        return USAGE
    if chosen.list:
        for name, programs in families().items():
            for entry in programs:
                if entry in entries:
                    print(f"{name:14} {entry.name:24} {' '.join((*entry.packages, *entry.pip))}")
        return 0
    return perform(
        lambda folder: _work(chosen, entries, folder, seeded(chosen.seed)), name="services", keep=chosen.keep
    )


if __name__ == "__main__":
    sys.exit(main())
