"""`python -m lab.traffic`: calls, media, games and tunnels of real programs as flows, beside passive classifiers."""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

from lab.comparison import passive
from lab.comparison.said import Names, Said
from lab.frame import USAGE, perform, say, seeded
from lab.packages import install
from lab.programs import LabError, Programs
from lab.traffic import table
from lab.traffic.catalogue import families
from lab.traffic.mode import Mode
from lab.traffic.network import MOST, Path3
from lab.traffic.run import PASSES, Pass, Run, Seen

_TOOLS = (
    ("iproute2", "ip"),
    ("procps", "sysctl"),
    ("openssl", "openssl"),
    ("tcpdump", "tcpdump"),
)


def _arguments(words: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m lab.traffic",
        description=__doc__,
        epilog="exit code: 0 passed, 1 a confirmed label is wrong or too few are right, 2 wrong usage, 3 no result",
    )
    parser.add_argument("--quick", action="store_true", help="some modes from the first packet on: what CI runs")
    parser.add_argument("--only", nargs="+", metavar="NAME", help="only modes whose name contains one of these")
    parser.add_argument("--family", nargs="+", metavar="F", help="only these families (modules of the catalogue)")
    parser.add_argument("--watch", nargs="+", choices=[plan.name for plan in PASSES], help="only these passes")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write everything that was found")
    parser.add_argument("--no-peers", action="store_true", help="leave the passive classifiers out")
    parser.add_argument("--batch", type=int, default=8, metavar="N", help="modes at a time (8)")
    parser.add_argument("--seed", type=int, help="for the random ports (printed on every run)")
    parser.add_argument("--keep", action="store_true", help="leave logs, records and captures behind")
    parser.add_argument("--list", action="store_true", help="print the catalogue")
    return parser.parse_args(words)


def _chosen(chosen: argparse.Namespace) -> list[Mode]:
    known = families()
    wrong = [name for name in chosen.family or () if name not in known]
    if wrong:
        raise LabError(f"no family is called {', '.join(wrong)}; there are: {', '.join(known)}")
    modes = [mode for name, found in known.items() if not chosen.family or name in chosen.family for mode in found]
    if chosen.quick:
        modes = [mode for mode in modes if mode.quick]
    if chosen.only:
        modes = [mode for mode in modes if any(part in mode.name for part in chosen.only)]
    if not modes:
        raise LabError("no mode is called like that; see --list")
    return modes


def _passes(chosen: argparse.Namespace) -> list[Pass]:
    if chosen.watch:
        return [plan for plan in PASSES if plan.name in chosen.watch]
    return [plan for plan in PASSES if plan.quick or not chosen.quick]


def _certificate(folder: Path) -> Path:
    key, file = folder / "key.pem", folder / "certificate.pem"
    words = ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "30", "-keyout", str(key)]
    words += ["-subj", "/CN=server.lab.example", "-addext", "subjectAltName=DNS:server.lab.example"]
    done = subprocess.run(words, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        raise LabError(f"openssl cannot make a certificate: {done.stderr.strip()}")
    file.write_text(done.stdout + key.read_text())
    file.chmod(0o644)
    return file


def _peers(captures: Sequence[Path], names: Names) -> Mapping[object, Mapping[str, Mapping[object, Said]]]:
    found: dict[object, Mapping[str, Mapping[object, Said]]] = {}
    for capture in captures:
        say(f"passive classifiers on {capture.parent.name}")
        found[capture] = passive.compare(capture, capture.parent, names)  # type: ignore[assignment]
    return found


def _work(chosen: argparse.Namespace, modes: Sequence[Mode], directory: Path, seed: int) -> int:
    names = Names.load()
    install(_TOOLS)
    plans = _passes(chosen)
    if sum(plan.takes(mode) for plan in plans for mode in modes) > MOST:
        raise LabError(f"more than {MOST} modes in all passes")
    seen: list[Seen] = []
    with Path3() as network, Programs(directory) as programs:
        run = Run(network, programs, seed, directory, _certificate(directory), say)
        run.warm()
        for plan in plans:
            seen += run.play(plan, modes, max(1, chosen.batch))
        said = {} if chosen.no_peers else _peers(run.captures, names)
    truths = {key: stage.expected for key, stage in run.stages.items()}
    found = table.rows(seen, truths, said, names.parents)
    print(*table.table(found), "", sep="\n")
    print(*table.summary(found, run.failed), sep="\n")
    print(*(f"  {text}" for text in (*run.faults, *table.problems(found))), sep="\n")
    if chosen.json:
        chosen.json.write_text(json.dumps(table.as_json(found, run.failed, seed), indent=1) + "\n")
    passed = table.passes(found) and not run.faults
    print("passed" if passed else "failed", f"seed {seed}", sep="\n")
    return 0 if passed else 1


def main(words: Sequence[str] | None = None) -> int:
    """Run the laboratory of flows."""
    chosen = _arguments(words)
    try:
        modes = _chosen(chosen)
    except LabError as error:
        say(str(error))
        return USAGE
    if chosen.list:
        for name, found in families().items():
            for mode in found:
                if mode in modes:
                    print(f"{name:10} {mode.name:48} {' '.join((*mode.packages, *mode.pip))}")
        return 0
    return perform(lambda folder: _work(chosen, modes, folder, seeded(chosen.seed)), name="traffic", keep=chosen.keep)


if __name__ == "__main__":
    sys.exit(main())
