"""Installs what the laboratory's programs need, on Debian, without letting Debian start them."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Iterable
from pathlib import Path

__all__ = ["SEARCH_PATH", "MissingError", "install", "missing", "parse"]

SEARCH_PATH = os.environ.get("PATH", "/usr/bin:/bin") + ":/usr/local/sbin:/usr/sbin:/sbin"
"""Debian keeps servers in sbin, which is not in every user's path."""

_LIST = Path(__file__).with_name("packages.txt")
_POLICY = Path("/usr/sbin/policy-rc.d")
_DENY = "#!/bin/sh\n# Packages being installed by flowsonar's laboratory start nothing.\nexit 101\n"


class MissingError(Exception):
    """Programs are missing and cannot be installed; the text says which and what to do."""


def parse(text: str) -> list[tuple[str, str]]:
    """Lines of packages.txt as (package, program or absolute path that shows it is there)."""
    found = []
    for line in text.splitlines():
        package, _, sign = (part.strip() for part in line.partition("#"))
        if package:
            found.append((package, sign or package))
    return found


def _present(sign: str) -> bool:
    return Path(sign).exists() if sign.startswith("/") else shutil.which(sign, path=SEARCH_PATH) is not None


def missing(wanted: Iterable[tuple[str, str]] | None = None) -> list[str]:
    """Packages whose sign is not on this machine."""
    return [package for package, sign in (wanted or parse(_LIST.read_text())) if not _present(sign)]


def install() -> list[str]:
    """Install what is missing; returns what was installed. Raises MissingError when that cannot be done."""
    wanted = missing()
    if not wanted:
        return []
    if os.geteuid() != 0 or shutil.which("apt-get") is None:
        raise MissingError(f"install these Debian packages first: {' '.join(wanted)}")
    ours = not _POLICY.exists()
    if ours:
        _POLICY.write_text(_DENY)
        _POLICY.chmod(0o755)
    try:
        environment = {**os.environ, "DEBIAN_FRONTEND": "noninteractive"}
        command = ["apt-get", "install", "-y", "-q", "--no-install-recommends", *wanted]
        done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
        if done.returncode != 0:  # package lists of a fresh image may be absent or old
            subprocess.run(["apt-get", "update", "-q"], env=environment, capture_output=True, check=False)
            done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    finally:
        if ours:
            _POLICY.unlink(missing_ok=True)
    if done.returncode != 0:
        raise MissingError(f"apt-get could not install {' '.join(wanted)}:\n{done.stderr.strip()[-2000:]}")
    still = missing()
    if still:
        raise MissingError(f"installed, but their programs are not found: {' '.join(still)}")
    return wanted
