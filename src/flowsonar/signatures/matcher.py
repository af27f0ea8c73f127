"""Any payload or reply against all signatures: hyperscan (or RE2 sets) finds candidates, conditions decide.

Linear in the length of what is matched, and bounded: `SCAN_BYTES`. A `Matcher` belongs to one thread.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import NamedTuple

from flowsonar.model import Confidence, Layer, Side, Transport
from flowsonar.signatures import cachefile
from flowsonar.signatures.conditions import GROUP_CHARACTERS, SCAN_BYTES, Bytes, CompiledCondition, Reply, is_echo
from flowsonar.signatures.engines import Engine, HyperscanEngine, Re2Engine, available
from flowsonar.signatures.language import Condition, PayloadPattern, Product, ProductPattern, ReplyPattern
from flowsonar.signatures.loader import SignatureSet

__all__ = ["Match", "Matcher", "Reply"]

_GROUP = re.compile(r"\{([A-Za-z_][A-Za-z0-9_]*)\}")
_CONTROL = dict.fromkeys((*range(32), *range(127, 160)))
_CPE_QUOTED = re.compile(r"([^A-Za-z0-9_.\-])")


_Pattern = PayloadPattern | ReplyPattern | ProductPattern


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


class _Rule:
    """A pattern made ready: what it asks, and the match it gives."""

    __slots__ = ("after", "compiled", "condition", "constant", "detail", "fixed", "match", "names", "order", "product",
                 "requires", "service", "side", "transport")  # fmt: skip

    def __init__(self, pattern: _Pattern, order: int) -> None:
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
        self.order: tuple[bool, int, int, int] = (False, 0, 0, order)
        self.match = Match("", "", Confidence.GUESS)
        if not isinstance(pattern, ProductPattern):
            specificity = pattern.specificity or 10 * pattern.confidence.rank
            self.order = (pattern.soft, -specificity, -pattern.confidence.rank, order)
            self.match = Match(
                service=pattern.service, pattern=pattern.id, confidence=pattern.confidence, specificity=specificity,
                soft=pattern.soft, over=pattern.over if isinstance(pattern, ReplyPattern) else None,
            )  # fmt: skip
        if isinstance(pattern, ReplyPattern):
            self.requires = frozenset(n if "/" in n else f"{pattern.service}/{n}" for n in pattern.requires)
        texts = (self.product.product, self.product.version, self.product.cpe, self.detail)
        self.constant = not self.compiled.has_groups or not any(_GROUP.search(text) for text in texts if text)
        self.fixed = self.made({}) if self.constant else None

    def made(self, groups: Mapping[str, str]) -> Match:
        """The match with product, version, CPE and detail filled in."""
        product, version, cpe = _filled(self.product, groups)
        detail = _fill(self.detail, groups) or ""
        return self.match._replace(product=product, version=version, cpe=cpe, detail=detail)


class _Database:
    """The rules of one kind of input, and the engine that finds candidates among them."""

    __slots__ = ("_by_length", "_candidates", "_exact", "_rules", "engine")

    def __init__(self, rules: Iterable[_Rule], kind: str, cache: Path | None) -> None:
        self._rules: list[_Rule] = []
        plain: list[_Rule] = []
        for rule in rules:
            (plain if rule.condition.pattern is None else self._rules).append(rule)
        expressions = [rule.condition.pattern or "" for rule in self._rules]
        self.engine: Engine = HyperscanEngine(expressions, cache) if kind == "hyperscan" else Re2Engine(expressions)
        self._candidates = self.engine.candidates
        self._exact = [self.engine.exact(index) for index in range(len(expressions))]
        self._by_length = _LengthIndex(plain)

    def found(self, given: Bytes) -> list[tuple[_Rule, Match | None]]:
        """Rules that hold, with their match (None where the rule only names a product, see `product`)."""
        data = given.data
        holding: list[tuple[_Rule, Match | None]] = []
        for index in self._candidates(data):
            rule = self._rules[index]
            if given.echo and not rule.compiled.wants_echo:
                continue
            if not rule.compiled.rest(given):
                continue
            if rule.constant and self._exact[index]:
                holding.append((rule, rule.fixed))
                continue
            groups = rule.compiled.groups(data)
            if groups is not None:
                holding.append((rule, rule.made(groups)))
        holding += [
            (rule, rule.fixed)
            for rule in self._by_length.get(len(data))
            if (not given.echo or rule.compiled.wants_echo) and rule.compiled.rest(given)
        ]
        return holding


class _LengthIndex:
    """Rules without a regular expression, by the lengths they admit."""

    __slots__ = ("_exact", "_ranges")

    def __init__(self, rules: Iterable[_Rule]) -> None:
        self._exact: dict[int, tuple[_Rule, ...]] = {}
        self._ranges: list[tuple[int, int, _Rule]] = []
        for rule in rules:
            low, high = rule.condition.length or (0, 1 << 30)
            if low == high:
                self._exact[low] = (*self._exact.get(low, ()), rule)
            else:
                self._ranges.append((low, high, rule))

    def get(self, length: int) -> tuple[_Rule, ...]:
        """Rules that admit the length."""
        found = self._exact.get(length, ())
        if not self._ranges:
            return found
        return found + tuple(rule for low, high, rule in self._ranges if low <= length <= high)


class Matcher:
    """All signatures, compiled. `engine` says what finds the candidates: `hyperscan` or `re2`."""

    def __init__(self, signatures: SignatureSet, *, cache: Path | None = None, engine: str | None = None) -> None:
        self.engine = engine or available()[0]
        directory = cache if cache is not None else cachefile.cache_directory()
        payloads: dict[Transport, list[_Rule]] = {Transport.TCP: [], Transport.UDP: []}
        replies: list[_Rule] = []
        order = 0
        for signature in signatures.services.values():
            patterns: tuple[_Pattern, ...] = (*signature.payloads, *signature.replies, *signature.products)
            for pattern in patterns:
                order += 1
                if not isinstance(pattern, PayloadPattern):
                    replies.append(_Rule(pattern, order))
                if not isinstance(pattern, ReplyPattern):
                    for transport, rules in payloads.items():
                        if pattern.transport in (None, transport):
                            rules.append(_Rule(pattern, order))
        self._payloads = {kind: _Database(rules, self.engine, directory) for kind, rules in payloads.items()}
        self._replies = _Database(replies, self.engine, directory)
        self._conditions: dict[Condition, CompiledCondition] = {}

    def payload(self, transport: Transport, side: Side | None, data: bytes) -> list[Match]:
        """What the first bytes of a flow say; `side` is who sent them, None where that is not known."""
        database = self._payloads.get(transport)
        if database is None or not data:
            return []
        holding = database.found(Bytes(data if len(data) <= SCAN_BYTES else data[:SCAN_BYTES]))
        if not holding:
            return []
        if side is not None:
            holding = [one for one in holding if one[0].side is None or one[0].side is side]
        return _ranked(holding, named=side is not Side.INITIATOR, over=None)

    def reply(self, reply: Reply) -> list[Match]:
        """What an endpoint's answer says, whatever it was an answer to; the most specific first."""
        data = reply.data if len(reply.data) <= SCAN_BYTES else reply.data[:SCAN_BYTES]
        given = Bytes(data, reply, is_echo(data, reply.message))
        holding = [
            (rule, match)
            for rule, match in self._replies.found(given)
            if rule.transport in (None, reply.transport)
            and (not rule.after or reply.probe in rule.after)
            and rule.requires <= reply.earlier
        ]
        return _ranked(holding, named=True, over=reply.over)

    def holds(self, condition: Condition, reply: Reply) -> dict[str, str] | None:
        """Test one condition: its named groups and captured fields (latin-1 text), or None when it fails."""
        compiled = self._conditions.get(condition)
        if compiled is None:
            compiled = self._conditions[condition] = CompiledCondition(condition)
        data = reply.data if len(reply.data) <= SCAN_BYTES else reply.data[:SCAN_BYTES]
        echo = is_echo(data, reply.message)
        if (echo and not compiled.wants_echo) or not compiled.rest(Bytes(data, reply, echo)):
            return None
        groups = compiled.groups(data)
        return None if groups is None else {**groups, **compiled.captures(data)}

    def product(self, product: Product, groups: Mapping[str, str]) -> tuple[str | None, str | None, str | None]:
        """Product, version and CPE of a dialogue that went through, from the groups its conditions gave."""
        return _filled(product, groups)


