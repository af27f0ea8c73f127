"""A policy as a TOML file: read with an eye to errors, which name file and line, and written so that it can be read."""

from __future__ import annotations

import difflib
import re
import tomllib
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import replace
from enum import StrEnum
from ipaddress import ip_network
from pathlib import Path
from typing import Any, Final, NoReturn, TypeVar

from flowsonar.errors import ConfigError
from flowsonar.model import Confidence, TrafficClass
from flowsonar.shaping.classes import DEFAULT_CLASSES, DSCP, Classes, ShapedClass, dscp_name
from flowsonar.shaping.policy import Network, Policy, Rule
from flowsonar.signatures.source import File

__all__ = ["LEAVE", "load_policy", "parse_policy", "write_policy"]

_Choice = TypeVar("_Choice", bound=StrEnum)

LEAVE: Final = "leave"
"""In place of a class: the packets stay as they are."""

_BYTES: Final = 1 << 20
"""More than a policy of ten thousand rules."""
_RULES: Final = 1000
"""Each flow's label goes through them one by one."""
_TOP: Final = ("confidence", "unknown", "encrypted", "except", "windows", "brake", "class", "rule")
_CLASS: Final = ("dscp", "share", "rate", "ceiling")
_CONDITIONS: Final = ("service", "product", "name", "is", "network", "client", "server")
_RULE: Final = ("title", *_CONDITIONS, "except", "confidence", "class", "dscp")
_UNITS: Final = {"": 1, "kbit": 1, "mbit": 1000, "gbit": 1_000_000}
_SURE: Final = (Confidence.LIKELY, Confidence.CONFIRMED)


def load_policy(path: Path, services: Iterable[str] | None = None) -> Policy:
    """Read a file. Raises ConfigError with file and line. `services`: those that there are, to find misspelt ones."""
    try:
        with path.open("rb") as file:
            content = file.read(_BYTES + 1)
    except OSError as error:
        raise ConfigError(f"{path}: the policy cannot be read ({error.strerror})") from error
    if len(content) > _BYTES:
        raise ConfigError(f"{path}: too long for a policy (more than {_BYTES >> 20} MiB)")
    try:
        text = content.decode()
    except UnicodeDecodeError as error:
        raise ConfigError(f"{path}: not TOML: {error}") from error
    return parse_policy(text, str(path), services)


def parse_policy(text: str, source: str, services: Iterable[str] | None = None) -> Policy:
    """Read a policy's text. Raises ConfigError with file and line."""
    try:
        table = tomllib.loads(text)
    except (tomllib.TOMLDecodeError, RecursionError) as error:
        where = re.search(r"\(at line (\d+)", str(error))
        line = where[1] if where else text.rstrip().count("\n") + 1
        raise ConfigError(f"{source}:{line}: not TOML: {error}") from error
    return _Reader(File(source, text), None if services is None else frozenset(services)).policy(table)


