"""What one program of the catalogue is: what to install, how it is started, and what it truly is."""

from __future__ import annotations

import re
import subprocess
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from lab.packages import SEARCH_PATH, unpacked
from lab.services.base import Site

__all__ = ["Entry", "unpacked", "version_of"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Entry:
    """A program in its default configuration on ports of the site's choice.

    `start` writes what configuration the program needs into `site.folder(name)`, starts it with `site.run` (in the
    foreground, IPv4 and IPv6 where it can) and offers each endpoint with `site.offer(Service(...))`: the plain one and
    the one inside TLS are two services, each with the product and version that the program itself claims.
    """

    name: str
    start: Callable[[Site], None]
    packages: tuple[str, ...] = ()
    """Debian packages."""
    unpack: tuple[str, ...] = ()
    """Debian packages that would displace others (of two mail servers one may be installed): they are downloaded and
    unpacked, `unpacked(package)` is their root; what they depend on stands in `packages`."""
    pip: tuple[str, ...] = ()
    """PyPI packages."""
    program: str = ""
    """The executable (or, with a slash in front, the file) by which its presence is seen; the name where empty."""


def version_of(command: Sequence[str], pattern: str = r"([0-9]+(?:\.[0-9A-Za-z]+)+)") -> str | None:
    """The version that a program prints of itself, None where it prints none: the truth, not what we recognise."""
    try:
        done = subprocess.run(
            list(command),
            capture_output=True,
            text=True,
            check=False,
            timeout=20,
            env={"PATH": SEARCH_PATH, "LC_ALL": "C"},
        )
    except (OSError, subprocess.TimeoutExpired):
        return None
    found = re.search(pattern, done.stdout + done.stderr)
    return found[1] if found else None
