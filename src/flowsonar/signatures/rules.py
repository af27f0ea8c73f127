"""Patterns made ready to be matched: what each asks, the match it gives, and all of one kind in one database."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any, NamedTuple

from flowsonar.model import Confidence, Layer, Transport
from flowsonar.signatures.conditions import Bytes, CompiledCondition, Reply
from flowsonar.signatures.engines import Engine, HyperscanEngine, Re2Engine, Regex, compile_regex
from flowsonar.signatures.language import PayloadPattern, ProductPattern, ReplyPattern
from flowsonar.signatures.oneline import groups_of, line_reader, place_of_line, read_line, within_a_line
from flowsonar.signatures.prefilter import expression_of
from flowsonar.signatures.texts import Texts

__all__ = ["Database", "Frame", "Match", "Pattern", "Rule", "framed"]

_REMEMBERED = 512
"""Matches and lines of which a rule remembers what they say."""
_REPLIES = 256
"""Inputs of which is remembered what holds: each has its place, and makes the one that was there forgotten. Many
endpoints answer the very same."""
_REPLY_BYTES = 4096
"""Longer ones are not remembered."""
_KEY_BYTES = 64
"""They are looked up by so many of their last bytes, and compared: to hash them all takes ten times as long."""
_EDGES = re.compile(r"\$|\\[zbB]")
"""What in an expression may ask for the end of the bytes, or for what stands beyond a place."""
_SETS = 4096
"""Sets of expressions and of rules that were met together; then all are forgotten."""
_LENGTHS = 8192
"""Lengths for which rules are remembered; then all are forgotten."""

_UDP = Transport.UDP

Pattern = PayloadPattern | ReplyPattern | ProductPattern


class Match(NamedTuple):
    """A pattern that holds."""

    service: str
    pattern: str
    """Its id, `service/name`."""
    confidence: Confidence
    product: str | None = None
    version: str | None = None
    cpe: str | None = None
    detail: str = ""
    specificity: int = 0
    soft: bool = False
    over: Layer | None = None


_new: Callable[[type[Match], tuple[Any, ...]], Match] = tuple.__new__
"""A match of all its values in their order: in half the time that its own constructor takes."""


Frame = tuple[tuple[Any, ...], tuple[Any, ...]]
"""What a match says before and after product, version and CPE."""


def framed(frames: Iterable[Frame], name: tuple[Any, ...]) -> list[Match]:
    """The matches with this product, version and CPE."""
    return [_new(Match, before + name + after) for before, after in frames]


class Rule:
    """A pattern made ready: what it asks, and the match it gives."""

    __slots__ = ("_after", "_before", "_fixed", "_in_line", "_is_version", "_last", "_lines", "_made_before", "_reader",
                 "_texts", "after", "compiled", "condition", "confidence", "detail", "id", "names", "on_port",
                 "order", "over", "product", "requires", "service", "side", "soft", "specificity", "transport",
                 "unless")  # fmt: skip

    def __init__(self, pattern: Pattern, order: int, specificity: int | None = None, ports: Iterable[int] = ()) -> None:
        self.service = pattern.service
        self.condition = pattern.condition
        self.compiled = CompiledCondition(pattern.condition)
        self.product = pattern.product
        self.detail = pattern.detail
        self.transport = pattern.transport
        self.names = isinstance(pattern, ProductPattern)
        self.side = pattern.side if isinstance(pattern, PayloadPattern) else None
        self.after = frozenset(pattern.to) if isinstance(pattern, ReplyPattern) else frozenset()
        self.requires: frozenset[str] = frozenset()
        self.on_port: frozenset[int] | None = None
        """Ports of which the flow must have one; None: any will do."""
        if isinstance(pattern, PayloadPattern) and pattern.on_port:
            self.on_port = frozenset(ports)
        self.unless = -1
        """Index of the expression that must not match; -1: none."""
        self.over: Layer | None = None
        self.id, self.confidence, self.specificity, self.soft = "", Confidence.GUESS, 0, False
        if not isinstance(pattern, ProductPattern):
            self.id, self.confidence, self.soft = pattern.id, pattern.confidence, pattern.soft
            own = pattern.specificity or 10 * pattern.confidence.rank
            self.specificity = own if specificity is None else specificity
        self.order = (self.soft, -self.specificity, -self.confidence.rank, order)
        if isinstance(pattern, ReplyPattern):
            self.over = pattern.over
            self.requires = frozenset(n if "/" in n else f"{pattern.service}/{n}" for n in pattern.requires)
        self._texts = Texts(self.product, self.detail)
        self._before = self.service, self.id, self.confidence
        self._after = self.specificity, self.soft, self.over
        constant = not self.compiled.has_groups or self._texts.constant
        self._fixed = self._made({}) if constant else None
        self._made_before: dict[tuple[tuple[str, str], ...], Match] = {}
        """The same programs are met again and again."""
        self._last: tuple[bytes, Match] | None = None
        """And often say the very same."""
        self._lines: list[tuple[bytes, Match] | None] = []
        """Or say it in the very same line."""
        self._in_line: bool | None = None
        self._reader: re.Pattern[bytes] | None = None
        """Reads a line; None where only RE2 can."""
        self._is_version = False
        """Whether all that it reads is a version."""

    @property
    def constant(self) -> bool:
        """Whether it gives the same match whatever it captures."""
        return self._fixed is not None

    def reads_line(self) -> bool:
        """Whether what it captures is in one line; then it is ready to be `met`."""
        if self._in_line is None:
            pattern = self.condition.pattern or ""
            self._in_line = self._fixed is None and within_a_line(pattern)
            self._reader = line_reader(pattern) if self._in_line else None
            self._is_version = self._reader is not None and dict(self._reader.groupindex) == {self._texts.bare: 1}
            self._lines = [None] * _REMEMBERED if self._in_line else []
        return self._in_line

    def met(self, data: bytes, end: int) -> None:
        """`data` matches up to `end`, which is in the one line that says the rest: make ready what is `matched`."""
        place = place_of_line(data, end)
        if place is None:
            return
        line = data[slice(*place)]
        at = hash(line) % _REMEMBERED
        known = self._lines[at]
        if known is not None and known[0] == line:
            made = known[1]
        else:
            made = self._read(data, place) or self.matched(data)
            self._lines[at] = line, made
        self._last = data, made

    def _read(self, data: bytes, place: tuple[int, int]) -> Match | None:
        found = read_line(self._reader, data, place) if self._reader is not None else None
        if found is None:
            return None
        if self._is_version and (value := found[1]) is not None:
            said = self._texts.of_plain_version(value)
            if said is not None:
                return _new(Match, self._before + said + self._after)
        return self._made(groups_of(found))

    def matched(self, data: bytes) -> Match:
        """The match that `data` gives, which the rule's condition holds for."""
        if self._fixed is not None:
            return self._fixed
        if self._last is not None and self._last[0] == data:
            return self._last[1]
        groups = self.compiled.groups(data) or {}
        key = tuple(groups.items())
        made = self._made_before.get(key)
        if made is None:
            made = self._made(groups)
            if len(self._made_before) >= _REMEMBERED:
                self._made_before.clear()
            self._made_before[key] = made
        if len(data) <= _REPLY_BYTES:
            self._last = data, made
        return made

    def _made(self, groups: Mapping[str, str]) -> Match:
        return _new(Match, self._before + self._texts.filled(groups) + self._after)


