"""Any payload or reply against all signatures: hyperscan (or RE2 sets) finds candidates, conditions decide.

Linear in the length of what is matched, and bounded: `SCAN_BYTES`. A `Matcher` belongs to one thread.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterable, Iterator, Mapping
from functools import cached_property
from pathlib import Path
from typing import Final, Protocol

from flowsonar.model import Layer, Side, Transport
from flowsonar.signatures import cachefile
from flowsonar.signatures.catalogue import SignatureSet
from flowsonar.signatures.conditions import SCAN_BYTES, Bytes, CompiledCondition, Reply, is_echo
from flowsonar.signatures.engines import available
from flowsonar.signatures.families import specificities
from flowsonar.signatures.itself import SELF_NAMED, called_by_itself
from flowsonar.signatures.knowledge import Knowledge, completed
from flowsonar.signatures.language import Condition, PayloadPattern, Product, ProductPattern, ReplyPattern
from flowsonar.signatures.rulelist import Rules, WaitingRule
from flowsonar.signatures.rules import Database, Frame, Match, Pattern, Rule, framed
from flowsonar.signatures.texts import filled

__all__ = ["Finder", "Match", "Matcher", "Reply", "payload_rules"]

_INITIATOR = Side.INITIATOR
_UDP = Transport.UDP
_PARTS = {Transport.TCP: 2, Transport.UDP: 12}
"""Databases of payload patterns: of some divisions tried the ones that compile fastest, in 2.2 instead of 3.0 s and 1.6
instead of 5.0 s of a processor, for some 2 µs a scan more. Replies are scanned where speed counts, and are whole."""
REPLY_BEGIN: Final = 2048
"""Bytes of a reply that the expressions look at: a header, and the beginning of what follows it. What else is asked of
it (its length, fields, our own bytes in it) is asked of all of it. An expression that asks for the reply's end does not
find it in a longer one. Of 1,044 answers of 1.5 to 64 KB (examples, and the corpus's streams) none said less."""
_RANKED = 4096
"""Sets of rules whose order is remembered; then all are forgotten."""


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
        begin = data if len(data) <= REPLY_BEGIN else data[:REPLY_BEGIN]
        holding = self._replies.found(data, reply, begin=begin, echo=is_echo(data, reply.message))
        if not holding:
            return []
        key = (holding, reply.probe, reply.transport is _UDP, reply.earlier)
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
        matches = ranked.matches(begin)
        if self.knowledge is not None:
            matches = self._named(matches, data)
        if ranked.is_self_named and not matches[0].product:
            matches = ranked.self_named(matches, begin)
        return [_within(match, reply.over) for match in matches] if reply.over is not None else matches

    def is_anyones(self, reply: Reply) -> bool:
        """Whether everybody's reply of these bytes to this message says the same, whatever else was sent."""
        data = reply.data if len(reply.data) <= SCAN_BYTES else reply.data[:SCAN_BYTES]
        begin = data if len(data) <= REPLY_BEGIN else data[:REPLY_BEGIN]
        return not is_echo(data, reply.message) and self._replies.is_settled(data, reply, begin)

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

    __slots__ = ("_all", "_frames", "_made", "_names", "_said", "_unnamed", "_varying", "is_self_named")

    def __init__(self, rules: Iterable[Rule]) -> None:
        ordered = sorted(rules, key=_order)
        ranked = [rule for rule in ordered if not rule.names]
        self.is_self_named = bool(ranked) and ranked[0].service in SELF_NAMED
        """Whether the best service's answers name their program."""
        services = {rule.service for rule in ranked}
        self._names: dict[str, Rule] = {}
        for rule in ordered:
            if rule.names and rule.service in services:
                self._names.setdefault(rule.service, rule)
        self._all = [(rule, self._names.get(rule.service)) for rule in ranked]
        """Each with the one that names its program, where it does not itself."""
        self._varying = [rule for rule in (*ranked, *self._names.values()) if not rule.constant]
        self._said: Match | None = None
        """What varies, where it is one, as it was said last."""
        self._made: list[Match] | None = None
        """All that followed from it."""
        fixed = [rule.matched(b"") for rule in ranked if rule.constant]
        self._frames: list[Frame] | None = None
        """Where only the program's name varies: what comes before and after it."""
        self._unnamed: list[Frame] | None = None
        """The same where nothing here names the program of the one service, but perhaps it does itself."""
        if len(services) == 1 == len(self._names) and len(fixed) == len(ranked):
            lent = next(iter(self._names.values())).detail
            if not any(match.product for match in fixed) and (not lent or all(match.detail for match in fixed)):
                self._frames = [(match[:3], match[6:]) for match in fixed]
        unnamed = self.is_self_named and len(services) == 1 and len(fixed) == len(ranked) and not self._names
        if unnamed and all(match.detail and not match.product and not match.cpe for match in fixed):
            self._unnamed = [(match[:3], match[6:]) for match in fixed]

    def matches(self, data: bytes) -> list[Match]:
        """What they say of `data`."""
        said = self._varying[0].matched(data) if self._varying else None
        if self._made is None or said is not self._said or len(self._varying) > 1:
            self._said = said
            if self._frames is not None and said is not None:
                self._made = framed(self._frames, said[3:6])
            else:
                self._made = [_lent(rule.matched(data), name, data) for rule, name in self._all]
        return self._made[:]

    def self_named(self, matches: list[Match], data: bytes) -> list[Match]:
        """Where neither signatures nor recog name the program of the best service, what it calls itself."""
        service = matches[0].service
        for match in matches:
            if (match.product or match.cpe) and match.service == service:
                return matches
        called = called_by_itself(service, data)
        if called is None:
            return matches
        if self._unnamed is not None and matches[0].detail == self._unnamed[0][1][0]:  # recog described nothing
            return framed(self._unnamed, called[1:])
        return [completed(match, called) if match.service == service else match for match in matches]


def _lent(match: Match, name: Rule | None, data: bytes) -> Match:
    """The match with the product that another pattern of its service names."""
    if name is None or match.product is not None:
        return match
    said = name.matched(data)
    return framed([(match[:3], (match.detail or said.detail, *match[7:]))], said[3:6])[0]


def _order(rule: Rule) -> tuple[bool, int, int, int]:
    return rule.order


def _within(match: Match, over: Layer) -> Match:
    return match if match.over is not None else match._replace(over=over)
