"""What this machine's kernel can do for queues and marks: tried in a throw-away network namespace, not guessed.

Kernels differ, and names of modules or of configuration options do not tell: a classifier may be there and its action
not. So every queue, classifier, action and firewall feature is set up once, on the loopback interface of a namespace
that ends with the process that tried. Nothing of the machine's own network is touched. As a side effect the kernel may
load the modules, as it would on first use.
"""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from flowsonar.shaping.tc import failed_lines

__all__ = ["ACTIONS", "FILTERS", "FIREWALL", "QDISCS", "Kernel", "examine"]

QDISCS: Final[Mapping[str, str]] = {
    "cake": "cake bandwidth 10mbit diffserv4",
    "htb": "htb default 50",
    "fq_codel": "fq_codel",
    "sfq": "sfq",
    "tbf": "tbf rate 10mbit burst 5k latency 20ms",
    "pfifo": "pfifo",
    "bfifo": "bfifo",
    "pfifo_head_drop": "pfifo_head_drop",
    "netem": "netem delay 1ms",
}
"""Queueing disciplines by name, each with words that tc accepts."""

FILTERS: Final[Mapping[str, str]] = {
    "matchall": "matchall",
    "u32": "u32 match u32 0 0",
    "fw": "handle 1/255 fw",
}
"""Classifiers that `shape` can use."""

ACTIONS: Final[Mapping[str, str]] = {
    "mirred": "mirred egress redirect dev lo",
    "ctinfo": "ctinfo dscp 0xfc000000 0x01000000",
    "connmark": "connmark",
    "skbedit": "skbedit priority 1:10",
}
"""Actions, tried below each classifier that is there until one takes them."""

FIREWALL: Final[Mapping[str, str]] = {
    "tables": "",
    "timeouts": "set s { type inet_service; flags timeout; }",
    "conntrack": "chain c { type filter hook postrouting priority 0; ct mark and 1 == 1 accept; }",
    "priority": "chain c { type filter hook postrouting priority 0; meta priority set 1:10\n}",
    "dscp": "chain c { type filter hook postrouting priority 0; ip dscp set ef; }",
    "nat": 'chain c { type nat hook postrouting priority 100; oifname "x" masquerade; }',
    "queue": "chain c { type filter hook forward priority 0; queue num 9; }",
}
"""nftables features by name, each with what a table holds that needs it."""

_SECONDS: Final = 30


@dataclass(frozen=True, slots=True, kw_only=True)
class Kernel:
    """What was found. Empty sets and a `problem` where it could not be looked at."""

    qdiscs: frozenset[str] = frozenset()
    filters: frozenset[str] = frozenset()
    actions: frozenset[str] = frozenset()
    """With one of `filters` at least."""
    ifb: bool = False
    clsact: bool = False
    firewall: frozenset[str] = frozenset()
    """Keys of `FIREWALL`."""
    problem: str | None = None
    """Why nothing, or not all, could be tried; with what to do."""

    @property
    def match_all(self) -> str | None:
        """The words of a classifier that takes every packet."""
        return next((FILTERS[name] for name in ("matchall", "u32") if name in self.filters), None)

    @property
    def redirects(self) -> bool:
        """Whether traffic can be led through an ifb, where one queue serves several interfaces."""
        return self.ifb and self.clsact and "mirred" in self.actions and self.match_all is not None

    @property
    def restores(self) -> bool:
        """Whether DSCP and mark can be brought back from the connection before any firewall rule."""
        return self.redirects and "ctinfo" in self.actions


def _attempts() -> list[tuple[str, str, str]]:
    """(group, name, tc line) in the order tried; lines without a group prepare or tidy."""
    lines: list[tuple[str, str, str]] = []
    for name, words in QDISCS.items():
        lines.append(("qdiscs", name, f"qdisc replace dev lo root handle 1: {words}"))
        lines.append(("", "", "qdisc del dev lo root"))
    lines.append(("clsact", "clsact", "qdisc add dev lo clsact"))
    for name, words in FILTERS.items():
        lines.append(("filters", name, f"filter add dev lo ingress prio 1 protocol all {words} classid 1:10"))
        lines.append(("", "", "filter del dev lo ingress"))
    for name, words in ACTIONS.items():
        for classifier in ("matchall", "u32"):
            filtered = FILTERS[classifier]
            lines.append(("actions", name, f"filter add dev lo ingress prio 1 protocol all {filtered} action {words}"))
            lines.append(("", "", "filter del dev lo ingress"))
    return lines


def _outside(arguments: list[str], text: str) -> subprocess.CompletedProcess[str]:
    """Run a program in a network namespace of its own, which ends with it."""
    flags = ["--net"] if os.geteuid() == 0 else ["--net", "--user", "--map-root-user"]
    path = os.environ.get("PATH", "/usr/bin:/bin") + ":/usr/sbin:/sbin"
    return subprocess.run(
        ["unshare", *flags, *arguments],
        input=text,
        capture_output=True,
        text=True,
        check=False,
        timeout=_SECONDS,
        env={**os.environ, "PATH": path, "LC_ALL": "C"},
    )


def _absent() -> list[str]:
    path = os.environ.get("PATH", "/usr/bin:/bin") + ":/usr/sbin:/sbin"
    wanted = {"unshare": "util-linux", "tc": "iproute2", "ip": "iproute2", "nft": "nftables"}
    return [package for program, package in wanted.items() if shutil.which(program, path=path) is None]


def examine() -> Kernel:
    """Try everything once; takes some hundredths of a second. Never raises: what cannot be tried is a `problem`."""
    packages = sorted(set(_absent()))
    problem = f"apt-get install {' '.join(packages)}, then look again" if packages else None
    if {"iproute2", "util-linux"} & set(packages):
        return Kernel(problem=problem)
    attempts = _attempts()
    try:
        tried = _outside(["tc", "-force", "-batch", "-"], "".join(f"{line}\n" for _, _, line in attempts))
        if tried.returncode != 0 and not failed_lines(tried.stderr):
            detail = tried.stderr.strip().splitlines()
            return Kernel(
                problem=f"no namespace to try in ({detail[-1] if detail else 'no reason given'}): run as root"
            )
        ifb = _outside(["ip", "link", "add", "fstry", "type", "ifb"], "").returncode == 0
        firewall = frozenset() if "nftables" in packages else _firewall()
    except (OSError, subprocess.TimeoutExpired) as error:
        return Kernel(problem=f"cannot try: {error}")
    failed = failed_lines(tried.stderr)
    found: dict[str, set[str]] = {"": set(), "qdiscs": set(), "filters": set(), "actions": set(), "clsact": set()}
    for number, (group, name, _) in enumerate(attempts, start=1):
        if number not in failed:
            found[group].add(name)
    return Kernel(
        qdiscs=frozenset(found["qdiscs"]),
        filters=frozenset(found["filters"]),
        actions=frozenset(found["actions"]),
        clsact=bool(found["clsact"]),
        ifb=ifb,
        firewall=firewall,
        problem=problem,
    )


def _firewall() -> frozenset[str]:
    return frozenset(
        name
        for name, held in FIREWALL.items()
        if _outside(["nft", "-f", "-"], f"table inet fstry {{\n{held}\n}}\n").returncode == 0
    )
