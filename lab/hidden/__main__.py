"""`python -m lab.hidden`: the traffic that hides, labelled live, beside ndpiReader, NFStream and tshark."""

from __future__ import annotations

import argparse
import json
import sys
import time
from collections.abc import Sequence
from pathlib import Path

from bench.peers import nfstream

from lab.frame import perform, say, seeded
from lab.hidden import report
from lab.hidden.cases import PAIRS, PHASES, Pair
from lab.hidden.clients import PACKAGES, PIP
from lab.hidden.network import Network
from lab.hidden.run import Hidden, Outcome
from lab.packages import install, install_debian, install_python
from lab.ports import Ports
from lab.programs import LabError, Programs

_OUT = Path(__file__).resolve().parents[1] / "out"
_BENCH = Path(__file__).resolve().parents[2] / "bench" / "out"
"""NFStream's environment is the one of `make bench`."""
_TOOLS = (
    ("iproute2", "bridge"),
    ("procps", "sysctl"),
    ("nftables", "nft"),
    ("libndpi-bin", "ndpiReader"),
    ("tshark", "tshark"),
    ("tcpdump", "tcpdump"),
    ("ethtool", "ethtool"),
)
_RIGHT = 0.97
"""The share of flows that must be right, and none may be wrong at `confirmed`, for the exit code 0."""
_RIGHT_QUICK = 0.85
"""The same of the few flows of `--quick`, of which a busy machine may cost one or two."""


def _arguments(words: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m lab.hidden",
        description=__doc__,
        epilog="exit code: 0 passed, 1 too many labels are wrong or missing, 2 wrong usage, 3 it does not work",
    )
    names = [phase.name for phase in PHASES]
    parser.add_argument("--quick", action="store_true", help="a few pairs and phases, as CI runs it")
    parser.add_argument("--pair", action="append", metavar="TEXT", help="only pairs whose name contains this")
    parser.add_argument("--phase", action="append", choices=names, help="only this one (may be repeated)")
    parser.add_argument("--json", type=Path, default=_OUT / "hidden.json", metavar="FILE", help="all that was found")
    parser.add_argument("--seed", type=int, help="for the random ports (printed on every run)")
    parser.add_argument("--keep", action="store_true", help="leave logs, records and captures behind")
    return parser.parse_args(words)


def _pairs(chosen: argparse.Namespace) -> list[Pair]:
    if chosen.pair:
        return [pair for pair in PAIRS if any(text in pair.name for text in chosen.pair)]
    return [pair for pair in PAIRS if pair.quick or not chosen.quick]


def _work(chosen: argparse.Namespace, directory: Path, seed: int) -> int:
    pairs = _pairs(chosen)
    phases = [
        phase for phase in PHASES if (phase.name in chosen.phase if chosen.phase else phase.quick or not chosen.quick)
    ]
    if not pairs:
        raise LabError(f"no pair is called like that; there are: {'; '.join(pair.name for pair in PAIRS)}")
    outcomes: list[Outcome] = []
    with Network() as network, Programs(directory) as programs:
        hidden = Hidden(network, programs, directory, pairs, nfstream(_BENCH), say, Ports(seed))
        say(f"{len(pairs)} pairs of clients ...")
        hidden.prepare()
        for phase in phases:
            say(f"{phase.name}: {phase.title} ...")
            outcomes.append(hidden.watch(phase))
    print(*report.by_pair(outcomes), "", *report.by_phase(outcomes), "", *report.readme(outcomes), sep="\n")
    found = report.problems(outcomes)
    chosen.json.parent.mkdir(parents=True, exist_ok=True)
    chosen.json.write_text(json.dumps(report.as_json(outcomes, seed=seed, problems=found), indent=1, default=str))
    print("", *found, f"seed {seed}", sep="\n")
    flows = [flow for outcome in outcomes for flow in outcome.flows]
    right = sum(flow.service == "bittorrent" and flow.confidence in {"confirmed", "likely"} for flow in flows)
    wrong = sum(flow.service not in {None, "bittorrent"} and flow.confidence == "confirmed" for flow in flows)
    passed = bool(flows) and right >= (_RIGHT_QUICK if chosen.quick else _RIGHT) * len(flows) and not wrong
    print(f"{right} of {len(flows)} flows right, {wrong} wrong at confirmed: {'passed' if passed else 'failed'}")
    return 0 if passed else 1


def main(words: Sequence[str] | None = None) -> int:
    """Run the hiding case."""
    chosen = _arguments(words)
    began_s = time.monotonic()

    def work(folder: Path) -> int:
        install(_TOOLS)
        used = {client.kind for pair in _pairs(chosen) for client in (pair.seed, pair.leech)}
        install_debian(package for kind, package in PACKAGES.items() if kind in used)
        if "deluge" in used:
            install_debian(["deluge-console"])
        install_python(PIP)
        return _work(chosen, folder, seeded(chosen.seed))

    code = perform(work, name="hidden", keep=chosen.keep)
    say(f"{time.monotonic() - began_s:.0f} s")
    return code


if __name__ == "__main__":
    sys.exit(main())
