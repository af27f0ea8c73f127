"""Which of many expressions match: hyperscan where it is installed, RE2 sets where it is not. Same answers.

Both take expressions in RE2's syntax over bytes (latin-1) and give back their indexes, in linear time.
"""

from __future__ import annotations

import importlib
import re
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Final, Protocol

import re2

from flowsonar._native.digest import sha256
from flowsonar.signatures import cachefile

hyperscan: Any
try:
    hyperscan = importlib.import_module("hyperscan")
except ImportError:  # no wheel for this machine
    hyperscan = None

__all__ = ["Engine", "HyperscanEngine", "Re2Engine", "Regex", "available", "compile_regex", "searcher"]

Regex = Any
"""A compiled google-re2 expression (the package has no types)."""

SET_BYTES: Final = 256 << 20
"""Memory RE2 may use for a set's automaton; it is a bound, not what it takes."""

_MANY: Final = 100
"""Expressions that take noticeably long to compile."""
_SPACE = r"\t\n\f\r\x20"


class Engine(Protocol):
    """Finds which expressions match."""

    name: str

    def candidates(self, data: bytes) -> list[int]:
        """Indexes of the expressions that match, in no order; may name some too many where `exact` is false."""
        ...

    def exact(self, index: int) -> bool:
        """Whether a candidate is a match; if not, RE2 has to say."""
        ...


def available() -> tuple[str, ...]:
    """Names of the engines that work here, best first."""
    return ("hyperscan", "re2") if hyperscan is not None else ("re2",)


def compile_regex(pattern: str) -> Regex:
    """An RE2 expression over bytes."""
    return re2.compile(pattern.encode("ascii"), _options(8 << 20))


def searcher(regex: Regex) -> Callable[[bytes], Sequence[tuple[int, int]] | None]:
    """A function that says where the first match and its groups lie, (-1, -1) for one that took no part; else None.

    The package's own search makes a generator and an object for what its core says in a fifth of the time.
    """
    core, anchor = getattr(regex, "_regexp", None), getattr(re2, "_Anchor", None)
    if core is None or anchor is None or not hasattr(core, "Match"):  # another release

        def slowly(data: bytes) -> Sequence[tuple[int, int]] | None:
            found = regex.search(data)
            return None if found is None else [found.span(group) for group in range(regex.groups + 1)]

        return slowly
    match, unanchored = core.Match, anchor.UNANCHORED

    def spans(data: bytes) -> Sequence[tuple[int, int]] | None:
        found: Sequence[tuple[int, int]] = match(unanchored, data, 0, len(data))
        return found if found[0][0] >= 0 else None

    return spans


class Re2Engine:
    """RE2 sets: no other library is needed, some times slower."""

    name = "re2"

    def __init__(self, expressions: Sequence[str]) -> None:
        self._set = None
        if expressions:
            self._set = re2.Set.SearchSet(_options(SET_BYTES))
            for expression in expressions:
                self._set.Add(expression.encode("ascii"))
            self._set.Compile()

    def candidates(self, data: bytes) -> list[int]:
        """See `Engine`."""
        return list(self._set.Match(data) or ()) if self._set is not None else []

    def exact(self, index: int) -> bool:  # noqa: ARG002
        """See `Engine`."""
        return True


class HyperscanEngine:
    """One hyperscan database; not for use by two threads at once."""

    name = "hyperscan"

    def __init__(self, expressions: Sequence[str], cache: Path | None = None) -> None:
        self._inexact: frozenset[int] = frozenset()
        self._always: list[int] = []
        self._found: list[int] = []
        self._scan: Any = None
        flags = hyperscan.HS_FLAG_SINGLEMATCH | hyperscan.HS_FLAG_ALLOWEMPTY
        if not expressions:
            return
        kind = f"4|{hyperscan.__version__}|{hyperscan.HS_MODE_BLOCK}|{flags}|"
        given = kind + "".join(f"{len(expression)}:{expression}" for expression in expressions)
        name = f"hyperscan-{sha256(given.encode()).hex()[:32]}"
        database = self._load(cache, name, len(expressions)) if cache is not None else None
        if database is None:
            if len(expressions) >= _MANY:
                cachefile.making("compiling the patterns of the services")
            sources = [to_hyperscan(expression).encode("ascii") for expression in expressions]
            database, notes = self._build(sources, flags)
            if cache is not None and database is not None:
                cachefile.save(cache, name, notes + hyperscan.dumpb(database))
        if database is not None:
            self._scan = database.scan
            self._database = database

    def candidates(self, data: bytes) -> list[int]:
        """See `Engine`."""
        found = self._found
        found.clear()
        if self._scan is not None:
            self._scan(data, self._match)
        return found + self._always if self._always else found

    def exact(self, index: int) -> bool:
        """See `Engine`."""
        return index not in self._inexact

    def _match(self, index: int, _start: int, _end: int, _flags: int, _context: object) -> None:
        self._found.append(index)

    def _build(self, sources: list[bytes], flags: int) -> tuple[Any, bytes]:
        """The database, and two bits per expression: bit 0 prefilter only, bit 1 left out."""
        notes = bytearray(len(sources))
        while True:
            chosen = [index for index in range(len(sources)) if not notes[index] & 2]
            if not chosen:
                database = None
                break
            database = hyperscan.Database(mode=hyperscan.HS_MODE_BLOCK)
            try:
                database.compile(
                    expressions=[sources[index] for index in chosen],
                    ids=chosen,
                    elements=len(chosen),
                    flags=[flags | (hyperscan.HS_FLAG_PREFILTER if notes[index] else 0) for index in chosen],
                )
                break
            except hyperscan.error:
                self._lower(sources, notes, flags)
        self._take(bytes(notes))
        return database, bytes(notes)

    @staticmethod
    def _lower(sources: list[bytes], notes: bytearray, flags: int) -> None:
        """Find the expressions hyperscan does not take as they are, and ask less of it for them."""
        before = bytes(notes)
        for index, source in enumerate(sources):
            for note in (notes[index], 1, 2):
                if note & 2:
                    notes[index] = 2
                    break
                try:
                    flag = flags | (hyperscan.HS_FLAG_PREFILTER if note else 0)
                    single = hyperscan.Database(mode=hyperscan.HS_MODE_BLOCK)
                    single.compile(expressions=[source], ids=[0], elements=1, flags=[flag])
                except hyperscan.error:
                    continue
                notes[index] = note
                break
        if bytes(notes) == before:  # each alone is fine, all together too much: RE2 does it all
            notes[:] = b"\x02" * len(notes)

    def _load(self, cache: Path, name: str, count: int) -> Any:
        data = cachefile.load(cache, name)
        if data is None or len(data) <= count:
            return None
        notes, data = data[:count], data[count:]
        try:
            database = hyperscan.loadb(data, hyperscan.HS_MODE_BLOCK)
            database.scratch = hyperscan.Scratch(database)
            database.scan(b"", lambda *_: None)
        except hyperscan.error:  # made for another processor or release
            return None
        self._take(notes)
        return database

    def _take(self, notes: bytes) -> None:
        self._always = [index for index, note in enumerate(notes) if note & 2]
        self._inexact = frozenset(index for index, note in enumerate(notes) if note)


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


def _options(max_mem: int) -> Any:
    options = re2.Options()
    options.encoding = re2.Options.Encoding.LATIN1
    options.log_errors = False
    options.max_mem = max_mem
    return options
