"""Regular expressions of signature files, taken apart: Python's parser where it means the same as RE2's syntax."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any, Final

__all__ = ["EVERY", "LINE_BEGINS", "NEWLINE", "Items", "UnsupportedError", "parsed", "set_of", "syntax"]

_parser: Any = re._parser  # type: ignore[attr-defined]  # the standard library's own; it has no public face
syntax: Any = re._constants  # type: ignore[attr-defined]
"""The names of an expression's parts."""
Items = Sequence[tuple[Any, Any]]
"""What stands one after another in an expression: operations with their arguments."""
LINE_BEGINS: Final = (syntax.AT, syntax.AT_BEGINNING)
NEWLINE: Final = 10
EVERY: Final = (1 << 256) - 1
"""All bytes, as bits."""


class UnsupportedError(Exception):
    """The expression has something that means another thing in Python, or that an automaton cannot say."""


def parsed(pattern: str) -> tuple[Items, int]:
    """RE2's syntax through Python's parser, where both mean the same. Raises UnsupportedError."""
    if re.search(r"\[:\^?[a-z]+:\]|\\x\{|\\[CQpPE]", pattern.replace(r"\\", "")):
        raise UnsupportedError
    text = re.sub(r"((?:^|[^\\])(?:\\\\)*)\\z", r"\1\\Z", pattern)
    try:
        tree = _parser.parse(text.encode("latin-1"))
    except (re.error, UnicodeError, RecursionError, OverflowError):
        raise UnsupportedError from None
    items, flags = list(tree), tree.state.flags
    if flags & re.VERBOSE or (re.search(r"\(\?[a-z]*m", pattern) and not flags & re.MULTILINE):
        raise UnsupportedError
    if flags & re.MULTILINE:
        if items[:1] != [LINE_BEGINS] or _has_places(items[1:]):
            raise UnsupportedError
        items[0] = (syntax.BRANCH, (None, [[LINE_BEGINS], [(syntax.LITERAL, NEWLINE)]]))
    return items, flags


def _has_places(items: Items) -> bool:
    """Whether there is a `^` or `$` inside, which mean other things where lines count."""
    return bool(re.search(r"AT_(?:BEGINNING|END)", repr(items)))


def _range(low: int, high: int) -> int:
    return (1 << high + 1) - (1 << low)


_DIGITS: Final = _range(0x30, 0x39)
_WORDS: Final = _DIGITS | _range(0x41, 0x5A) | _range(0x61, 0x7A) | 1 << 0x5F
_SPACES: Final = sum(1 << byte for byte in b"\t\n\f\r ")  # RE2's: without the vertical tab


def _categories() -> dict[Any, int]:
    return {
        syntax.CATEGORY_DIGIT: _DIGITS,
        syntax.CATEGORY_NOT_DIGIT: EVERY & ~_DIGITS,
        syntax.CATEGORY_SPACE: _SPACES,
        syntax.CATEGORY_NOT_SPACE: EVERY & ~_SPACES,
        syntax.CATEGORY_WORD: _WORDS,
        syntax.CATEGORY_NOT_WORD: EVERY & ~_WORDS,
    }


_CATEGORIES: Final = _categories()


def _folded(bits: int, flags: int) -> int:
    """Both cases of every letter, where case is ignored."""
    if not flags & re.IGNORECASE:
        return bits
    upper, lower = _range(0x41, 0x5A), _range(0x61, 0x7A)
    return bits | (bits & upper) << 32 | (bits & lower) >> 32


def set_of(operation: Any, argument: Any, flags: int) -> int:
    """The bytes that one item takes, as bits."""
    if operation in (syntax.LITERAL, syntax.NOT_LITERAL):
        _plain(argument, flags)
        bits = _folded(1 << argument, flags)
        return bits if operation is syntax.LITERAL else EVERY & ~bits
    if operation is syntax.ANY:
        return EVERY if flags & re.DOTALL else EVERY & ~(1 << NEWLINE)
    if operation is not syntax.IN:
        raise UnsupportedError
    bits, negated = 0, False
    for kind, value in argument:
        if kind is syntax.NEGATE:
            negated = True
        elif kind is syntax.LITERAL:
            _plain(value, flags)
            bits |= 1 << value
        elif kind is syntax.RANGE:
            bits |= _range(*value)
        elif kind is syntax.CATEGORY and value in _CATEGORIES:
            bits |= _CATEGORIES[value]
        else:
            raise UnsupportedError
    bits = _folded(bits, flags)
    return EVERY & ~bits if negated else bits


def _plain(byte: int, flags: int) -> None:
    """Letters beyond ASCII have cases that RE2 and Python see differently."""
    if flags & re.IGNORECASE and byte >= 0x80:
        raise UnsupportedError
