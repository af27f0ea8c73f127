"""How much of a message a condition fixes, in bits: n bits hold for one of 2**n messages of random bytes.

Enciphered traffic is random to whoever has no key, and there is much of it: a pattern of two bytes meets it each day.
"""

from __future__ import annotations

import math
from typing import Final

from flowsonar.model import Transport
from flowsonar.signatures.expressions import Items, UnsupportedError, parsed, set_of, syntax
from flowsonar.signatures.language import Condition, FieldCheck, Rest

__all__ = ["ENOUGH", "SLIGHT", "bits"]

ENOUGH: Final = {Transport.UDP: 20, Transport.TCP: 16}
"""What a payload pattern has to fix, in bits, to say more than `guess` on any port. Our judgement: a flow's datagrams
are looked at one by one, a TCP direction by its first bytes only."""
SLIGHT: Final = 24
"""What fixes fewer bits is no more than a guess where a TCP connection is picked up in the middle, as long as the other
side says nothing that fits: bodies, tables and lines of other protocols are not random, and there are many of them."""
_EXACT: Final = 6
"""What one length out of all tells, in bits: messages of one protocol are some 64 lengths apart."""
_NARROW: Final = 3
_WITHIN: Final = 10
"""What is lost where bytes may stand anywhere in a message, or a length may lie below what is there."""


def bits(condition: Condition) -> float:
    """At least so many bits are fixed; infinite where an expression cannot be taken apart."""
    total = 0.0
    if condition.pattern is not None:
        try:
            items, flags = parsed(condition.pattern)
            total += _sequence(items, flags, fixed=True)[0]
        except UnsupportedError:
            return math.inf
    total += sum(_field(check) for check in condition.fields)
    total += sum(max(0, 8 * len(text) - _WITHIN) for text in condition.contains)
    if condition.length is not None:
        least, most = condition.length
        total += _EXACT if least == most else _NARROW if most - least <= 8 else 0
    return total


def _field(check: FieldCheck) -> float:
    wide = 8 * check.size
    if check.equals is not None:
        return 8 * len(check.equals)
    if check.length_size:
        wide = 8 * check.length_size
        return wide if check.length_rest is Rest.EXACT else max(2, wide - _WITHIN)
    if check.any:
        free = wide - check.mask.bit_count() if check.mask is not None else 0
        return max(0.0, wide - free - math.log2(len(check.any)))
    if check.between is not None:
        return wide - math.log2(check.between[1] - check.between[0] + 1)
    return wide if check.echo is not None else 0


def _sequence(items: Items, flags: int, *, fixed: bool) -> tuple[float, bool]:
    """Bits of what stands one after another, and whether all of it up to here has one length."""
    total = 0.0
    for operation, argument in items:
        if operation is syntax.AT:
            ends = argument in (syntax.AT_END, syntax.AT_END_STRING)
            total += _EXACT if ends and fixed else 0
        elif operation is syntax.SUBPATTERN:
            more, fixed = _sequence(argument[3], (flags | argument[1]) & ~argument[2], fixed=fixed)
            total += more
        elif operation is syntax.BRANCH:
            ways = [_sequence(branch, flags, fixed=fixed) for branch in argument[1]]
            total -= math.log2(sum(2.0**-way for way, _ in ways))
            fixed = False
        elif operation in (syntax.MAX_REPEAT, syntax.MIN_REPEAT):
            least, most, body = argument
            total += least * _sequence(body, flags, fixed=False)[0]
            fixed = fixed and least == most
        else:
            total += 8 - math.log2(max(1, set_of(operation, argument, flags).bit_count()))
    return total, fixed
