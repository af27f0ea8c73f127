"""Lines of text as targets: expressions and flow records, told apart line by line; bad lines are named, never fatal."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from typing import Final

from flowsonar.errors import ConfigError, MalformedError
from flowsonar.probes.flowlines import FlowLine, FlowLines, NotARecord
from flowsonar.probes.targets import Expression, Target, parse_target

__all__ = ["NAMED", "TargetLines"]

NAMED: Final = 10
"""Bad lines that are named one by one; further ones are counted."""


class TargetLines:
    """Reads the lines of one input, whose `name` stands in what is told of bad ones.

    `records` counts flow records, `nobody` those of them that name nobody to ask (ICMP, SCTP, packets without
    direction), `bad` the lines that are neither target nor record.
    """

    def __init__(self, name: str, tell: Callable[[str], None], *, flows_only: bool = False) -> None:
        self._name = name
        self._tell = tell
        self._flows_only = flows_only
        self._flows = FlowLines()
        self.lines = 0
        self.records = 0
        self.nobody = 0
        self.bad = 0

    def items(self, lines: Iterable[str]) -> Iterator[Expression | FlowLine]:
        """What the lines say: target expressions and flow records."""
        for line in lines:
            item = self.item(line)
            if item is not None:
                yield item

    def item(self, line: str) -> Expression | FlowLine | None:
        """What one line says."""
        self.lines += 1
        text = line.rstrip("\r\n")
        if self.lines == 1:
            text = text.removeprefix("\ufeff")
        try:
            found = self._flows.parse(text)
        except NotARecord:
            return self._expression(text)
        except MalformedError as error:
            self._bad(str(error))
            return None
        if found is not None:
            self.records += 1
            self.nobody += found.target is None
        return found

    def targets(self, lines: Iterable[str]) -> Iterator[Target]:
        """Whom to ask."""
        for item in self.items(lines):
            yield from targets_of(item)

    def too_long(self) -> None:
        """A line was too long to be one."""
        self.lines += 1
        self._bad("too long for a target or a flow record")

    def problem(self) -> str | None:
        """What is to be told at the end of bad lines that were not named."""
        more = self.bad - NAMED
        return f"{self._name}: {more} more lines are neither target nor flow record" if more > 0 else None

    def _expression(self, text: str) -> Expression | None:
        text = text.partition("#")[0].strip()
        if not text:
            return None
        if self._flows_only:
            self._bad("not a flow record of Zeek, Suricata or nfdump")
            return None
        try:
            return parse_target(text)
        except ConfigError as error:
            self._bad(str(error))
            return None

    def _bad(self, why: str) -> None:
        self.bad += 1
        if self.bad <= NAMED:
            self._tell(f"{self._name}:{self.lines}: {why}")


def targets_of(item: Expression | FlowLine) -> Iterable[Target]:
    """Whom an item names."""
    if isinstance(item, Expression):
        return item
    return () if item.target is None else (item.target,)
