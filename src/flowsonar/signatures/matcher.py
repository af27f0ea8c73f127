"""Any payload or reply against all signatures: hyperscan (or RE2 sets) finds candidates, conditions decide.

Linear in the length of what is matched, and bounded: `SCAN_BYTES`. A `Matcher` belongs to one thread.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterable, Iterator, Mapping
from functools import cached_property
from pathlib import Path
from typing import Protocol

from flowsonar.model import Layer, Side, Transport
from flowsonar.signatures import cachefile
from flowsonar.signatures.catalogue import SignatureSet
from flowsonar.signatures.conditions import SCAN_BYTES, Bytes, CompiledCondition, Reply, is_echo
from flowsonar.signatures.engines import available
from flowsonar.signatures.families import specificities
from flowsonar.signatures.itself import SELF_NAMED, called_by_itself
from flowsonar.signatures.knowledge import Knowledge, Known, completed
from flowsonar.signatures.language import Condition, PayloadPattern, Product, ProductPattern, ReplyPattern
from flowsonar.signatures.rulelist import Rules, WaitingRule
from flowsonar.signatures.rules import Database, Match, Pattern, Rule, filled

__all__ = ["Finder", "Match", "Matcher", "Reply", "payload_rules"]

_INITIATOR = Side.INITIATOR
_PARTS = {Transport.TCP: 2, Transport.UDP: 12}
"""Databases of payload patterns: of some divisions tried the ones that compile fastest, in 2.2 instead of 3.0 s and 1.6
instead of 5.0 s of a processor, for some 2 µs a scan more. Replies are scanned where speed counts, and are whole."""
_RANKED = 4096
"""Sets of rules whose order is remembered; then all are forgotten."""
_VARIED = 512
"""Products and versions that each of them remembers the matches of; then all are forgotten."""


class Finder(Protocol):
    """Finds the rules that hold for a payload."""

    def __call__(
        self, transport: Transport, data: bytes, ports: tuple[int, ...], *, names: bool
    ) -> tuple[Rule, ...] | None:
        """Those of a flow with these ports, in no order, with products' where `names`; None where it cannot tell."""
        ...


