"""Fixed bytes as a regular expression, so that the scan leaves out what cannot hold.

A condition without a pattern would be tested on everything of its length. What its fields ask of single bytes is said
as an anchored expression that is true whenever the fields hold (and sometimes when they do not: they are tested after).
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

from flowsonar.signatures.language import FieldCheck, FieldOrder

__all__ = ["expression_of"]

LAST_OFFSET: Final = 64
"""Bytes further in are left to the fields themselves: long gaps make large automata."""
_ALL: Final = frozenset(range(256))


def expression_of(fields: Iterable[FieldCheck]) -> str | None:
    """What the fields ask of the bytes at fixed places from the start; None where that is nothing."""
    allowed: dict[int, frozenset[int]] = {}
    for check in fields:
        for offset, values in _bytes(check):
            if 0 <= offset <= LAST_OFFSET and values != _ALL:
                allowed[offset] = allowed.get(offset, _ALL) & values
    if not allowed or not all(allowed.values()):  # nothing, or fields that exclude each other
        return None
    parts, at = ["(?s)^"], 0
    for offset in sorted(allowed):
        if offset > at:
            parts.append("." * (offset - at) if offset - at < 4 else f".{{{offset - at}}}")
        parts.append(_class(allowed[offset]))
        at = offset + 1
    return "".join(parts)


def _bytes(check: FieldCheck) -> Iterable[tuple[int, frozenset[int]]]:
    """What a field allows at each offset."""
    if check.at < 0:
        return
    if check.equals is not None:
        for index, byte in enumerate(check.equals[: LAST_OFFSET + 1]):
            yield check.at + index, frozenset((byte,))
    elif check.any or check.between is not None:
        big = check.order is FieldOrder.BIG
        mask = ((1 << 8 * check.size) - 1 if check.mask is None else check.mask).to_bytes(8, "big")[-check.size :]
        if check.any:
            wanted = [value.to_bytes(8, "big")[-check.size :] for value in check.any if value < 1 << 8 * check.size]
            sets = [frozenset(value[index] for value in wanted) for index in range(check.size)]
        else:
            low, high = check.between or (0, 0)
            top = 8 * (check.size - 1)
            first = range(min(low >> top, 256), min(high >> top, 255) + 1)
            sets = [frozenset(first), *[_ALL] * (check.size - 1)]
        for index, values in enumerate(sets):
            at = check.at + (index if big else check.size - 1 - index)
            yield at, frozenset(byte for byte in _ALL if byte & mask[index] in values)


def _class(values: frozenset[int]) -> str:
    ordered = sorted(values)
    if len(ordered) == 1:
        return rf"\x{ordered[0]:02x}"
    runs: list[tuple[int, int]] = []
    for byte in ordered:
        if runs and runs[-1][1] == byte - 1:
            runs[-1] = (runs[-1][0], byte)
        else:
            runs.append((byte, byte))
    return "[" + "".join(rf"\x{low:02x}" if low == high else rf"\x{low:02x}-\x{high:02x}" for low, high in runs) + "]"
