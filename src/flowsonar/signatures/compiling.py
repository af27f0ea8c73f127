"""Hyperscan databases: expressions are compiled in parts, side by side, and kept on disk.

Many together cost more than each alone: the automaton of all grows by what each may meet in the others' gaps. Hyperscan
lets go of Python while it compiles, so threads use all cores. What compiles is ended with the program: a database is
kept when it is whole, each by itself, so the next start goes on where this one was ended.
"""

from __future__ import annotations

import importlib
import re
import threading
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final

from flowsonar._native.digest import sha256
from flowsonar.signatures import cachefile

hyperscan: Any
try:
    hyperscan = importlib.import_module("hyperscan")
except ImportError:  # no wheel for this machine
    hyperscan = None

__all__ = ["Part", "hyperscan", "parted", "to_hyperscan"]

MANY: Final = 100
"""Expressions that take noticeably long to compile."""
_SPACE: Final = r"\t\n\f\r\x20"
_FORMAT: Final = 5
"""Of what is kept, and of the expressions' translation."""


def parted(expressions: Sequence[str], most: int) -> list[range]:
    """Indexes of what goes into one database each: up to `most` of about the same size, in order."""
    count = len(expressions)
    parts = most if count >= MANY else min(count, 1)
    return [range(count * part // parts, count * (part + 1) // parts) for part in range(parts)]


class Part:
    """Some expressions as one database. `finish` before the rest is used."""

    def __init__(self, expressions: Sequence[str], ids: Sequence[int], cache: Path | None, *, quiet: bool) -> None:
        """What is not kept begins to be made in a thread; `quiet`: that is told nobody, for it takes little."""
        self.ids = ids
        self.notes = b""
        """Two bits an expression: bit 0 hyperscan finds some too many, bit 1 it is left to RE2."""
        self.database: Any = None
        """None: nothing to scan for."""
        self._flags = hyperscan.HS_FLAG_SINGLEMATCH | hyperscan.HS_FLAG_ALLOWEMPTY
        self._sources = [to_hyperscan(expressions[index]).encode("ascii") for index in ids]
        self._cache = cache
        self._problem: BaseException | None = None
        self._thread: threading.Thread | None = None
        kind = f"{_FORMAT}|{hyperscan.__version__}|{hyperscan.HS_MODE_BLOCK}|{self._flags}|"
        given = kind + "".join(f"{index}:{len(expressions[index])}:{expressions[index]}" for index in ids)
        self._name = f"hyperscan-{sha256(given.encode()).hex()[:32]}"
        if cache is not None and self._load(cache):
            return
        if not quiet:
            cachefile.making("compiling the patterns of the services")
        self._thread = threading.Thread(target=self._make, daemon=True)
        self._thread.start()

    def finish(self) -> None:
        """Wait until it is made."""
        if self._thread is not None:
            self._thread.join()
            self._thread = None
        if self._problem is not None:
            raise self._problem

    def _make(self) -> None:
        try:
            self._build()
            if self._cache is not None and self.database is not None:
                cachefile.save(self._cache, self._name, self.notes + hyperscan.dumpb(self.database))
        except BaseException as problem:  # noqa: BLE001 - told by `finish`
            self._problem = problem

    def _build(self) -> None:
        notes = bytearray(len(self._sources))
        while True:
            chosen = [place for place in range(len(notes)) if not notes[place] & 2]
            if not chosen:
                break
            database = hyperscan.Database(mode=hyperscan.HS_MODE_BLOCK)
            try:
                database.compile(
                    expressions=[self._sources[place] for place in chosen],
                    ids=[self.ids[place] for place in chosen],
                    elements=len(chosen),
                    flags=[self._flag(notes[place]) for place in chosen],
                )
            except hyperscan.error:
                self._lower(notes)
                continue
            self.database = database
            break
        self.notes = bytes(notes)

    def _lower(self, notes: bytearray) -> None:
        """Find the expressions hyperscan does not take as they are, and ask less of it for them."""
        before = bytes(notes)
        for place, source in enumerate(self._sources):
            for note in (notes[place], 1, 2):
                if note & 2:
                    notes[place] = 2
                    break
                try:
                    single = hyperscan.Database(mode=hyperscan.HS_MODE_BLOCK)
                    single.compile(expressions=[source], ids=[0], elements=1, flags=[self._flag(note)])
                except hyperscan.error:
                    continue
                notes[place] = note
                break
        if bytes(notes) == before:  # each alone is fine, all together too much: RE2 does it all
            notes[:] = b"\x02" * len(notes)

    def _flag(self, note: int) -> int:
        flags: int = self._flags | (hyperscan.HS_FLAG_PREFILTER if note else 0)
        return flags

    def _load(self, cache: Path) -> bool:
        count = len(self.ids)
        data = cachefile.load(cache, self._name)
        if data is None or len(data) <= count:
            return False
        notes, data = data[:count], data[count:]
        try:
            database = hyperscan.loadb(data, hyperscan.HS_MODE_BLOCK)
            database.scratch = hyperscan.Scratch(database)
            database.scan(b"", lambda *_: None)
        except hyperscan.error:  # made for another processor or release
            return False
        self.database, self.notes = database, notes
        return True


_TOKEN = re.compile(r"\\(?:x[0-9a-fA-F]{2}|.)|\[:\^?[a-z]+:\]|\[\^?\]?|\]|\$|.", re.DOTALL)
_MULTILINE = re.compile(r"\(\?[a-zA-Z]*m")


def to_hyperscan(expression: str) -> str:
    r"""The same expression in PCRE's words: `$`, `\s` and `\v` mean other things there."""
    multiline = _MULTILINE.search(expression) is not None
    out: list[str] = []
    in_class = False
    for found in _TOKEN.finditer(expression):
        word = found[0]
        if word == r"\s":
            out.append(_SPACE if in_class else f"[{_SPACE}]")
        elif word == r"\S" and not in_class:
            out.append(f"[^{_SPACE}]")
        elif word == r"\v":
            out.append(r"\x0b")
        elif word.startswith("[:"):  # a named class
            out.append(word)
        elif word == "$" and not in_class and not multiline:
            out.append(r"\z")
        else:
            if in_class:
                if word == "]":
                    in_class = False
                elif word.startswith("[") and word != "[":  # [] or [^ inside a class are plain characters
                    in_class = not word.endswith("]")
                elif word == "[":
                    word = r"\["
            elif word.startswith("["):
                in_class = True
            out.append(word)
    return "".join(out)