class _Reader:
    def __init__(self, file: File, services: frozenset[str] | None) -> None:
        self._file = file
        self._services = services

    def policy(self, table: Mapping[str, Any]) -> Policy:
        self._known(table, _TOP, 1)
        rules = table.get("rule", [])
        if not isinstance(rules, list) or not all(isinstance(one, dict) for one in rules):
            self._fail(1, "rule: write each rule as [[rule]] and its keys below", "rule")
        if len(rules) > _RULES:
            self._fail(1, f"{len(rules)} rules: at most {_RULES}, each may name many services and networks")
        policy = Policy(
            source=self._file.path,
            classes=self._classes(table.get("class", {})),
            rules=tuple(self._rule(one, number) for number, one in enumerate(rules)),
            confidence=self._sure(table, 1) or Confidence.LIKELY,
            unknown=self._class_or_leave(table, "unknown"),
            encrypted=self._class_or_leave(table, "encrypted"),
            exempt=self._networks(table, "except", 1),
            windows=self._switch(table, "windows"),
            brake=self._switch(table, "brake"),
        )
        self._conflicts(policy)
        return policy

    def _class_or_leave(self, table: Mapping[str, Any], key: str) -> TrafficClass | None:
        value = table.get(key, LEAVE)
        return None if value == LEAVE else self._choice(value, TrafficClass, 1, key, (LEAVE,))

    def _switch(self, table: Mapping[str, Any], key: str) -> bool:
        value = table.get(key, True)
        if not isinstance(value, bool):
            self._fail(1, f"{key}: {value!r} must be true or false", key)
        return value

    # -- classes ------------------------------------------------------------------------------------------------

    def _classes(self, tables: Any) -> Classes:
        if not isinstance(tables, dict):
            self._fail(1, "class: write [class.realtime] and its keys below", "class")
        made: dict[TrafficClass, ShapedClass] = {one.name: one for one in DEFAULT_CLASSES}
        given = set[TrafficClass]()
        for key, table in tables.items():
            line = self._line_of(f"class.{key}")
            name = self._choice(key, TrafficClass, line, key)
            if not isinstance(table, dict):
                self._fail(line, f"class.{key}: write [class.{key}] and its keys below")
            made[name] = self._class(made[name], table, line)
            if "share" in table or "rate" in table:
                given.add(name)
        taken = sum(made[name].share for name in given)
        if taken > 1.001:  # shares may have been rounded
            self._fail(self._line_of("class"), f"the classes' shares make {taken:.2f} of the line: at most 1")
        others = sum(one.share for one in made.values() if one.name not in given)
        if others + taken > 1:  # what was not given divides what is left
            for name, one in made.items():
                if name not in given:
                    made[name] = replace(one, share=one.share * max(0.0, 1 - taken) / others)
        return tuple(made.values())

    def _class(self, shaped: ShapedClass, table: Mapping[str, Any], line: int) -> ShapedClass:
        self._known(table, _CLASS, line)
        if "share" in table and "rate" in table:
            self._fail(line, f"class.{shaped.name}: share and rate exclude each other: give one of them", "rate")
        if "dscp" in table:
            shaped = replace(shaped, dscp=self._dscp(table["dscp"], line))
        if "share" in table:
            shaped = replace(shaped, share=self._part(table["share"], line, "share"))
        if "rate" in table:
            shaped = replace(shaped, rate_kbit=self._rate(table["rate"], line), share=0.0)
        ceiling = (
            self._part(table["ceiling"], line, "ceiling") if "ceiling" in table else max(shaped.ceiling, shaped.share)
        )
        if ceiling < shaped.share:
            self._fail(line, f"class.{shaped.name}: the ceiling {ceiling} is below its share {shaped.share}", "ceiling")
        return replace(shaped, ceiling=ceiling)

    # -- rules --------------------------------------------------------------------------------------------------

    def _rule(self, table: Mapping[str, Any], number: int) -> Rule:
        headers = self._file.header_lines("rule")
        line = headers[number] if number < len(headers) else self._file.key_line(1, ["rule"])
        self._known(table, _RULE, line)
        if not any(key in table for key in _CONDITIONS):
            self._fail(line, f"a rule without any condition holds for everything: give one of {', '.join(_CONDITIONS)}")
        if "class" not in table and "dscp" not in table:
            self._fail(line, f'a rule without class and dscp does nothing: give one, or class = "{LEAVE}"')
        target = table.get("class")
        if target == LEAVE and "dscp" in table:
            self._fail(line, f'class = "{LEAVE}" and dscp exclude each other: leave one out', "dscp")
        services = self._texts(table, "service", line)
        for service in services:
            self._service(service, line)
        return Rule(
            title=self._text(table, "title", line),
            line=line,
            services=services,
            products=self._texts(table, "product", line),
            names=self._texts(table, "name", line),
            classes=tuple(self._choice(one, TrafficClass, line, "is") for one in self._texts(table, "is", line)),
            networks=self._networks(table, "network", line),
            clients=self._networks(table, "client", line),
            servers=self._networks(table, "server", line),
            exempt=self._networks(table, "except", line),
            confidence=self._sure(table, line),
            target=None if target in (None, LEAVE) else self._choice(target, TrafficClass, line, "class", (LEAVE,)),
            dscp=self._dscp(table["dscp"], line) if "dscp" in table else None,
            leave=target == LEAVE,
        )

    def _service(self, service: str, line: int) -> None:
        if self._services is not None and service not in self._services:
            close = difflib.get_close_matches(service, self._services, n=1)
            meant = f": did you mean {close[0]}?" if close else ": `flowsonar signatures list` has them all"
            self._fail(line, f"service = {service!r}: no such service{meant}", "service")

    def _conflicts(self, policy: Policy) -> None:
        """A rule, or one of its services, that an earlier rule takes away with another outcome is a mistake."""
        for number, later in enumerate(policy.rules):
            for earlier in policy.rules[:number]:
                outcome = (earlier.target, earlier.dscp, earlier.leave)
                if outcome == (later.target, later.dscp, later.leave):
                    continue
                taken = [one for one in _apart(later) if _covers(earlier, one, policy.confidence)]
                if taken:
                    what = f" for service {taken[0].services[0]}" if taken[0].services else ""
                    self._fail(
                        later.line,
                        f"conflicts with the rule at line {earlier.line}{what}: that one holds first and decides "
                        "otherwise; put the narrower one first, or take one away",
                    )

    # -- values -------------------------------------------------------------------------------------------------

    def _line_of(self, header: str) -> int:
        lines = self._file.header_lines(header)
        return lines[0] if lines else self._file.key_line(1, header.split("."))

    def _fail(self, line: int, what: str, key: str | None = None) -> NoReturn:
        if key is not None:
            line = self._file.key_line(line, [key])
        raise ConfigError(f"{self._file.path}:{line}: {what}")

    def _known(self, table: Mapping[str, Any], keys: tuple[str, ...], line: int) -> None:
        for key in table:
            if key not in keys:
                close = difflib.get_close_matches(key, keys, n=1)
                meant = f": did you mean {close[0]}?" if close else f": there are {', '.join(keys)}"
                shown = key if key.isprintable() else ascii(key)
                self._fail(line, f"{shown}: no such key{meant}", key)

    def _choice(self, value: Any, kind: type[_Choice], line: int, key: str, also: tuple[str, ...] = ()) -> _Choice:
        try:
            return kind(value)
        except ValueError:
            self._fail(line, f"{key}: {value!r} must be one of {', '.join((*kind, *also))}", key)

    def _sure(self, table: Mapping[str, Any], line: int) -> Confidence | None:
        if "confidence" not in table:
            return None
        if table["confidence"] not in _SURE:
            what = f"confidence: {table['confidence']!r} must be likely or confirmed: a guess never moves a packet"
            self._fail(line, what, "confidence")
        return Confidence(table["confidence"])

    def _text(self, table: Mapping[str, Any], key: str, line: int) -> str:
        value = table.get(key, "")
        if not isinstance(value, str) or not value.isprintable():
            self._fail(line, f"{key}: must be text in quotes, of one line", key)
        return value

    def _texts(self, table: Mapping[str, Any], key: str, line: int) -> tuple[str, ...]:
        value = table.get(key, [])
        values = [value] if isinstance(value, str) else value
        if not isinstance(values, list) or not all(isinstance(one, str) and one for one in values):
            self._fail(line, f"{key}: must be text in quotes, or a list of it", key)
        if key in table and not values:
            self._fail(line, f"{key}: the list is empty: leave it out, or name something", key)
        return tuple(values)

    def _networks(self, table: Mapping[str, Any], key: str, line: int) -> tuple[Network, ...]:
        found = list[Network]()
        for text in self._texts(table, key, line):
            try:
                found.append(ip_network(text))
            except ValueError as error:
                self._fail(line, f"{key}: {error}: write an address, or a network like 10.0.2.0/24", key)
        return tuple(found)

    def _dscp(self, value: Any, line: int) -> int:
        known = DSCP.get(value.upper(), -1) if isinstance(value, str) else value
        if isinstance(known, bool) or not isinstance(known, int) or not 0 <= known < 64:
            self._fail(line, f"dscp: {value!r} must be a name like EF, AF41, CS5, LE, or a number from 0 to 63", "dscp")
        return known

    def _part(self, value: Any, line: int, key: str) -> float:
        if isinstance(value, bool) or not isinstance(value, int | float) or not 0 < value <= 1:
            self._fail(line, f"{key}: {value!r} must be a part of the line, above 0 and at most 1", key)
        return float(value)

    def _rate(self, value: Any, line: int) -> int:
        found = re.fullmatch(r"(\d{1,9}(?:\.\d{1,3})?) ?([kmg]bit|)", str(value).lower())
        if isinstance(value, bool) or found is None or not (rate := round(float(found[1]) * _UNITS[found[2]])):
            self._fail(line, f'rate: {value!r} must be a bandwidth like "2mbit" or "500kbit"', "rate")
        return rate


