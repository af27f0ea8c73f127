"""Plans as text, and taking all away."""

import socket
from collections.abc import Iterator
from typing import Any, cast

import pytest

from flowsonar.app import shapeplan as module
from flowsonar.app.shapeplan import alone, clear, plan_shaping
from flowsonar.app.shaping import Shaping
from flowsonar.errors import ShapingError
from flowsonar.model import TrafficClass
from flowsonar.shaping.kernel import Kernel
from flowsonar.shaping.policy import Policy
from flowsonar.shaping.queues import Line
from tests.needs import needs_program, needs_root
from tests.shaping.world import World, world


@pytest.fixture
def lab() -> Iterator[World]:
    with world() as made:
        yield made


@needs_root()
@needs_program("nft")
def test_only_one_at_a_time_and_foreign_tables_stay(lab: World) -> None:
    held = lab.within(lab.gateway, alone)
    assert held is not None
    with held:
        assert lab.within(lab.gateway, alone) is None
        with pytest.raises(ShapingError, match="going on"):
            lab.within(lab.gateway, clear)
        with pytest.raises(ShapingError, match="going on"):
            lab.within(lab.gateway, lambda: opened(lab))
    lab.nft("-f", "-", given="table inet flowsonar {\nchain mine { }\n}\n")
    before = lab.nft("list", "ruleset")
    for call in (clear, lambda: opened(lab)):
        with pytest.raises(ShapingError, match="did not make"):
            lab.within(lab.gateway, call)
    assert lab.nft("list", "ruleset") == before


def opened(_: World) -> Shaping:
    made = Shaping(plan_shaping(Policy(), [], kernel=None))
    made.open(None, cast("Any", None))
    return made


def test_a_plan_is_text() -> None:
    text = plan_shaping(Policy(unknown=TrafficClass.BULK), [], kernel=None).text()
    assert "table inet flowsonar {" in text
    assert "ct mark & 0x01000000 == 0 jump serve_bulk_le" in text
    assert "marks only" in text


def test_windows_are_lowered_where_our_queue_is_and_the_policy_says_so() -> None:
    kernel = Kernel(qdiscs=frozenset({"htb", "pfifo"}))
    lines = [Line(wan="wan", up_kbit=5000, down_kbit=9000, lan=("lan",))]
    assert "tcp window set" in plan_shaping(Policy(), lines, kernel=kernel).text()
    for policy, here in ((Policy(windows=False), kernel), (Policy(), None)):
        assert "tcp window set" not in plan_shaping(policy, lines, kernel=here).text()


def test_clear_takes_the_queues_away_though_the_table_is_somebody_elses(monkeypatch: pytest.MonkeyPatch) -> None:
    cleared: list[str] = []

    class Foreign:
        def remove(self) -> bool:
            raise ShapingError("there is a table that flowsonar did not make")

    class Queued:
        @staticmethod
        def clear() -> None:
            cleared.append("queues")

    monkeypatch.setattr(module, "Firewall", Foreign)
    monkeypatch.setattr(module, "Applier", Queued)
    monkeypatch.setattr(module, "alone", socket.socket)
    monkeypatch.setattr(module, "clear_peers", lambda: False)
    monkeypatch.setattr(module, "clear_marks", lambda: cleared.append("marks"))
    with pytest.raises(ShapingError, match="did not make"):
        module.clear()
    assert cleared == ["queues"]
