"""Installs what the laboratory's programs need, on Debian, without letting Debian start them."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterable
from pathlib import Path

__all__ = [
    "SEARCH_PATH",
    "VENV",
    "MissingError",
    "absent",
    "install",
    "install_debian",
    "install_python",
    "missing",
    "parse",
    "unpack_debian",
    "unpacked",
]

VENV = Path(__file__).resolve().parent / "out" / "venv"
"""Where the catalogue's PyPI packages go; it also sees what the laboratory itself runs with."""
SEARCH_PATH = os.environ.get("PATH", "/usr/bin:/bin") + f":/usr/local/sbin:/usr/sbin:/sbin:/usr/games:{VENV}/bin"
"""Debian keeps servers in sbin, which is not in every user's path."""

_LIST = Path(__file__).with_name("packages.txt")
_UNPACKED = Path(__file__).resolve().parent / "out" / "unpacked"
_PATIENT = ("-o", "DPkg::Lock::Timeout=600")
"""Another installation may be under way."""
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
    signs = parse(_LIST.read_text()) if wanted is None else wanted
    return [package for package, sign in signs if not _present(sign)]


def install(signs: Iterable[tuple[str, str]] | None = None) -> list[str]:
    """Install what is missing; returns what was installed. Raises MissingError when that cannot be done."""
    signs = None if signs is None else list(signs)
    wanted = missing(signs)
    if not wanted:
        return []
    _apt(wanted)
    still = missing(signs)
    if still:
        raise MissingError(f"installed, but their programs are not found: {' '.join(still)}")
    return wanted


def _apt(wanted: list[str]) -> None:
    if os.geteuid() != 0 or shutil.which("apt-get") is None:
        raise MissingError(f"install these Debian packages first: {' '.join(wanted)}")
    ours = not _POLICY.exists()
    if ours:
        _POLICY.write_text(_DENY)
        _POLICY.chmod(0o755)
    try:
        environment = {**os.environ, "DEBIAN_FRONTEND": "noninteractive"}
        command = ["apt-get", "install", "-y", "-q", "--no-remove", "--no-install-recommends", *_PATIENT, *wanted]
        done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
        if done.returncode != 0:  # package lists of a fresh image may be absent or old
            subprocess.run(["apt-get", "update", "-q"], env=environment, capture_output=True, check=False)
            done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    finally:
        if ours:
            _POLICY.unlink(missing_ok=True)
    if done.returncode != 0:
        raise MissingError(f"apt-get could not install {' '.join(wanted)}:\n{done.stderr.strip()[-2000:]}")


def absent(packages: Iterable[str]) -> list[str]:
    """Debian packages that are not installed; none where there is no dpkg to ask.

    `busybox | busybox-static` is one of them, whichever there is (they displace each other); the first is named.
    """
    choices = ([one.strip() for one in package.split("|")] for package in packages)
    return [choice[0] for choice in choices if not any(map(_installed, choice))]


def _installed(package: str) -> bool:
    if shutil.which("dpkg-query") is None:
        return True
    command = ["dpkg-query", "-W", "-f", "${db:Status-Status}", package]
    return subprocess.run(command, capture_output=True, text=True, check=False).stdout == "installed"


def install_debian(packages: Iterable[str]) -> None:
    """Install Debian packages that are absent. Raises MissingError when that cannot be done."""
    wanted = absent(packages)
    if wanted:
        _apt(wanted)
        left = absent(wanted)
        if left:
            raise MissingError(f"apt-get did not install {' '.join(left)}")


def unpacked(package: str) -> Path:
    """Where a package of `unpack_debian` is: what would be `/usr` is `usr` there."""
    return _UNPACKED / package


def unpack_debian(packages: Iterable[str]) -> None:
    """Download packages and unpack them into a folder of their own. Raises MissingError when that cannot be done."""
    for package in packages:
        target = unpacked(package)
        if target.exists():
            continue
        with tempfile.TemporaryDirectory() as folder:
            command = ["apt-get", "download", "-q", package]
            done = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)
            files = list(Path(folder).glob("*.deb"))
            if done.returncode != 0 or not files:
                raise MissingError(f"apt-get could not download {package}:\n{done.stderr.strip()[-800:]}")
            target.parent.mkdir(parents=True, exist_ok=True)
            subprocess.run(["dpkg", "-x", str(files[0]), str(target)], check=True, capture_output=True)


def install_python(packages: Iterable[str]) -> None:
    """Put PyPI packages into the laboratory's own environment. Raises MissingError when that cannot be done."""
    wanted = sorted(packages)
    stamp = VENV / "installed.txt"
    have = set(stamp.read_text().split()) if stamp.exists() else set()
    left = [package for package in wanted if package not in have]
    if not (VENV / "bin" / "python").exists():
        _run_or_miss([sys.executable, "-m", "venv", str(VENV)], "make an environment")
        own = VENV / "lib" / f"python{sys.version_info.major}.{sys.version_info.minor}" / "site-packages"
        (own / "laboratory.pth").write_text("\n".join(path for path in sys.path if path.endswith("site-packages")))
    for package in left:
        _run_or_miss([str(VENV / "bin" / "python"), "-m", "pip", "install", "-q", package], f"install {package}")
        have.add(package)
        stamp.write_text("\n".join(sorted(have)))


def _run_or_miss(command: list[str], what: str) -> None:
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        raise MissingError(f"pip could not {what}:\n{done.stderr.strip()[-800:]}")
