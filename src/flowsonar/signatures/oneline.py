"""Expressions whose match lies within one line: what they capture is worked out once a line, however new the rest is.

A page is new each time, its `Server` line is not.
"""

from __future__ import annotations

from typing import Final

from flowsonar.signatures.expressions import LINE_BEGINS, NEWLINE, Items, UnsupportedError, parsed, set_of, syntax

__all__ = ["line_of", "within_a_line"]

LINE_BYTES: Final = 256
"""Longer lines are not remembered."""
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


def line_of(data: bytes, end: int) -> bytes | None:
    """The line of a match that ends at `end`, with the newlines around it; None for a long one."""
    start = max(data.rfind(b"\n", 0, end - 1), 0)
    stop = data.find(b"\n", end - 1, start + LINE_BYTES)
    if stop < 0:
        if len(data) > start + LINE_BYTES:
            return None
        stop = len(data)
    return data[start : stop + 1]


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
