"""What goes wrong, with stand-ins for the kernel."""

import socket
from dataclasses import replace
from typing import Any, cast

import pytest

from flowsonar.app import shapequeues
from flowsonar.app import shaping as module
from flowsonar.app.shapeplan import plan_shaping
from flowsonar.app.shaping import Shaping
from flowsonar.errors import ShapingError
from flowsonar.model import Confidence, FlowKey, TrafficClass, Transport, Verdict
from flowsonar.shaping import tracking
from flowsonar.shaping.kernel import Kernel
from flowsonar.shaping.nftmessages import Operation
from flowsonar.shaping.policy import Policy
from flowsonar.shaping.queues import Line


class Table:
    """Stands in for the firewall."""

    def __init__(self) -> None:
        self.there = False
        self.others = False
        self.refuses = False

    def install(self, _: object) -> bool:
        if self.refuses:
            raise ShapingError("refused")
        self.there = True
        return False

    def remove(self) -> bool:
        self.there = False
        return True

    def others_track(self) -> bool:
        return self.others


class Elements:
    """Stands in for the socket."""

    def __init__(self, table: Table) -> None:
        self.table = table

    def apply(self, operations: list[Operation]) -> int:
        if not self.table.there:
            raise ShapingError("the table is gone")
        return 0

    def close(self) -> None:
        pass


class Queues:
    """Stands in for the applier."""

    def __init__(self) -> None:
        self.applied = 0
        self.undone = 0

    def apply(self, _: object) -> None:
        self.applied += 1

    def undo(self) -> None:
        self.undone += 1


class Brakes:
    """Stands in for the brake of a queue, or its windows."""

    def __init__(self) -> None:
        self.holding: list[str] = []

    def __call__(self, place: Any, *_: Any) -> Any:
        self.place = place
        return self

    def start(self) -> None:
        self.holding.append(self.place.device)

    def stop(self) -> None:
        self.holding.clear()


class Stage:
    def __init__(self, monkeypatch: pytest.MonkeyPatch, *, queues: bool = False) -> None:
        self.table, self.queues = Table(), Queues()
        self.brakes = Brakes()
        self.windows = Brakes()
        monkeypatch.setattr(shapequeues, "Braking", self.brakes)
        monkeypatch.setattr(shapequeues, "Windowing", self.windows)
        self.full: float | None = None
        self.indexes: dict[str, int | None] = {"wan": 3, "lan": 4}
        self.now_s = 100.0
        monkeypatch.setattr(module, "Firewall", lambda: self.table)
        monkeypatch.setattr(module, "ElementSocket", lambda: Elements(self.table))
        monkeypatch.setattr(shapequeues, "Applier", lambda: self.queues)
        monkeypatch.setattr(tracking, "used", lambda: self.full)
        self.counting: list[str] = []
        monkeypatch.setattr(tracking, "remember", lambda: self.counting.append("remembered"))
        monkeypatch.setattr(tracking, "restore", lambda: self.counting.append("restored"))
        monkeypatch.setattr(shapequeues, "_index", self.indexes.get)
        monkeypatch.setattr(module, "alone", socket.socket)
        monkeypatch.setattr(module, "clear_marks", int)
        kernel = Kernel(qdiscs=frozenset({"htb", "pfifo"})) if queues else None
        lines = [Line(wan="wan", up_kbit=5000, down_kbit=9000, lan=("lan",))] if queues else []
        self.shaping = Shaping(plan_shaping(Policy(), lines, kernel=kernel))
        self.shaping._clock = lambda: self.now_s
        self.shaping.open(None, cast("Any", None))
        self.shaping.attach(cast("Any", self))

    def flow(self, _: int) -> Any:
        class Followed:
            hops = ()
            first_ns = 0

        return Followed()

    def labelled(self) -> list[Any]:
        return []

    def later(self, seconds: float = 2.0) -> list[str]:
        """Time goes by; what was told."""
        self.now_s += seconds
        self.shaping.turn([], 0)
        told, self.shaping.problems = self.shaping.problems, []
        return told

    def mark(self, number: int) -> None:
        key = FlowKey(Transport.UDP, "10.0.0.1", number, "10.0.0.2", 5004)
        verdict = Verdict(service="rtp", traffic_class=TrafficClass.REALTIME, confidence=Confidence.LIKELY)
        self.shaping.decided(number, key, verdict)