def _ranked(holding: list[tuple[_Rule, Match | None]], *, named: bool, over: Layer | None) -> list[Match]:
    """Most specific first; product patterns lend their names to the matches of their service."""
    ranked = sorted((rule.order, match) for rule, match in holding if not rule.names and match is not None)
    if not ranked:
        return []
    matches = [match for _, match in ranked]
    if over is not None:
        matches = [match if match.over is not None else match._replace(over=over) for match in matches]
    if not named or len(ranked) == len(holding):
        return matches
    names: dict[str, Match] = {}
    for rule, match in sorted(((r, m) for r, m in holding if r.names), key=lambda one: one[0].order):
        if match is not None:
            names.setdefault(rule.service, match)
    return [
        match._replace(product=name.product, version=name.version, cpe=name.cpe, detail=match.detail or name.detail)
        if match.product is None and (name := names.get(match.service)) is not None
        else match
        for match in matches
    ]


def _filled(product: Product, groups: Mapping[str, str]) -> tuple[str | None, str | None, str | None]:
    name = _fill(product.product, groups)
    version = _fill(product.version, groups)
    if product.cpe is None or name is None:
        return name, version, None
    if product.cpe.startswith("cpe:2.3:"):
        return name, version, _fill(product.cpe, groups)
    quoted = _CPE_QUOTED.sub(r"\\\1", version.lower()) if version else "*"
    cpe = _fill(product.cpe, {key: value.lower() for key, value in groups.items()})
    return name, version, f"cpe:2.3:{cpe}:{quoted}:*:*:*:*:*:*:*" if cpe else None


def _fill(text: str | None, groups: Mapping[str, str]) -> str | None:
    """Group references filled in; None when one did not take part in the match."""
    if not text or "{" not in text:
        return text
    missing = False

    def value(found: re.Match[str]) -> str:
        nonlocal missing
        got = groups.get(found[1], "").translate(_CONTROL).strip()[:GROUP_CHARACTERS]
        missing = missing or not got
        return got

    filled = _GROUP.sub(value, text)
    return None if missing else filled
