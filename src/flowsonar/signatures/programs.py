"""Payload patterns compiled for the native matcher: regular expressions as automata, conditions as tables.

`_native/dfa.c` and `_native/patterns.c` run what is made here. What cannot be expressed becomes a rule whose native
tests are necessary, not enough: where they hold, Python decides. So the native matcher never says more or less than
`matcher.py`.
"""

from __future__ import annotations

import re
import struct
from collections.abc import Iterable, Sequence
from enum import IntEnum, IntFlag
from typing import Any, Final, NamedTuple

from flowsonar.model import Transport
from flowsonar.signatures.catalogue import SignatureSet
from flowsonar.signatures.expressions import (
    EVERY,
    LINE_BEGINS,
    NEWLINE,
    Items,
    UnsupportedError,
    parsed,
    set_of,
    syntax,
)
from flowsonar.signatures.language import Condition, FieldCheck, FieldOrder, Rest
from flowsonar.signatures.matcher import payload_rules
from flowsonar.signatures.rules import Rule

__all__ = ["Flag", "Group", "Program", "Tables", "compile_payloads", "is_expressible"]


_INSTRUCTIONS_MAX: Final = 8192
"""Of one expression; larger ones are for Python."""
_PREFIX_BYTES: Final = 64
"""Of conditions without an expression: so many first bytes are tested by the automaton."""
_COUNTED: Final = 64
"""Instructions of an expression that counts."""
_KINDS: Final = 16
"""Bytes that one begins with whose states would multiply with those of others: most payloads may begin with one."""
_NONE: Final = 0xFFFF
_LENGTH_MAX: Final = 0xFFFFFFFF
_MASK: Final = (1 << 64) - 1


class Group(IntEnum):
    """See `enum patterns_group`."""

    ANCHORED = 0
    COUNTING = 1
    ON_PORT = 2
    ANYWHERE = 3
    LATER = 4
    LINES = 5


class Flag(IntFlag):
    """See `enum patterns_flags`."""

    NAMES = 1
    OPEN = 2
    LINE = 4
    PYTHON = 8
    HEAD = 16
    RANDOM = 32


class _Operation(IntEnum):
    """See `enum dfa_operation`."""

    SET = 0
    SPLIT = 1
    BEGIN = 2
    END = 3
    EDGE = 4
    INSIDE = 5
    MATCH = 6


class _Kind(IntEnum):
    """See `enum field_kind`."""

    EQUALS = 0
    ANY = 1
    BETWEEN = 2
    THERE = 3
    LENGTH_EXACT = 4
    LENGTH_CUT = 5
    LENGTH_MORE = 6
    PORTS = 7


class Program(NamedTuple):
    """One group's automaton."""

    code: bytes
    instructions: int


class Tables(NamedTuple):
    """What the native matcher takes for one transport."""

    anchored: Program
    counting: Program
    on_port: Program
    anywhere: Program
    later: Program
    lines: Program
    rules: bytes
    fields: bytes
    data: bytes
    order: tuple[Rule, ...]
    """The rules in the order of the table."""

    @property
    def native(self) -> tuple[Any, ...]:
        """As the C table takes it."""
        programs = (self.anchored, self.counting, self.on_port, self.anywhere, self.later, self.lines)
        return (*map(tuple, programs), self.rules, self.fields, self.data)


def compile_payloads(signatures: SignatureSet) -> dict[Transport, Tables]:
    """Compile the payload and product patterns for TCP and UDP."""
    return {transport: _Compiler(rules).tables() for transport, rules in payload_rules(signatures).items()}


# -- conditions -------------------------------------------------------------------------------------------------


