"""What one capture taught the fast lane, kept for the next: in the cache, by what made it.

The file holds what patterns and codecs found in flows, in which order, and what the reference made of that; words of
peers only as keyed hashes, but for names of products, versions and protocols. It is of use only to the same signatures
read by the same program, so both are part of its name.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import Final

from flowsonar import _native
from flowsonar._native.digest import sha256
from flowsonar.signatures import cachefile

__all__ = ["Remembered"]

_PACKAGE: Final = Path(__file__).parents[1]
_MAKERS: Final = ("", "_native", "app", "flows", "outputs", "passive", "protocols", "signatures", "verdicts")
"""Folders of the package that decide what is made of a flow."""


class Remembered:
    """The memory of one run; what is wrong with the file makes it an empty one."""

    def __init__(self, digest: str, *, cache: Path | None = None, kind: str = "shapes") -> None:
        """`digest` names the signatures; where it is empty nothing is kept beyond the run. Kinds are kept apart."""
        self._directory = cache if cache is not None else cachefile.cache_directory()
        self._name = f"{kind}-{_identity(digest)}" if digest else ""
        self._kept: bytes | None = None  # only what the file has not: a run over one capture needs the other once
        self._changed = False

    @property
    def kept(self) -> bytes | None:
        """What is known; None for nothing."""
        if self._kept is None and self._name:
            return cachefile.load(self._directory, self._name)
        return self._kept

    def keep(self, kept: bytes) -> None:
        """Take what is known now."""
        self._kept, self._changed = kept, True

    def save(self) -> None:
        """Write it, where it is new."""
        if self._changed and self._name and self._kept is not None:
            cachefile.save(self._directory, self._name, self._kept)
        self._changed = False


def _identity(digest: str) -> str:
    """Name the signatures and the program: its files are told apart by size and time, for reading them takes long."""
    found = [f"{digest} {sys.version}"]
    for folder in _MAKERS:
        for entry in sorted(os.scandir(_PACKAGE / folder), key=lambda entry: entry.name):
            if entry.name.endswith((".py", ".so")):
                status = entry.stat()
                found.append(f"{folder}/{entry.name} {status.st_size} {status.st_mtime_ns} ")
    core = getattr(_native.core, "__file__", None)
    if core:
        status = os.stat(core)  # noqa: PTH116 - a path object takes longer to make
        found.append(f"{core} {status.st_size} {status.st_mtime_ns}")
    return sha256("".join(found).encode("utf-8", "surrogateescape")).hex()[:32]