def test_a_full_table_of_connections_takes_our_rules_away_until_there_is_room(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    stage = Stage(monkeypatch)
    stage.full = 0.99
    assert "nothing is marked until there is room" in stage.later()[0]
    assert not stage.table.there
    stage.mark(1)
    assert stage.later() == []
    stage.full = 0.9
    assert stage.later() == []
    assert not stage.table.there
    stage.full = 0.5
    stage.later()
    assert stage.table.there
    stage.shaping.close()


def test_where_others_track_connections_too_our_rules_stay(monkeypatch: pytest.MonkeyPatch) -> None:
    stage = Stage(monkeypatch)
    stage.table.others, stage.full = True, 0.99
    assert "new connections may be dropped" in stage.later()[0]
    assert stage.table.there
    told = "connection tracking is nearly full: new connections may be dropped"
    assert stage.later() == [f"{told}; raise net.netfilter.nf_conntrack_max (sysctl)"]
    stage.shaping.close()


def test_a_table_that_cannot_be_put_back_is_tried_again(monkeypatch: pytest.MonkeyPatch) -> None:
    stage = Stage(monkeypatch)
    stage.table.there, stage.table.refuses = False, True
    stage.mark(1)
    (told,) = stage.later(0.1)
    assert "traffic goes on unmarked" in told
    stage.table.refuses = False
    assert stage.later(5) == []
    assert "it was put back" in stage.later(6)[0]
    assert stage.shaping.flows() == {"realtime": 1}
    assert stage.shaping.by_rule() == {"class realtime": 1}
    stage.shaping.close()
    assert not stage.table.there


def test_an_interface_that_goes_and_comes_back_gets_its_queue_again(monkeypatch: pytest.MonkeyPatch) -> None:
    stage = Stage(monkeypatch, queues=True)
    assert stage.queues.applied == 1
    stage.indexes["wan"] = None
    assert "interface wan has gone" in stage.later()[0]
    assert stage.later() == []
    stage.indexes["wan"] = 9
    assert "set up again" in stage.later()[0]
    assert stage.queues.applied == 2
    stage.shaping.close()
    assert stage.queues.undone == 1


def test_verdicts_go_to_the_kernel_at_once_until_there_are_many(monkeypatch: pytest.MonkeyPatch) -> None:
    stage = Stage(monkeypatch)
    flushed: list[int] = []
    marker = stage.shaping._marker
    assert marker is not None
    monkeypatch.setattr(marker, "flush", flushed.append)
    for number in range(1, 101):
        stage.mark(number)
    assert len(flushed) == 32
    stage.later(0.02)
    assert len(flushed) == 33
    stage.mark(101)
    assert len(flushed) == 34
    stage.shaping.close()


def test_a_clock_that_jumps_changes_no_mark(monkeypatch: pytest.MonkeyPatch) -> None:
    stage = Stage(monkeypatch)
    for number, wall_s in enumerate((1_800_000_000, 1_900_000_000, 5, 1_800_000_000), 1):
        wall_ns = wall_s * 1_000_000_000
        monkeypatch.setattr(module.time, "time_ns", lambda wall_ns=wall_ns: wall_ns)
        stage.mark(number)
        stage.shaping.turn([], wall_ns)
        assert stage.shaping.flows() == {"realtime": number}
    assert all(record.waited_ms < 1000 for record in stage.shaping.records)
    stage.shaping.close()


def test_what_fails_at_the_start_leaves_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    class Refusing(Queues):
        def apply(self, _: object) -> None:
            raise ShapingError("no such interface")

    table = Table()
    monkeypatch.setattr(module, "Firewall", lambda: table)
    monkeypatch.setattr(module, "ElementSocket", lambda: Elements(table))
    monkeypatch.setattr(shapequeues, "Applier", Refusing)
    monkeypatch.setattr(module, "alone", socket.socket)
    kernel = Kernel(qdiscs=frozenset({"htb", "pfifo"}))
    made = Shaping(plan_shaping(Policy(), [Line(wan="wan", up_kbit=5000)], kernel=kernel))
    with pytest.raises(ShapingError, match="no such interface"):
        made.open(None, cast("Any", None))
    assert not table.there


def test_downloads_have_a_brake_and_windows_as_long_as_their_queue(monkeypatch: pytest.MonkeyPatch) -> None:
    stage = Stage(monkeypatch, queues=True)
    assert (stage.brakes.holding, stage.windows.holding) == (["lan"], ["lan"])
    stage.shaping.close()
    assert (stage.brakes.holding, stage.windows.holding) == ([], [])
    marking = Stage(monkeypatch)
    assert marking.brakes.holding == []
    marking.shaping.close()


def test_the_counting_of_connections_is_set_as_it_was(monkeypatch: pytest.MonkeyPatch) -> None:
    stage = Stage(monkeypatch)
    assert stage.counting == ["remembered"]
    stage.shaping.close()
    assert stage.counting == ["remembered", "restored"]


def test_another_policy_switches_brake_and_windows_and_leaves_the_queues(monkeypatch: pytest.MonkeyPatch) -> None:
    stage = Stage(monkeypatch, queues=True)
    planned = stage.shaping.planned
    for policy in (Policy(windows=False), Policy(brake=False)):
        stage.shaping.renew(lambda policy=policy: replace(planned, policy=policy))  # type: ignore[misc]
        stage.later()
        assert stage.brakes.holding == ["lan"] * policy.brake
        assert stage.windows.holding == ["lan"] * policy.windows
    assert stage.queues.applied == 1
    stage.shaping.close()