class _Compiler:
    def __init__(self, rules: Sequence[Rule]) -> None:
        self._rules = rules
        self._services = {name: index for index, name in enumerate(dict.fromkeys(rule.service for rule in rules))}
        self._automata = {group: _Automaton(anywhere=group >= Group.ANYWHERE) for group in Group}
        self._expressions: dict[object, tuple[int, Group, bool]] = {}
        self._fields: list[bytes] = []
        self._data = bytearray()

    def tables(self) -> Tables:
        """Compile all."""
        made: list[tuple[int, int, Rule, bytes]] = []
        for number, rule in enumerate(self._rules):
            if any(check.echo is not None for check in rule.condition.fields):
                continue  # of what we sent: no flow's own bytes hold that
            expression, packed = self._rule(rule, number)
            made.append((expression, number, rule, packed))
        made.sort(key=lambda one: one[:2])
        programs = {group: automaton.program() for group, automaton in self._automata.items()}
        return Tables(
            programs[Group.ANCHORED],
            programs[Group.COUNTING],
            programs[Group.ON_PORT],
            programs[Group.ANYWHERE],
            programs[Group.LATER],
            programs[Group.LINES],
            b"".join(packed for *_, packed in made),
            b"".join(self._fields),
            bytes(self._data),
            tuple(rule for _, _, rule, _ in made),
        )

    def _rule(self, rule: Rule, number: int) -> tuple[int, bytes]:
        condition = rule.condition
        flags = Flag(0)
        if rule.names:
            flags |= Flag.NAMES
        if not rule.constant:
            flags |= Flag.OPEN | _where(condition.pattern)
        first = len(self._fields)
        expression, _, exact = self._expression(condition, late=rule.names, on_port=rule.on_port is not None)
        for check in condition.fields:
            try:
                self._fields.append(self._field(check))
            except UnsupportedError:
                exact = False
        if rule.on_port is not None:
            ports = sorted(rule.on_port)
            self._fields.append(_packed(0, _Kind.PORTS, low=len(self._data), high=len(ports)))
            self._data += struct.pack(f"<{len(ports)}Q", *ports)
        except_, except_group = _NONE, Group.ANCHORED
        if condition.unless is not None:
            except_, except_group, sure = self._expression(Condition(pattern=condition.unless), late=True)
            exact = exact and sure
            if not sure:
                except_ = _NONE
        if condition.random:
            flags |= Flag.RANDOM
        if not exact:
            flags |= Flag.PYTHON
        low, high = condition.length or (0, _LENGTH_MAX)
        return expression, struct.pack(
            "<5HBB3I", expression, except_, self._services[rule.service], first, len(self._fields) - first, flags,
            except_group, low, min(high, _LENGTH_MAX), number,
        )  # fmt: skip

    def _expression(self, condition: Condition, *, late: bool, on_port: bool = False) -> tuple[int, Group, bool]:
        """Number, group and whether it is exact: what a pattern asks, or of one without, what its first bytes must be.

        `late`: where it is not anchored, it is looked for only when a rule asks. `on_port`: where it is, only for flows
        of a port that some rule asks for.
        """
        key = condition.pattern if condition.pattern is not None else _prefix(condition.fields)
        anchored = Group.ON_PORT if on_port else Group.ANCHORED
        known = self._expressions.get((key, late, on_port))
        if known is not None:
            return known
        number, exact, group = len(self._expressions), True, anchored
        try:
            if condition.pattern is None:
                self._automata[group].add_sets(key, number)  # type: ignore[arg-type]
            else:
                items, flags = parsed(condition.pattern)
                if not _anchored(items):
                    group = _later(items, flags) if late else Group.ANYWHERE
                elif not on_port and _counts(items, flags):
                    group = Group.COUNTING
                self._automata[group].add(items, flags, number)
        except UnsupportedError:
            exact, group = False, anchored
            self._automata[group].add_sets((), number)
        self._expressions[key, late, on_port] = number, group, exact
        return number, group, exact

    def _field(self, check: FieldCheck) -> bytes:
        kind, size, little, mask, low, high, add = _Kind.THERE, check.size, 0, _MASK, 0, 0, 0
        little = int(check.order is FieldOrder.LITTLE)
        if check.equals is not None:
            kind, size, low, high = _Kind.EQUALS, 0, len(self._data), len(check.equals)
            self._data += check.equals
        elif check.length_size:
            kind = {Rest.EXACT: _Kind.LENGTH_EXACT, Rest.CUT: _Kind.LENGTH_CUT, Rest.MORE: _Kind.LENGTH_MORE}[
                check.length_rest
            ]
            size, add = check.length_size, check.length_add
            little = int(check.length_order is FieldOrder.LITTLE)
        elif check.any:
            kind, low, high = _Kind.ANY, len(self._data), len(check.any)
            self._data += struct.pack(f"<{len(check.any)}Q", *check.any)
        elif check.between is not None:
            kind, (low, high) = _Kind.BETWEEN, check.between
        if check.mask is not None:
            mask = check.mask & _MASK
        if size > 8 or high > _MASK:
            raise UnsupportedError
        return _packed(check.at, kind, size, little, mask, low, high, add)