def _apart(rule: Rule) -> Iterator[Rule]:
    """A rule as one for each of its services."""
    if not rule.services:
        yield rule
    for service in rule.services:
        yield replace(rule, services=(service,))


def _covers(earlier: Rule, later: Rule, usual: Confidence) -> bool:
    """Whether everything that `later` holds for, `earlier` holds for too."""
    if earlier.exempt or (earlier.confidence or usual).rank > (later.confidence or usual).rank:
        return False
    for one in ("services", "products", "names", "classes"):
        wide, narrow = getattr(earlier, one), getattr(later, one)
        if wide and not (narrow and set(narrow) <= set(wide)):
            return False
    for one in ("networks", "clients", "servers"):
        wide, narrow = getattr(earlier, one), getattr(later, one)
        if wide and not (narrow and all(any(_within(small, large) for large in wide) for small in narrow)):
            return False
    return True


def _within(small: Network, large: Network) -> bool:
    return small.version == large.version and small.subnet_of(large)  # type: ignore[arg-type]


# -- and back ---------------------------------------------------------------------------------------------------


def write_policy(policy: Policy) -> str:
    """All of a policy, the built-in rules too, as a file that reads the same."""
    lines = [
        f'confidence = "{policy.confidence}"',
        f'unknown = "{policy.unknown or LEAVE}"',
        f'encrypted = "{policy.encrypted or LEAVE}"',
        f"except = {_list(policy.exempt)}" if policy.exempt else "# except = []",
        f"windows = {str(policy.windows).lower()}",
        f"brake = {str(policy.brake).lower()}",
    ]
    for one in policy.classes:
        least = f'rate = "{one.rate_kbit}kbit"' if one.rate_kbit else f"share = {one.share:.4g}"
        lines += ["", f"[class.{one.name}]", f'dscp = "{dscp_name(one.dscp)}"', least, f"ceiling = {one.ceiling:.4g}"]
    for rule in (*policy.rules, *policy.built_in):
        lines += ["", "[[rule]]" if rule.line else "[[rule]]  # built in", *_rule_lines(rule)]
    return "\n".join([*lines, ""])


def _rule_lines(rule: Rule) -> Iterator[str]:
    if rule.title:
        yield f"title = {_quoted(rule.title)}"
    for key, values in (
        ("service", rule.services),
        ("product", rule.products),
        ("name", rule.names),
        ("is", rule.classes),
        ("network", rule.networks),
        ("client", rule.clients),
        ("server", rule.servers),
        ("except", rule.exempt),
    ):
        if values:
            yield f"{key} = {_list(values)}"
    if rule.confidence is not None:
        yield f'confidence = "{rule.confidence}"'
    if rule.leave or rule.target is not None:
        yield f'class = "{LEAVE if rule.leave else rule.target}"'
    if rule.dscp is not None:
        yield f'dscp = "{dscp_name(rule.dscp)}"' if dscp_name(rule.dscp) in DSCP else f"dscp = {rule.dscp}"


def _list(values: Iterable[object]) -> str:
    return f"[{', '.join(_quoted(str(value)) for value in values)}]"


def _quoted(text: str) -> str:
    return '"' + text.replace("\\", "\\\\").replace('"', '\\"') + '"'