class Database:
    """The rules of one kind of input, and the engine that finds candidates among them.

    Equal expressions are one: `unless` of one rule is often the pattern of another. Several are made side by side: let
    all begin, then `finish` each before it is asked.
    """

    __slots__ = ("_by_expression", "_by_length", "_candidates", "_known", "_longest", "_sets", "_sources", "_together",
                 "_uncut", "_verify", "engine")  # fmt: skip

    def __init__(self, rules: Iterable[Rule], kind: str, cache: Path | None, *, parts: int = 1) -> None:
        expressions: dict[str, int] = {}
        by_expression: dict[int, tuple[Rule, ...]] = {}
        plain: list[Rule] = []
        for rule in rules:
            condition = rule.condition
            if condition.unless is not None:
                rule.unless = expressions.setdefault(condition.unless, len(expressions))
            expression = condition.pattern
            if expression is None:
                expression = expression_of(condition.fields)
            if expression is None:
                plain.append(rule)
                continue
            index = expressions.setdefault(expression, len(expressions))
            by_expression[index] = (*by_expression.get(index, ()), rule)
        sources = list(expressions)
        engine = HyperscanEngine(sources, cache, parts=parts) if kind == "hyperscan" else Re2Engine(sources)
        self.engine: Engine = engine
        self._candidates = self.engine.candidates
        self._by_expression = tuple(by_expression.get(index, ()) for index in range(len(sources)))
        self._sources = sources
        self._verify: dict[int, Regex] = {}
        self._by_length = _LengthIndex(plain)
        self._longest = self._by_length.longest
        self._uncut: dict[int, Regex] = {}
        self._known: list[tuple[bytes, _Hits] | None] = [None] * _REPLIES
        self._sets: dict[tuple[int, ...], _Set] = {}
        """Much that differs matches the same expressions, and in the same order."""
        self._together: dict[tuple[Rule, ...], tuple[Rule, ...]] = {}

    def finish(self) -> Database:
        """Wait until it is made, and give it."""
        self.engine.finish()
        exact = self.engine.exact
        self._verify = {index: compile_regex(source) for index, source in enumerate(self._sources) if not exact(index)}
        return self

    def found(
        self, data: bytes, reply: Reply | None = None, *, begin: bytes | None = None, echo: bool = False
    ) -> tuple[Rule, ...]:
        """Rules whose condition holds, in no order: the very same tuple where the same ones hold again.

        `begin` is what expressions look at where that is not all of `data`: those that ask for the end do not find it.
        """
        known = self._known_of(data, begin)
        by_length = self._by_length.get(len(data), reply, echo=echo) if echo or len(data) <= self._longest else ()
        if not by_length and not known.open and not echo:
            return known.holding
        given = Bytes(data, reply, echo)
        rules = known.open
        if by_length:
            hits = known.hits
            rules = (*rules, *[rule for rule in by_length if rule.unless not in hits])
        if echo:  # our own bytes: only what wants them holds
            both = (*known.holding, *rules)
            return tuple(rule for rule in both if rule.compiled.wants_echo and rule.compiled.rest(given))
        further = tuple([rule for rule in rules if rule.compiled.rest(given)])
        return self._same(known.holding + further) if further else known.holding

    def is_settled(self, data: bytes, reply: Reply, begin: bytes | None = None) -> bool:
        """Whether the bytes and the name of the question decide alone what holds."""
        return not self._known_of(data, begin).open and not self._by_length.get(len(data), reply, echo=False)

    def _same(self, rules: tuple[Rule, ...]) -> tuple[Rule, ...]:
        if len(self._together) >= _SETS:
            self._together.clear()
        return self._together.setdefault(rules, rules)

    def _known_of(self, data: bytes, begin: bytes | None) -> _Hits:
        """What the bytes alone say: it is worked out once for those that come again and again."""
        if len(data) > _REPLY_BYTES or (begin is not None and len(begin) < len(data)):
            return self._hits(data, begin or data)
        at = hash(data[-_KEY_BYTES:]) % _REPLIES
        kept = self._known[at]
        if kept is not None and kept[0] == data:
            return kept[1]
        said = self._hits(data, data)
        self._known[at] = data, said
        return said

    def _hits(self, data: bytes, begin: bytes) -> _Hits:
        hits = self._candidates(begin)
        if self._verify:
            hits = {hit: 0 if hit in self._verify else end for hit, end in hits.items() if self._is_hit(hit, begin)}
        if len(begin) < len(data) and hits and (max(hits.values()) == len(begin) or 0 in hits.values()):
            hits = {hit: end for hit, end in hits.items() if 0 < end < len(begin) or self._holds_uncut(hit, data)}
        matching = tuple(hits)
        known = self._sets.get(matching)
        if known is None:
            if len(self._sets) >= _SETS:
                self._sets.clear()
            known = self._sets[matching] = self._set(frozenset(matching))
        for index, rule in known.lines:
            if hits[index]:
                rule.met(begin, hits[index])
        if not known.tested:
            return known.said
        given = Bytes(data)
        tested = tuple([rule for rule in known.tested if rule.compiled.rest(given)])
        said = known.said
        return _Hits(said.hits, self._same(said.holding + tested), said.open) if tested else said

    def _holds_uncut(self, index: int, data: bytes) -> bool:
        """Whether an expression that matches where the bytes were cut does so because of what stands there."""
        if _EDGES.search(self._sources[index]) is None:
            return True
        exactly = self._uncut.get(index)
        if exactly is None:
            exactly = self._uncut[index] = compile_regex(self._sources[index])
        return exactly.search(data) is not None

    def _is_hit(self, index: int, data: bytes) -> bool:
        exactly = self._verify.get(index)
        return exactly is None or exactly.search(data) is not None

    def _set(self, hits: frozenset[int]) -> _Set:
        rules = [rule for hit in sorted(hits) for rule in self._by_expression[hit] if rule.unless not in hits]
        holding = self._same(tuple(rule for rule in rules if rule.compiled.plain))
        tested = tuple(rule for rule in rules if rule.compiled.alone and not rule.compiled.plain)
        lines = tuple((hit, rule) for hit in sorted(hits) for rule in self._by_expression[hit] if rule.reads_line())
        return _Set(_Hits(hits, holding, tuple(rule for rule in rules if not rule.compiled.alone)), tested, lines)