def _packed(
    at: int, kind: _Kind, size: int = 0, little: int = 0, mask: int = _MASK, low: int = 0, high: int = 0, add: int = 0
) -> bytes:
    return struct.pack("<iBBBx3Qq8x", at, kind, size, little, mask, low, high, add)


def _prefix(fields: Iterable[FieldCheck]) -> tuple[int, ...]:
    """What the first bytes must be for tests at fixed places to hold, as sets; up to the last that is tested."""
    every = (1 << 256) - 1
    sets: dict[int, int] = {}
    for check in fields:
        if check.at < 0 or check.at >= _PREFIX_BYTES:
            continue
        if check.equals is not None:
            for offset, byte in enumerate(check.equals[: _PREFIX_BYTES - check.at]):
                sets[check.at + offset] = sets.get(check.at + offset, every) & 1 << byte
        elif check.size == 1 and not check.length_size and (check.any or check.between is not None):
            mask = 0xFF if check.mask is None else check.mask
            low, high = check.between or (0, 0)
            fits = sum(
                1 << byte
                for byte in range(256)
                if ((byte & mask) in check.any if check.any else low <= byte & mask <= high)
            )
            sets[check.at] = sets.get(check.at, every) & fits
    return tuple(sets.get(at, every) for at in range(max(sets, default=-1) + 1))


def is_expressible(pattern: str) -> bool:
    """Whether an automaton can say the same; where none can, Python decides about each payload that may be meant."""
    try:
        _Automaton(anywhere=False).add(*parsed(pattern), 0)
    except UnsupportedError:
        return False
    return True


# -- expressions ------------------------------------------------------------------------------------------------


def _anchored(items: Items) -> bool:
    if not items:
        return False
    operation, argument = items[0]
    if operation is syntax.AT:
        return argument in (syntax.AT_BEGINNING, syntax.AT_BEGINNING_STRING)
    if operation is syntax.SUBPATTERN:
        return _anchored(argument[3])
    if operation is syntax.BRANCH:
        return all(_anchored(branch) for branch in argument[1])
    return False


def _counts(items: Items, flags: int) -> bool:
    """Whether an anchored expression follows bytes of many kinds for long, counting them."""
    alone = _Automaton(anywhere=False)
    alone.add(items, flags, 0)
    return alone.program().instructions >= _COUNTED and alone.begins_with().bit_count() >= _KINDS


def _later(items: Items, flags: int) -> Group:
    """With what an expression is looked for that begins anywhere: with those that begin with the end of a line."""
    alone = _Automaton(anywhere=False)
    alone.add(items, flags, 0)
    return Group.LINES if alone.begins_with() == 1 << NEWLINE else Group.LATER


def _where(pattern: str | None) -> Flag:
    """Where what an expression captures must stand: in the line before whose end it begins, in the first line."""
    if pattern is None:
        return Flag(0)
    try:
        items, flags = parsed(pattern)
    except UnsupportedError:
        return Flag(0)
    body = list(items)
    if not body:
        return Flag(0)
    kind = Flag(0)
    if body[0] == (syntax.LITERAL, NEWLINE) or flags & re.MULTILINE:
        kind = Flag.LINE
    elif body[0] == LINE_BEGINS:
        kind = Flag.HEAD
    body = body[1:]
    if body and body[-1] == (syntax.LITERAL, NEWLINE):
        body.pop()
    return kind if kind and not _takes_newline(body, flags) else Flag(0)


def _takes_newline(items: Items, flags: int) -> bool:
    for operation, argument in items:
        if operation is syntax.BRANCH:
            if any(_takes_newline(branch, flags) for branch in argument[1]):
                return True
        elif operation is syntax.SUBPATTERN:
            if _takes_newline(argument[3], (flags | argument[1]) & ~argument[2]):
                return True
        elif operation in (syntax.MAX_REPEAT, syntax.MIN_REPEAT):
            if _takes_newline(argument[2], flags):
                return True
        elif operation is not syntax.AT and set_of(operation, argument, flags) >> NEWLINE & 1:
            return True
    return False


