"""Conditions made ready to be tested: the part that is no regular expression, and the groups of the part that is."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Final, NamedTuple

from flowsonar import limits
from flowsonar.model import Layer, Transport
from flowsonar.signatures.engines import Regex, compile_regex, searcher
from flowsonar.signatures.language import Condition, FieldCheck, Rest
from flowsonar.signatures.randomness import looks_random

__all__ = ["GROUP_CHARACTERS", "SCAN_BYTES", "CompiledCondition", "Reply", "is_echo"]

SCAN_BYTES: Final = limits.REPLY_BYTES
"""Only this much of a payload or reply is looked at."""

GROUP_CHARACTERS: Final = 128
"""A product or version longer than this is no name; it is cut."""

_ECHO_BYTES: Final = 4
"""A part of our own bytes counts as an echo from this length on."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Reply:
    """What came back, with what it may be compared to."""

    probe: str
    """Probe id, or `listen` for what came before we spoke."""
    step: int
    data: bytes
    transport: Transport
    closed: bool = False
    """The endpoint ended the connection after it."""
    sent: Mapping[str, bytes]
    """Values of the fields we sent, and `prober.address` packed."""
    message: bytes = b""
    """What we sent."""
    previous: tuple[bytes, ...] = ()
    """Replies to the earlier steps."""
    earlier: frozenset[str] = frozenset()
    """Ids of patterns that matched this endpoint before."""
    over: Layer | None = None


class Bytes(NamedTuple):
    """What a condition is tested on: a reply, or a payload (then only `data` is set)."""

    data: bytes
    reply: Reply | None = None
    echo: bool = False


class CompiledCondition:
    """One condition; the regular expressions are compiled when first needed."""

    __slots__ = ("_condition", "_groups", "_search", "_unless", "alone", "plain", "wants_echo")

    def __init__(self, condition: Condition) -> None:
        self._condition = condition
        self._search: Callable[[bytes], Sequence[tuple[int, int]] | None] | None = None
        self._unless: Regex | None = None
        self._groups: tuple[tuple[str, int], ...] = ()
        self.plain = condition == Condition(pattern=condition.pattern, unless=condition.unless)
        """Nothing but regular expressions is asked."""
        self.wants_echo = condition.echo
        self.alone = self.plain or _is_alone(condition)
        """The bytes decide, whatever they answer."""

    @property
    def has_groups(self) -> bool:
        """Whether the regular expression names groups."""
        return "(?P<" in (self._condition.pattern or "")

    def groups(self, data: bytes) -> dict[str, str] | None:
        """The pattern's named groups as text; None when it does not match."""
        if self._condition.pattern is None:
            return {}
        if self._search is None:
            regex = compile_regex(self._condition.pattern)
            self._groups = tuple((_text(name), index) for name, index in regex.groupindex.items())
            self._search = searcher(regex)
        found = self._search(data)
        if found is None:
            return None
        groups = {}
        for name, index in self._groups:
            start, end = found[index]
            if start >= 0:
                groups[name] = data[start:end].decode("latin-1")
        return groups

    def excepted(self, data: bytes) -> bool:
        """Whether the regular expression matches that must not."""
        if self._condition.unless is None:
            return False
        if self._unless is None:
            self._unless = compile_regex(self._condition.unless)
        return self._unless.search(data) is not None

    def rest(self, given: Bytes) -> bool:
        """Everything but the regular expressions, cheapest first."""
        if self.plain:
            return True
        condition, data = self._condition, given.data
        if condition.length is not None and not condition.length[0] <= len(data) <= condition.length[1]:
            return False
        if given.reply is not None and not _about_reply(condition, given.reply, given.echo):
            return False
        if not all(_field(check, data, given.reply) for check in condition.fields):
            return False
        return not condition.random or looks_random(data)

    def captures(self, data: bytes) -> dict[str, str]:
        """Bytes that the condition keeps for later steps, as latin-1 text."""
        kept: dict[str, str] = {}
        for check in self._condition.fields:
            if check.capture:
                start = check.at if check.at >= 0 else len(data) + check.at
                kept[check.capture] = data[start : start + check.size].decode("latin-1")
        return kept


def _is_alone(condition: Condition) -> bool:
    about_reply = (condition.echo, condition.not_echo, condition.silence, condition.contains)
    if any(about_reply) or condition.closed is not None or condition.differs_from is not None:
        return False
    return all(check.echo is None for check in condition.fields)


def is_echo(data: bytes, message: bytes) -> bool:
    """Whether the reply is our own message, a part of it, or begins with the whole of it."""
    if not data or not message or data[0] != message[0]:
        return False
    if data == message:
        return True
    shorter = min(len(data), len(message))
    return shorter >= _ECHO_BYTES and data[:shorter] == message[:shorter]


def _about_reply(condition: Condition, reply: Reply, echo: bool) -> bool:
    if condition.echo and reply.data != reply.message:
        return False
    if condition.not_echo and echo:
        return False
    if condition.closed is not None and reply.closed is not condition.closed:
        return False
    if condition.silence and (reply.data or reply.closed):
        return False
    if condition.differs_from is not None:
        if condition.differs_from >= len(reply.previous):
            return False
        if reply.data[:4] == reply.previous[condition.differs_from][:4]:
            return False
    return all((value := reply.sent.get(name)) and value in reply.data for name in condition.contains)


def _field(check: FieldCheck, data: bytes, reply: Reply | None) -> bool:
    start = check.at if check.at >= 0 else len(data) + check.at
    if start < 0:
        return False
    if check.equals is not None:
        return data.startswith(check.equals, start)
    if check.echo is not None:
        value = reply.sent.get(check.echo) if reply is not None else None
        return bool(value) and data[start : start + len(value or b"")] == value
    if check.length_size:
        return _length_fits(check, data, start)
    end = start + check.size
    if end > len(data):
        return False
    if not check.any and check.between is None:
        return True  # capture only
    number = int.from_bytes(data[start:end], check.order.value)
    if check.mask is not None:
        number &= check.mask
    return number in check.any if check.any else check.between[0] <= number <= check.between[1]  # type: ignore[index]


def _length_fits(check: FieldCheck, data: bytes, start: int) -> bool:
    end = start + check.length_size
    if end > len(data):
        return False
    says = int.from_bytes(data[start:end], check.length_order.value)
    rest = len(data) - end + check.length_add
    if check.length_rest is Rest.EXACT:
        return says == rest
    return says >= rest if check.length_rest is Rest.CUT else says <= rest


def _text(name: str | bytes) -> str:
    return name.decode("ascii") if isinstance(name, bytes) else name
