from concurrent.futures import wait
from types import SimpleNamespace
from typing import Any, cast

import pytest

from flowsonar.app.classrows import ClassRows
from flowsonar.app.shapeplan import ShapePlan
from flowsonar.errors import ShapingError


class Table:
    def __init__(self) -> None:
        self.size = 1000
        self.gone = False

    def counters(self) -> dict[str, tuple[int, int]]:
        if self.gone:
            raise ShapingError("gone")
        self.size += 1000
        return {"realtime": (self.size // 100, self.size)}


class Queues:
    def read(self) -> list[Any]:
        return [
            SimpleNamespace(name="bulk", direction="up", packets=3, bytes=4500, drops=1, backlog_bytes=0, delay_ms=2.0)
        ]


@pytest.fixture
def table(monkeypatch: pytest.MonkeyPatch) -> Table:
    made = Table()
    monkeypatch.setattr("flowsonar.app.classrows.Firewall", lambda: made)
    monkeypatch.setattr("flowsonar.app.classrows.QueueCounters", lambda *_: Queues())
    return made


def test_rows_are_read_beside_the_run_and_rates_come_of_two_readings(table: Table) -> None:
    now_s = 0.0
    plan = SimpleNamespace(queues=SimpleNamespace(places=()), policy=SimpleNamespace(classes=()))
    rows = ClassRows(cast("ShapePlan", plan), clock=lambda: now_s)
    assert rows.rows({}) == []
    assert rows._reading is not None
    wait([rows._reading])
    first = rows.rows({"realtime": 2})
    assert [(row.name, row.direction, row.flows, row.rate_kbit) for row in first] == [
        ("realtime", "", 2, 0.0),
        ("bulk", "up", None, 0.0),
    ]
    assert rows._reading is None  # not again within the second
    now_s = 8.0
    assert rows.last({"realtime": 1})[0].rate_kbit == 1.0
    table.gone = True
    assert [row.name for row in rows.last({})] == ["bulk"]
    rows.close()