class Matcher:
    """All signatures, compiled. `engine` says what finds the candidates: `hyperscan` or `re2`."""

    def __init__(
        self,
        signatures: SignatureSet,
        *,
        cache: Path | None = None,
        engine: str | None = None,
        recog: Path | None = None,
    ) -> None:
        """`recog` names a copy of rapid7/recog, for products that the signatures leave open. Raises SignatureError."""
        self.engine = engine or available()[0]
        directory = cache if cache is not None else cachefile.cache_directory()
        self.knowledge = Knowledge.load(recog, self.engine, directory) if recog is not None else None
        self._signatures = signatures
        self._directory = directory
        self._payload_rules = payload_rules(signatures)
        self._finder: Finder | None = None
        self._payloads: dict[Transport, Database] = {}
        """Made when the first payload of a transport comes: of many captures Python sees few, or of one only."""
        self._conditions: dict[Condition, CompiledCondition] = {}
        self._ranked: dict[tuple[tuple[Rule, ...], str, bool, frozenset[str]], _Ranked] = {}
        self._payloads_ranked: dict[tuple[Rule, ...], _Ranked] = {}
        self._called: dict[tuple[tuple[int, ...], Known], tuple[list[Match], list[Match]]] = {}
        """What holds together holds together often."""

    def asking(self, finder: Callable[[Mapping[Transport, Rules]], Finder]) -> Matcher:
        """The same with a finder, made of the rules for payloads: databases are for what it cannot tell."""
        other = copy.copy(self)
        other._finder = finder(self._payload_rules)
        return other

    def prepare(self, *, replies: bool, payloads: bool) -> None:
        """Make now what the first of them would wait for: tenths of a second, or seconds where nothing was kept."""
        begun = {kind: self._begun(kind) for kind in self._payload_rules if payloads and kind not in self._payloads}
        if replies:
            _ = self._begun_replies
        for kind, database in begun.items():  # all have begun before one is waited for
            self._payloads[kind] = database.finish()
        if replies:
            _ = self._replies

    def _begun(self, transport: Transport) -> Database:
        return Database(self._payload_rules[transport], self.engine, self._directory, parts=_PARTS[transport])

    def _payload_database(self, transport: Transport) -> Database | None:
        if transport in self._payload_rules and transport not in self._payloads:
            self._payloads[transport] = self._begun(transport).finish()
        return self._payloads.get(transport)

    @cached_property
    def _begun_replies(self) -> Database:
        return Database(reply_rules(self._signatures), self.engine, self._directory)

    @cached_property
    def _replies(self) -> Database:
        """Made when the first reply comes: who asks nobody needs none."""
        return self._begun_replies.finish()

    def payload(self, transport: Transport, side: Side | None, data: bytes, ports: tuple[int, ...] = ()) -> list[Match]:
        """What the first bytes of a flow say, the best match of each service, the most specific first.

        `side` is who sent them, None where that is not known; `ports` are the flow's, for patterns that need theirs.
        """
        if not data:
            return []
        if len(data) > SCAN_BYTES:
            data = data[:SCAN_BYTES]
        names = side is not _INITIATOR
        holding = self._finder(transport, data, ports, names=names) if self._finder is not None else None
        if holding is None:
            database = self._payloads.get(transport) or self._payload_database(transport)
            holding = () if database is None else database.found(data)
        if not holding:
            return []
        best: dict[str, Rule] = {}
        for rule in holding:
            if rule.names or (side is not None and rule.side is not None and rule.side is not side):
                continue
            if rule.on_port is not None and rule.on_port.isdisjoint(ports):
                continue
            known = best.get(rule.service)
            if known is None or rule.order < known.order:
                best[rule.service] = rule
        rules = (*best.values(), *[rule for rule in holding if rule.names]) if names else tuple(best.values())
        ranked = self._payloads_ranked.get(rules)
        if ranked is None:
            if len(self._payloads_ranked) >= _RANKED:
                self._payloads_ranked.clear()
            ranked = self._payloads_ranked[rules] = _Ranked(rules)
        matches = ranked.matches(data)
        return self._named(matches, data) if self.knowledge is not None and names else matches

    def reply(self, reply: Reply) -> list[Match]:
        """What an endpoint's answer says, whatever it was an answer to: all that match, the most specific first."""
        data = reply.data if len(reply.data) <= SCAN_BYTES else reply.data[:SCAN_BYTES]
        holding = self._replies.found(data, reply, echo=is_echo(data, reply.message))
        if not holding:
            return []
        key = (holding, reply.probe, reply.transport is Transport.UDP, reply.earlier)
        ranked = self._ranked.get(key)
        if ranked is None:
            if len(self._ranked) >= _RANKED:
                self._ranked.clear()
            ranked = self._ranked[key] = _Ranked(
                rule
                for rule in holding
                if rule.transport in (None, reply.transport)
                and (not rule.after or reply.probe in rule.after)
                and rule.requires <= reply.earlier
            )
        matches = ranked.matches(data)
        if self.knowledge is not None:
            matches = self._named(matches, data)
        if ranked.is_self_named:
            matches = self._self_named(matches, data)
        return [_within(match, reply.over) for match in matches] if reply.over is not None else matches

    def is_anyones(self, reply: Reply) -> bool:
        """Whether everybody's reply of these bytes to this message says the same, whatever else was sent."""
        data = reply.data if len(reply.data) <= SCAN_BYTES else reply.data[:SCAN_BYTES]
        return not is_echo(data, reply.message) and self._replies.is_settled(data, reply)

    def _named(self, matches: list[Match], data: bytes) -> list[Match]:
        """Fill in what recog knows and the signatures leave open; for the best service only."""
        if not matches or self.knowledge is None:
            return matches
        service = matches[0].service
        if all(match.product and match.version and match.cpe for match in matches if match.service == service):
            return matches
        known = self.knowledge.about(service, data)
        if known is None:
            return matches
        return [completed(match, known) if match.service == service else match for match in matches]

    def _self_named(self, matches: list[Match], data: bytes) -> list[Match]:
        """Where neither signatures nor recog name the program of the best service, what it calls itself."""
        service = matches[0].service
        for match in matches:
            if (match.product or match.cpe) and match.service == service:
                return matches
        called = called_by_itself(service, data)
        if called is None:
            return matches
        key = (tuple(map(id, matches)), called)
        known = self._called.get(key)
        if known is None:
            if len(self._called) >= _RANKED:
                self._called.clear()
            named = [completed(match, called) if match.service == service else match for match in matches]
            known = self._called[key] = (matches, named)  # the first are held, so that their numbers stay theirs
        return list(known[1])

    def holds(self, condition: Condition, reply: Reply) -> dict[str, str] | None:
        """Test one condition: its named groups and captured fields (latin-1 text), or None when it fails."""
        compiled = self._conditions.get(condition)
        if compiled is None:
            compiled = self._conditions[condition] = CompiledCondition(condition)
        data = reply.data if len(reply.data) <= SCAN_BYTES else reply.data[:SCAN_BYTES]
        echo = is_echo(data, reply.message)
        if echo and not compiled.wants_echo:
            return None
        if not compiled.rest(Bytes(data, reply, echo)) or compiled.excepted(data):
            return None
        groups = compiled.groups(data)
        return None if groups is None else {**groups, **compiled.captures(data)}

    def product(self, product: Product, groups: Mapping[str, str]) -> tuple[str | None, str | None, str | None]:
        """Product, version and CPE of a dialogue that went through, from the groups its conditions gave."""
        return filled(product, groups)


