"""Queues that are changed, lost and set up again, with stand-ins for the kernel."""

from dataclasses import replace

import pytest

from flowsonar.app import shapequeues as module
from flowsonar.app.shapeplan import ShapePlan, plan_shaping
from flowsonar.app.shapequeues import Queues
from flowsonar.errors import ShapingError
from flowsonar.shaping.kernel import Kernel
from flowsonar.shaping.policy import Policy
from flowsonar.shaping.queues import Line


class Applied:
    def __init__(self) -> None:
        self.done: list[str] = []
        self.refuses = False

    def apply(self, _: object) -> None:
        if self.refuses:
            raise ShapingError("refused")
        self.done.append("applied")

    def undo(self) -> None:
        self.done.append("undone")


class Helper:
    def __init__(self, *_: object) -> None:
        pass

    def start(self) -> None:
        pass

    def stop(self) -> None:
        pass


@pytest.fixture
def applied(monkeypatch: pytest.MonkeyPatch) -> Applied:
    made = Applied()
    monkeypatch.setattr(module, "Applier", lambda: made)
    monkeypatch.setattr(module, "Braking", Helper)
    monkeypatch.setattr(module, "Windowing", Helper)
    return made


def planned(kbit: int = 5000) -> ShapePlan:
    kernel = Kernel(qdiscs=frozenset({"htb", "pfifo"}))
    return plan_shaping(Policy(), [Line(wan="wan", up_kbit=kbit, down_kbit=9000, lan=("lan",))], kernel=kernel)


def test_what_an_earlier_run_has_left_goes_where_only_marks_are_wanted(applied: Applied) -> None:
    queues = Queues()
    queues.set_up(plan_shaping(Policy(), [], kernel=None))
    assert (applied.done, queues.there) == (["undone"], False)
    queues.close()
    assert applied.done == ["undone"]


def test_only_other_queues_are_set_up_anew(applied: Applied) -> None:
    queues, first = Queues(), planned()
    queues.set_up(first)
    queues.change(replace(first, policy=Policy(brake=False)), first)
    assert applied.done == ["applied"]
    queues.change(planned(4000), first)
    queues.close()
    assert applied.done == ["applied", "applied", "undone"]
    assert not queues.there


def test_an_interface_that_has_gone_is_told_of_once(applied: Applied, monkeypatch: pytest.MonkeyPatch) -> None:
    numbers: dict[str, int | None] = {"wan": 3, "lan": 4}
    monkeypatch.setattr(module, "_index", numbers.get)
    queues, plan = Queues(), planned()
    queues.set_up(plan)
    numbers["wan"] = None
    assert [text[:21] for text in queues.look(plan)] == ["interface wan has gon"]
    assert list(queues.look(plan)) == []
    numbers["wan"], applied.refuses = 9, True
    assert list(queues.look(plan)) == ["refused"]
