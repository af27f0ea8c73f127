"""Rules that hold for a payload, found by a flow table's own automata: no database has to be loaded for those.

A capture's table has all patterns compiled already (`programs`). Where its tests are necessary, not enough, the rule's
own condition decides; where it gives up, the databases do.
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Mapping
from functools import cached_property
from typing import Any, Final

from flowsonar.model import Transport
from flowsonar.signatures.conditions import Bytes
from flowsonar.signatures.rulelist import Rules
from flowsonar.signatures.rules import Rule

__all__ = ["Holding", "TableFinder"]

Holding = Callable[[bool, bytes, int, int, bool], list[int] | None]
"""A table's: whether over UDP, the payload, the flow's ports, whether products are looked for (`LaneTable.holding`)."""

_NUMBER: Final = struct.Struct("<20xI")
"""Of a rule of the table: its place among those that it was made of (`programs`)."""
_RULES: Final = 6
"""Where a transport's rules stand among what the table is given."""


class TableFinder:
    """One table's word about payloads."""

    def __init__(self, holding: Holding, tables: tuple[Any, ...], rules: Mapping[Transport, Rules]) -> None:
        """`tables` are what the table was made with, `rules` those that they were made of."""
        self._holding = holding
        self._tables = tables
        self._rules = rules

    @cached_property
    def _tcp(self) -> Rules:
        return self._order(Transport.TCP, 0)

    @cached_property
    def _udp(self) -> Rules:
        return self._order(Transport.UDP, 1)

    def _order(self, transport: Transport, half: int) -> Rules:
        return self._rules[transport].picked(number for (number,) in _NUMBER.iter_unpack(self._tables[half][_RULES]))

    def __call__(
        self, transport: Transport, data: bytes, ports: tuple[int, ...], *, names: bool
    ) -> tuple[Rule, ...] | None:
        """The rules that hold, products (`names`) beside a pattern of their service; None: the table cannot tell."""
        udp = transport is Transport.UDP
        found = self._holding(udp, data, *ports, names) if len(ports) == 2 else None
        if not found:
            return None if found is None else ()
        order = self._udp if udp else self._tcp
        if min(found) >= 0:
            return tuple([order[number] for number in found])
        return tuple(
            [
                order[number] if number >= 0 else order[-1 - number]
                for number in found
                if number >= 0 or _holds(order[-1 - number], data)
            ]
        )


def _holds(rule: Rule, data: bytes) -> bool:
    compiled = rule.compiled
    return compiled.rest(Bytes(data)) and not compiled.excepted(data) and compiled.groups(data) is not None
