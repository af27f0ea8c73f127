"""The queues of a `flowsonar shape` run with what helps them, and the interfaces that they are on."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Final

from flowsonar.app.shapeplan import ShapePlan
from flowsonar.errors import ShapingError
from flowsonar.shaping.applier import Applier
from flowsonar.shaping.braking import Braking, braked
from flowsonar.shaping.windowing import Windowing

__all__ = ["Queues"]

_INTERFACES: Final = Path("/sys/class/net")


class Queues:
    """Set up for one plan after the other, and taken away at the end."""

    def __init__(self) -> None:
        self.there = False
        """Queues of ours are set up."""
        self._applier = Applier()
        self._helpers: list[Braking | Windowing] = []
        # interface: its number, None while it is gone
        self._indexes: dict[str, int | None] = {}

    def set_up(self, planned: ShapePlan) -> None:
        """The plan's queues, in place of those that are there. Raises ShapingError."""
        self._release()
        if planned.queues is None:
            self._applier.undo()
            return
        self._applier.apply(planned.queues)
        self.there = True
        self._indexes = {name: _index(name) for name in (*planned.rules.outside, *planned.rules.inside)}
        self._help(planned)

    def change(self, planned: ShapePlan, before: ShapePlan) -> None:
        """From one plan to the next; queues that stay as they are lose no packet. Raises ShapingError."""
        if planned.queues is None:
            return
        if planned.queues != before.queues:
            self.set_up(planned)
        elif _helped(planned) != _helped(before):
            self._release()
            self._help(planned)

    def look(self, planned: ShapePlan) -> Iterator[str]:
        """What is to be told: an interface that has gone has taken its queue along, and gets it again when it comes."""
        came = False
        for name, before in self._indexes.items():
            now = self._indexes[name] = _index(name)
            if now is None and before is not None:
                yield f"interface {name} has gone, its queue with it: set up again when it comes back"
            came = came or (now is not None and now != before)
        if came and None not in self._indexes.values():
            try:
                self.set_up(planned)
                yield "the queues were set up again: an interface has come back"
            except ShapingError as error:
                yield str(error)

    def close(self) -> None:
        """Take all away. Raises ShapingError."""
        self._release()
        if self.there:
            self.there = False
            self._applier.undo()

    def _help(self, planned: ShapePlan) -> None:
        """A brake and windows for each queue that takes downloads."""
        assert planned.queues is not None
        policy = planned.policy
        for place in braked(planned.queues.places):
            if policy.brake:
                self._helpers.append(Braking(place))
            if policy.windows:
                self._helpers.append(Windowing(place, policy.classes))
        for helper in self._helpers:
            helper.start()

    def _release(self) -> None:
        for helper in self._helpers:
            helper.stop()
        self._helpers.clear()


def _helped(planned: ShapePlan) -> tuple[bool, bool]:
    return planned.policy.brake, planned.policy.windows


def _index(name: str) -> int | None:
    try:
        return int((_INTERFACES / name / "ifindex").read_text())
    except (OSError, ValueError):
        return None
