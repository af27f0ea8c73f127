"""Expressions whose match lies within one line: what they capture is worked out once a line, however new the rest is.

A page is new each time, its `Server` line is not.
"""

from __future__ import annotations

import re
from typing import Final

from flowsonar.signatures.expressions import LINE_BEGINS, NEWLINE, Items, UnsupportedError, parsed, set_of, syntax

__all__ = ["groups_of", "line_reader", "place_of_line", "read_line", "within_a_line"]

LINE_BYTES: Final = 256
"""Longer lines are not remembered."""
REPEATS: Final = 2
"""Python tries the lengths of one repeat after the other: of two within a line it tries some ten thousand at most."""
_NEWLINE: Final = (syntax.LITERAL, NEWLINE)
_ANY_LINE: Final = (syntax.BRANCH, (None, [[LINE_BEGINS], [_NEWLINE]]))


def within_a_line(pattern: str) -> bool:
    """Whether a match begins with a line (or the newline before it), has more of it, and ends before the next line."""
    try:
        items, flags = parsed(pattern)
        begun = _begun(list(items))
        ended = -1 if items[-1] == _NEWLINE else len(items)
        return begun > 0 and _takes(items[begun:ended]) and not _crosses(items[begun:ended], flags)
    except UnsupportedError:
        return False


def line_reader(pattern: str) -> re.Pattern[bytes] | None:
    """The expression for Python's own engine, where it means the same, cannot take long and reads groups; else None.

    That takes a third of RE2's time for the few bytes of a line.
    """
    try:
        items, flags = parsed(pattern)
        if _repeats(items) > REPEATS or _differs(items, flags):
            return None
    except UnsupportedError:
        return None
    return re.compile(pattern.encode("ascii"))


def read_line(regex: re.Pattern[bytes], data: bytes, place: tuple[int, int]) -> re.Match[bytes] | None:
    """The match in the line at this place; None where none is there."""
    start, stop = place
    return regex.search(data, start - 1 if start else 0, stop)  # a return may stand before the newline


def groups_of(found: re.Match[bytes]) -> dict[str, str]:
    """Named groups that took part, as text."""
    return {name: value.decode("latin-1") for name, value in found.groupdict().items() if value is not None}


def place_of_line(data: bytes, end: int) -> tuple[int, int] | None:
    """Where the line of a match that ends at `end` lies, with the newlines around it; None for a long one."""
    start = data.rfind(b"\n", 0, end - 1)
    if start < 0:  # noqa: PLR1730 - a third of the time of `max`
        start = 0
    stop = data.find(b"\n", end - 1, start + LINE_BYTES)
    if stop >= 0:
        return start, stop + 1
    return None if len(data) > start + LINE_BYTES else (start, len(data))


def _repeats(items: Items) -> int:
    """How many repeats can take more or less than one time; those within another count as many."""
    count = 0
    for operation, argument in items:
        if operation is syntax.SUBPATTERN:
            count += _repeats(argument[3])
        elif operation is syntax.BRANCH:
            count += sum(_repeats(way) for way in argument[1])
        elif operation in (syntax.MAX_REPEAT, syntax.MIN_REPEAT):
            least, most, inner = argument
            within = _repeats(inner)
            if most == 1:
                count += within
            elif most != least or within:
                count += REPEATS + 1 if within else 1
    return count


def _differs(items: Items, flags: int) -> bool:
    """Whether there is a class that Python and RE2 take for different bytes: Python's white space has one more."""
    text = repr(items)
    return "CATEGORY_SPACE" in text or "CATEGORY_NOT_SPACE" in text or bool(flags & re.ASCII)


def _begun(items: Items) -> int:
    """How many of the items say that a line begins."""
    if items[:2] == [(syntax.LITERAL, 13), _NEWLINE]:
        return 2
    return 1 if items[:1] in ([LINE_BEGINS], [_NEWLINE], [_ANY_LINE]) else 0


def _takes(items: Items) -> bool:
    """Whether there is a byte that each match has."""
    return any(operation in (syntax.LITERAL, syntax.IN) for operation, _ in items)


def _crosses(items: Items, flags: int) -> bool:
    """Whether a newline can be among what matches, or what stands before or after it decides."""
    for operation, argument in items:
        if operation is syntax.SUBPATTERN:
            _, added, removed, inner = argument
            parts = [(inner, (flags | added) & ~removed)]
        elif operation in (syntax.MAX_REPEAT, syntax.MIN_REPEAT):
            parts = [(argument[2], flags)]
        elif operation is syntax.BRANCH:
            parts = [(way, flags) for way in argument[1]]
        elif operation is syntax.AT or set_of(operation, argument, flags) >> NEWLINE & 1:
            return True
        else:
            continue
        if any(_crosses(inner, given) for inner, given in parts):
            return True
    return False
