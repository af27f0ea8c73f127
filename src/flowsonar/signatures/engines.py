"""Which of many expressions match: hyperscan where it is installed, RE2 sets where it is not. Same answers.

Both take expressions in RE2's syntax over bytes (latin-1) and give back their indexes, in linear time.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, Final, Protocol

import re2

from flowsonar.signatures.compiling import MANY, Part, hyperscan, parted

__all__ = ["Engine", "HyperscanEngine", "Re2Engine", "Regex", "available", "compile_regex", "searcher"]

Regex = Any
"""A compiled google-re2 expression (the package has no types)."""

SET_BYTES: Final = 256 << 20
"""Memory RE2 may use for a set's automaton; it is a bound, not what it takes."""


class Engine(Protocol):
    """Finds which expressions match."""

    name: str

    def finish(self) -> None:
        """Wait until it is made, in the background; who asks it waits too."""
        ...

    def candidates(self, data: bytes) -> Mapping[int, int]:
        """Expressions that match, by index, in no order; may name some too many where `exact` is false.

        Each with the place where a match ends, 0 where that is not told. Holds until the next call.
        """
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

    def finish(self) -> None:
        """See `Engine`."""

    def candidates(self, data: bytes) -> Mapping[int, int]:
        """See `Engine`."""
        return dict.fromkeys(self._set.Match(data) or (), 0) if self._set is not None else {}

    def exact(self, index: int) -> bool:  # noqa: ARG002
        """See `Engine`."""
        return True


class HyperscanEngine:
    """One hyperscan database or several; not for use by two threads at once."""

    name = "hyperscan"

    def __init__(self, expressions: Sequence[str], cache: Path | None = None, *, parts: int = 1) -> None:
        """What is not kept begins to be compiled, in up to so many `parts`, each of which is scanned by itself."""
        self._inexact: frozenset[int] = frozenset()
        self._always: dict[int, int] = {}
        found: dict[int, int] = {}

        def match(index: int, _start: int, end: int, _flags: int, _context: object) -> None:
            found[index] = end  # called for each that matches: a method would take half as long again

        self._found = found
        self._match = match
        self._scans: list[Any] = []
        quiet = len(expressions) < MANY
        self._parts = [Part(expressions, ids, cache, quiet=quiet) for ids in parted(expressions, parts)]

    def finish(self) -> None:
        """See `Engine`."""
        parts, self._parts = self._parts, []
        notes: dict[int, int] = {}
        for part in parts:
            part.finish()
            notes.update(zip(part.ids, part.notes, strict=True))
            if part.database is not None:
                self._scans.append(part.database.scan)
        self._always |= {index: 0 for index, note in notes.items() if note & 2}
        self._inexact |= {index for index, note in notes.items() if note}

    def candidates(self, data: bytes) -> Mapping[int, int]:
        """See `Engine`."""
        if self._parts:
            self.finish()
        found = self._found
        found.clear()
        for scan in self._scans:
            scan(data, self._match)
        return found | self._always if self._always else found

    def exact(self, index: int) -> bool:
        """See `Engine`."""
        if self._parts:
            self.finish()
        return index not in self._inexact


def _options(max_mem: int) -> Any:
    options = re2.Options()
    options.encoding = re2.Options.Encoding.LATIN1
    options.log_errors = False
    options.max_mem = max_mem
    return options