class _Hits(NamedTuple):
    """What holds for some bytes."""

    hits: frozenset[int]
    """Expressions that match."""
    holding: tuple[Rule, ...]
    """Rules that hold whatever is answered."""
    open: tuple[Rule, ...]
    """Rules that depend on the question too."""


class _Set(NamedTuple):
    """What holds for all bytes that match the same expressions."""

    said: _Hits
    tested: tuple[Rule, ...]
    """Rules that depend on further bytes."""
    lines: tuple[tuple[int, Rule], ...]
    """Rules that read one line, and their expressions."""


class _LengthIndex:
    """Rules without a regular expression, by the lengths they admit."""

    __slots__ = ("_known", "_ranges", "longest")

    def __init__(self, rules: Iterable[Rule]) -> None:
        self._ranges = [(*(rule.condition.length or (0, 1 << 30)), rule) for rule in rules]
        self._known: dict[tuple[int, str, bool, bool], tuple[Rule, ...]] = {}
        """Filled as lengths and questions are met."""
        self.longest = max((high for _, high, rule in self._ranges if not rule.compiled.wants_echo), default=-1)
        """What is longer is admitted only as our own message."""

    def get(self, length: int, reply: Reply | None, *, echo: bool) -> tuple[Rule, ...]:
        """Rules that admit the length, and the question that was answered: most are about one question only.

        `echo`: the reply is our own message, without which those that want it do not hold.
        """
        key = (length, "", False, echo) if reply is None else (length, reply.probe, reply.transport is _UDP, echo)
        found = self._known.get(key)
        if found is None:
            if len(self._known) >= _LENGTHS:
                self._known.clear()
            found = self._known[key] = tuple(
                rule
                for low, high, rule in self._ranges
                if low <= length <= high and _may_answer(rule, reply) and (echo or not rule.compiled.wants_echo)
            )
        return found


def _may_answer(rule: Rule, reply: Reply | None) -> bool:
    if reply is None:
        return True
    return rule.transport in (None, reply.transport) and (not rule.after or reply.probe in rule.after)
