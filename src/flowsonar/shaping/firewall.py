"""Puts the firewall table into the kernel and takes it away, by the `nft` program; other tables are never written.

A table `inet flowsonar` that does not say that we made it is somebody else's: it is left alone, and told.
"""

from __future__ import annotations

import json
import re
import shutil
import subprocess
from collections.abc import Sequence
from pathlib import Path
from typing import Final

from flowsonar.errors import ShapingError
from flowsonar.shaping.nftrules import COMMENT, FAMILY, TABLE, Rules, render

__all__ = ["Firewall"]

_TIMEOUT_S: Final = 20.0
"""A ruleset of some thousand rules takes `nft` less than a second; one that hangs must not hang us."""
_PATH: Final = "/usr/sbin:/sbin:/usr/bin:/bin:/usr/local/sbin"
_NAME: Final = f"{FAMILY} {TABLE}"
_TRACKS: Final = re.compile(r"\bct\b|\btype nat\b|\bmasquerade\b|\bsynproxy\b|\bflow add\b")
_LEGACY: Final = (Path("/proc/net/ip_tables_names"), Path("/proc/net/ip6_tables_names"))
"""Tables of the old iptables, which nft does not list."""


class Firewall:
    """The table in this network namespace. `program` is the command that stands for `nft`; without it, it is found."""

    def __init__(self, program: Sequence[str] | None = None) -> None:
        """Raises ShapingError where there is no `nft`."""
        if program is None:
            found = shutil.which("nft") or shutil.which("nft", path=_PATH)
            if found is None:
                raise ShapingError("the program `nft` is not here: install it (Debian: apt install nftables)")
            program = (found,)
        self._program = tuple(program)

    def install(self, rules: Rules) -> bool:
        """Put the table there, in one transaction, in place of one that we left behind; True where there was one.

        Raises ShapingError where a table of that name is not ours, or the kernel refuses.
        """
        behind = self.present()
        begin = f"delete table {_NAME}\n" if behind else ""
        self._run("-f", "-", given=begin + render(rules))
        return behind

    def remove(self) -> bool:
        """Take the table away; False where there was none. Raises ShapingError where it is not ours."""
        if not self.present():
            return False
        self._run("delete", "table", *_NAME.split())
        return True

    def present(self) -> bool:
        """Whether our table is there. Raises ShapingError where one of that name is not ours."""
        if f"table {_NAME}" not in self._run("list", "tables").splitlines():
            return False
        listed = self._run("-t", "list", "table", *_NAME.split())  # -t: without elements, of which there may be many
        if f'comment "{COMMENT}"' not in (line.strip() for line in listed.splitlines()[:3]):
            raise ShapingError(
                f"there is a table `{_NAME}` that flowsonar did not make; it is left alone: rename it, or remove it "
                f"with `nft delete table {_NAME}`, and start again"
            )
        return True

    def counters(self) -> dict[str, tuple[int, int]]:
        """Packets and bytes that were served, by class. Raises ShapingError where the table is gone."""
        try:
            answer = json.loads(self._run("-j", "list", "counters", "table", *_NAME.split()))
            found = [item["counter"] for item in answer["nftables"] if "counter" in item]
            return {counter["name"]: (counter["packets"], counter["bytes"]) for counter in found}
        except (ValueError, KeyError, TypeError) as error:
            raise ShapingError("nft gave counters that are not understood") from error

    def others_track(self) -> bool:
        """Whether somebody else's rules need connections to be tracked. Raises ShapingError."""
        if any(_lines(path) for path in _LEGACY):
            return True
        within = ours = False
        for line in self._run("-t", "list", "ruleset").splitlines():
            if line.startswith("table "):
                ours = line.startswith(f"table {_NAME} ")
            within = within or (not ours and _TRACKS.search(line) is not None)
        return within

    def _run(self, *arguments: str, given: str = "") -> str:
        try:
            done = subprocess.run(
                [*self._program, *arguments],
                input=given,
                capture_output=True,
                text=True,
                timeout=_TIMEOUT_S,
                check=False,
            )
        except subprocess.TimeoutExpired:
            raise ShapingError(f"nft did not answer within {_TIMEOUT_S:.0f} s") from None
        except OSError as error:
            raise ShapingError(f"nft cannot be run ({error.strerror})") from error
        if done.returncode:
            raise ShapingError(_meaning(done.stderr))
        return done.stdout


def _lines(path: Path) -> list[str]:
    try:
        return path.read_text().split()
    except OSError:
        return []


def _meaning(said: str) -> str:
    """Make one line of what nft wrote, with what to do where that is known."""
    lines = [line.strip() for line in said.splitlines() if line.strip()]
    first = next((line for line in lines if "Error" in line), lines[0] if lines else "no reason given")
    lowered = said.lower()
    if "not permitted" in lowered or "permission denied" in lowered:
        return "the firewall: not permitted: run as root or with CAP_NET_ADMIN"
    if "protocol not supported" in lowered or "cache initialization failed" in lowered:
        return "this kernel has no nftables (CONFIG_NF_TABLES): `flowsonar doctor` says what it has"
    if "not supported" in lowered or "no such file or directory" in lowered:
        return f"this kernel lacks what the firewall's rules need ({first}): `flowsonar doctor` says what it has"
    return f"nft refused: {first}"
