"""Rules that are made when somebody asks for them: of a thousand a capture's payloads need some dozens."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import overload

from flowsonar.signatures.rules import Pattern, Rule

__all__ = ["Rules", "WaitingRule"]


class WaitingRule:
    """What a rule is made of, and the rule once it was asked for: lists that share this share the rule."""

    __slots__ = ("_order", "_ports", "_rule", "_specificity", "pattern")

    def __init__(self, pattern: Pattern, order: int, specificity: int | None = None, ports: Iterable[int] = ()) -> None:
        self.pattern = pattern
        self._order = order
        self._specificity = specificity
        self._ports = ports
        self._rule: Rule | None = None

    @property
    def rule(self) -> Rule:
        """Made now, where nobody asked before."""
        if self._rule is None:
            self._rule = Rule(self.pattern, self._order, self._specificity, self._ports)
        return self._rule


class Rules(Sequence[Rule]):
    """A list of rules, each made when it is looked at."""

    __slots__ = ("_waiting",)

    def __init__(self, waiting: Iterable[WaitingRule]) -> None:
        self._waiting = list(waiting)

    def __len__(self) -> int:
        return len(self._waiting)

    def __iter__(self) -> Iterator[Rule]:
        for one in self._waiting:
            yield one.rule

    @overload
    def __getitem__(self, index: int) -> Rule: ...
    @overload
    def __getitem__(self, index: slice) -> Rules: ...

    def __getitem__(self, index: int | slice) -> Rule | Rules:
        return Rules(self._waiting[index]) if isinstance(index, slice) else self._waiting[index].rule

    def picked(self, numbers: Iterable[int]) -> Rules:
        """Those with these places, in this order."""
        return Rules([self._waiting[number] for number in numbers])