def payload_rules(signatures: SignatureSet) -> dict[Transport, Rules]:
    """What is looked for in payloads over a transport."""
    found: dict[Transport, list[WaitingRule]] = {Transport.TCP: [], Transport.UDP: []}
    spoken = {name: {one.transport for one in known.payloads} for name, known in signatures.services.items()}
    for rule in _rules(signatures, (PayloadPattern, ProductPattern)):
        pattern = rule.pattern
        for transport, rules in found.items():
            if pattern.transport is transport or (pattern.transport is None and transport in spoken[pattern.service]):
                rules.append(rule)
    return {transport: Rules(rules) for transport, rules in found.items()}


def reply_rules(signatures: SignatureSet) -> list[Rule]:
    """What is looked for in replies."""
    return [waiting.rule for waiting in _rules(signatures, (ReplyPattern, ProductPattern))]


def _rules(signatures: SignatureSet, kinds: tuple[type[Pattern], ...]) -> Iterator[WaitingRule]:
    """Rules of these kinds, each with its place among all patterns."""
    specific = specificities(signatures)
    order = 0
    for signature in signatures.services.values():
        for pattern in (*signature.payloads, *signature.replies, *signature.products):
            order += 1
            if not isinstance(pattern, kinds):
                continue
            if isinstance(pattern, ProductPattern):
                yield WaitingRule(pattern, order)
                continue
            ports = dict(signature.ports).get(pattern.transport, ()) if pattern.transport is not None else ()
            yield WaitingRule(pattern, order, specific[pattern.id], ports)


class _Ranked:
    """Rules that hold together, the most specific first; product patterns lend their names to their service."""

    __slots__ = ("_known", "_names", "_ranked", "_varying", "is_self_named")

    def __init__(self, rules: Iterable[Rule]) -> None:
        ordered = sorted(rules, key=_order)
        self._ranked = [rule for rule in ordered if not rule.names]
        self.is_self_named = bool(self._ranked) and self._ranked[0].service in SELF_NAMED
        """Whether the best service's answers name their program."""
        services = {rule.service for rule in self._ranked}
        self._names: dict[str, Rule] = {}
        for rule in ordered:
            if rule.names and rule.service in services:
                self._names.setdefault(rule.service, rule)
        self._varying = [rule for rule in (*self._ranked, *self._names.values()) if not rule.constant]
        self._known: dict[tuple[int, ...], tuple[list[Match], list[Match]]] = {}
        """By the numbers of what varies, which stay theirs as long as they are held here: all that follows from it."""

    def matches(self, data: bytes) -> list[Match]:
        """What they say of `data`."""
        said = [rule.matched(data) for rule in self._varying] if self._varying else []
        key = tuple(map(id, said))
        known = self._known.get(key)
        if known is None:
            if len(self._known) >= _VARIED:
                self._known.clear()
            known = self._known[key] = said, self._made(data)
        return list(known[1])

    def _made(self, data: bytes) -> list[Match]:
        matches = [rule.matched(data) for rule in self._ranked]
        for index, match in enumerate(matches):
            if match.product is None and match.service in self._names:
                matches[index] = _lent(match, self._names[match.service].matched(data))
        return matches


def _lent(match: Match, name: Match) -> Match:
    """The match with the product that another pattern of its service names."""
    return Match(
        match.service, match.pattern, match.confidence, name.product, name.version, name.cpe,
        match.detail or name.detail, match.specificity, match.soft, match.over,
    )  # fmt: skip


def _order(rule: Rule) -> tuple[bool, int, int, int]:
    return rule.order


def _within(match: Match, over: Layer) -> Match:
    return match if match.over is not None else match._replace(over=over)