class _Automaton:
    """The expressions of a group as one program; instructions are made from the end to the beginning."""

    def __init__(self, *, anywhere: bool) -> None:
        self._anywhere = anywhere
        self._code: list[list[int]] = [[_Operation.SPLIT, 0, 0, 0]]  # where all begin, set at the end
        self._sets: dict[int, int] = {}
        self._starts: list[int] = []

    def add(self, items: Items, flags: int, number: int) -> None:
        """Add an expression. Raises UnsupportedError, and is then as before."""
        before = len(self._code)
        try:
            self._starts.append(self._sequence(items, flags, self._instruction(_Operation.MATCH, number, 0), before))
        except (UnsupportedError, RecursionError):
            del self._code[before:]
            raise UnsupportedError from None

    def add_sets(self, sets: Sequence[int], number: int) -> None:
        """Add one that asks for bytes out of these sets, at the beginning."""
        at = self._instruction(_Operation.MATCH, number, 0)
        for bits in reversed(sets):
            at = self._instruction(_Operation.SET, self._set(bits), at)
        self._starts.append(self._instruction(_Operation.BEGIN, 0, at))

    def program(self) -> Program:
        """All of it; empty where there are no expressions."""
        if not self._starts:
            return Program(b"", 0)
        starts = list(self._starts)
        if self._anywhere:  # begin again after every byte
            starts.append(self._instruction(_Operation.SET, self._set(EVERY), 0))
        at = starts[-1]
        for start in reversed(starts[:-1]):
            at = self._instruction(_Operation.SPLIT, 0, start, at)
        self._code[0][2] = self._code[0][3] = at
        code = b"".join(
            struct.pack("<3I", operation | argument << 8, following, other)
            for operation, argument, following, other in self._code
        )
        return Program(code + b"".join(bits.to_bytes(32, "little") for bits in self._sets), len(self._code))

    def begins_with(self) -> int:
        """The bytes that some expression may begin with, as bits."""
        bits, met, waiting = 0, set(), list(self._starts)
        sets = list(self._sets)
        while waiting:
            at = waiting.pop()
            if at in met:
                continue
            met.add(at)
            operation, argument, following, other = self._code[at]
            if operation == _Operation.SET:
                bits |= sets[argument]
            elif operation != _Operation.MATCH:
                waiting += (following, other) if operation == _Operation.SPLIT else (following,)
        return bits

    def _instruction(self, operation: int, argument: int, following: int, other: int = 0) -> int:
        self._code.append([operation, argument, following, other])
        return len(self._code) - 1

    def _set(self, bits: int) -> int:
        return self._sets.setdefault(bits, len(self._sets))

    def _sequence(self, items: Items, flags: int, following: int, began: int) -> int:
        for operation, argument in reversed(items):
            following = self._item(operation, argument, flags, following, began)
        return following

    def _item(self, operation: Any, argument: Any, flags: int, following: int, began: int) -> int:
        if len(self._code) - began > _INSTRUCTIONS_MAX:
            raise UnsupportedError
        if operation is syntax.AT:
            return self._instruction(_place(argument), 0, following)
        if operation is syntax.SUBPATTERN:
            _, added, removed, items = argument
            return self._sequence(items, (flags | added) & ~removed, following, began)
        if operation is syntax.BRANCH:
            starts = [self._sequence(branch, flags, following, began) for branch in argument[1]]
            at = starts.pop()
            for start in reversed(starts):
                at = self._instruction(_Operation.SPLIT, 0, start, at)
            return at
        if operation in (syntax.MAX_REPEAT, syntax.MIN_REPEAT):
            return self._repeat(argument, flags, following, began)
        return self._instruction(_Operation.SET, self._set(set_of(operation, argument, flags)), following)

    def _repeat(self, argument: Any, flags: int, following: int, began: int) -> int:
        least, most, items = argument
        at = following
        if most is syntax.MAXREPEAT:
            at = self._instruction(_Operation.SPLIT, 0, 0, following)
            self._code[at][2] = self._sequence(items, flags, at, began)
        else:
            for _ in range(most - least):
                at = self._instruction(_Operation.SPLIT, 0, self._sequence(items, flags, at, began), following)
        for _ in range(least):
            at = self._sequence(items, flags, at, began)
        return at


def _place(kind: Any) -> _Operation:
    places = {
        syntax.AT_BEGINNING: _Operation.BEGIN,
        syntax.AT_BEGINNING_STRING: _Operation.BEGIN,
        syntax.AT_END: _Operation.END,
        syntax.AT_END_STRING: _Operation.END,
        syntax.AT_BOUNDARY: _Operation.EDGE,
        syntax.AT_NON_BOUNDARY: _Operation.INSIDE,
    }
    if kind not in places:
        raise UnsupportedError
    return places[kind]
