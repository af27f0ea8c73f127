"""`python -m lab.lookalikes`: real servers that are no peers, calls or Skype, and a thousand that babble, asked."""

from __future__ import annotations

import argparse
import json
import random
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

from lab.catalogue import families
from lab.catalogue.entry import Entry
from lab.frame import perform, say, seeded
from lab.namespaces import Namespaces
from lab.packages import VENV, MissingError, install, install_debian, install_python
from lab.ports import Ports
from lab.programs import LabError, Programs, in_namespace
from lab.services.base import Site

ENTRIES = (
    "bind", "dnsmasq", "unbound", "knot", "nsd", "chrony", "snmpd", "coturn", "caddy", "kamailio", "mumble",
    "xinetd-small", "impostors", "syncthing", "opentracker", "nginx", "openssh", "redis", "liars", "transmission",
)  # fmt: skip
PEERS = frozenset({"transmission"})
"""What is `bittorrent` in truth; `skype` and `rtp` it must not be."""
_FREE = range(10_100, 19_900)
"""Ports of those who babble: beside those that programs get, and below the system's own."""
_UP_S = 8.0
_LIMIT_S = 900.0
_TOOLS = (("iproute2", "ip"), ("openssl", "openssl"))


def _arguments(words: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m lab.lookalikes",
        description=__doc__,
        epilog="exit code: 0 none was called what it is not, 1 some were, 2 wrong usage, 3 no result",
    )
    parser.add_argument("--only", nargs="+", metavar="NAME", help="only programs whose name contains one of these")
    parser.add_argument("--random", type=int, default=1000, metavar="N", help="babbling endpoints (1000)")
    parser.add_argument("--seed", type=int, help="for the random ports (printed on every run)")
    parser.add_argument("--keep", action="store_true", help="leave logs behind")
    return parser.parse_args(words)


def summary(lines: Sequence[Sequence[object]]) -> tuple[list[str], int]:
    """A line for each kind of server, and how many were called what they are not."""
    endpoints, answers, false = Counter[str](), Counter[str](), 0
    told: list[str] = []
    for kind, transport, port, heard, labels in lines:
        name = str(kind)
        endpoints[name] += 1
        answers[name] += int(str(heard))
        assert isinstance(labels, list)
        wrong = [label for label in labels if not (name in PEERS and str(label).startswith("bittorrent"))]
        false += bool(wrong)
        told += [f"  {name} {transport}/{port}: {', '.join(map(str, wrong))}"] if wrong else []
    rows = [f"{name:16} {endpoints[name]:5} endpoints {answers[name]:7} answers" for name in endpoints]
    total = f"{sum(endpoints.values())} endpoints, {sum(answers.values())} answers: {false} called what they are not"
    return [*rows, *told, total], false


def _entries(only: Sequence[str] | None) -> list[Entry]:
    known = {entry.name: entry for found in families().values() for entry in found}
    names = [name for name in ENTRIES if name in known and (not only or any(part in name for part in only))]
    return [known[name] for name in names]


def _start(entry: Entry, programs: Programs, ports: Ports, folder: Path, namespace: str) -> list[list[object]]:
    try:
        install_debian(entry.packages)
        if entry.pip:
            install_python(entry.pip)
        site = Site(
            programs=programs, ports=ports, directory=folder, namespace=namespace, address4="127.0.0.1", address6="::1",
            interpreter=str(VENV / "bin" / "python") if entry.pip else sys.executable,
        )  # fmt: skip
        folder.mkdir()
        site.prepare()
        entry.start(site)
    except (LabError, MissingError, OSError, subprocess.SubprocessError) as error:
        say(f"{entry.name} does not play: {error}")
        return []
    return [[entry.name, one.transport, one.port, True] for one in site.services if one.transport in {"tcp", "udp"}]


def _work(chosen: argparse.Namespace, directory: Path, seed: int) -> int:
    install(_TOOLS)
    namespace, ports = f"fsL{seed}", Ports(seed)
    with Namespaces([namespace]), Programs(directory) as programs:
        places: list[list[object]] = []
        for entry in _entries(chosen.only):
            places += _start(entry, programs, ports, directory / entry.name, namespace)
        free = random.Random(seed).sample(_FREE, chosen.random + chosen.random // 50)
        babble = [["random", "udp" if place % 2 else "tcp", free.pop()] for place in range(chosen.random)]
        babble += [["rtp", "udp", port] for port in free]
        file = directory / "babble.json"
        file.write_text(json.dumps(babble))
        programs.start(namespace, [sys.executable, "-m", "lab.lookalikes.babbler", file], name="babbler")
        # over TCP every one is asked the whole dialogues, and one in ten everything else
        places += [[*one, one[1] == "udp" or place % 20 == 0] for place, one in enumerate(babble)]
        time.sleep(_UP_S)
        say(f"{len(places)} endpoints ...")
        asked = directory / "endpoints.json"
        asked.write_text(json.dumps(places))
        command = in_namespace(namespace, [sys.executable, "-m", "lab.lookalikes.asking", str(asked)])
        done = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True, timeout=_LIMIT_S)
    lines, false = summary([json.loads(line) for line in done.stdout.splitlines()])
    print(*lines, f"seed {seed}", sep="\n")
    return 1 if false else 0


def main(words: Sequence[str] | None = None) -> int:
    """Ask them all."""
    chosen = _arguments(words)
    return perform(lambda folder: _work(chosen, folder, seeded(chosen.seed)), name="lookalikes", keep=chosen.keep)


if __name__ == "__main__":
    sys.exit(main())
