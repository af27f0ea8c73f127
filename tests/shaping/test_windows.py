"""Windows on a line made of numbers: senders have under way what they may, and what the line does not hold waits."""

import pytest

from flowsonar.model import TrafficClass
from flowsonar.shaping.windows import LEAST, Served, Windows

QUEUE = 18_400
RATE = QUEUE * 125
TICK_S = 0.01
DEFAULT, BULK = TrafficClass.DEFAULT, TrafficClass.BULK


class World:
    """Downloads of each class, the gateway's queue that serves default first, and time."""

    def __init__(self, round_trip_s: float = 0.02) -> None:
        self.windows = Windows(QUEUE)
        self.now_s = 1000.0
        self.round_trip_s = round_trip_s
        self.octets = 0.0
        self.sent = {DEFAULT: 1.0, BULK: 1.0}
        self.waiting = {DEFAULT: 0.0, BULK: 0.0}

    def run(self, seconds: float, **connections: int) -> None:
        """So many connections of each class that take all they may."""
        begin_s = self.now_s
        while self.now_s < begin_s + seconds:
            self.now_s += TICK_S
            room, least = RATE, 0.1 * RATE
            for name in (DEFAULT, BULK):
                count = connections.get(str(name), 0)
                window = self.windows.of(name)
                most = count * (10**9 if window is None else window)
                others = least if name is DEFAULT and connections.get("bulk") else 0.0
                speed = min(most / self.round_trip_s, room - others)
                self.waiting[name] = max(0.0, most - speed * self.round_trip_s) if count else 0.0
                self.sent[name] += speed * TICK_S
                room -= speed
                self.octets += speed * TICK_S
            served = {name: Served(int(self.sent[name]), int(self.waiting[name])) for name in self.sent}
            self.windows.step(self.now_s, int(self.octets), served)

    def window(self, name: TrafficClass) -> int:
        window = self.windows.of(name)
        assert window is not None
        return window


@pytest.mark.parametrize("count", [1, 5, 15])
def test_a_class_has_under_way_what_the_line_holds_and_a_little_more(count: int) -> None:
    world = World()
    world.run(10.0, bulk=count)
    held = RATE * world.round_trip_s
    assert held + 0.015 * RATE < count * world.window(BULK) < held + 0.05 * RATE


def test_a_long_way_gets_wide_windows() -> None:
    near, far = World(0.02), World(0.2)
    for world in (near, far):
        world.run(15.0, default=1)
    assert far.window(DEFAULT) > 5 * near.window(DEFAULT)
    assert far.sent[DEFAULT] > 0.8 * RATE * 15


def test_the_class_that_is_served_first_keeps_what_it_needs_and_bulk_yields() -> None:
    world = World()
    world.run(5.0, default=1, bulk=20)
    assert world.window(BULK) < 2 * LEAST
    assert world.window(DEFAULT) > 0.8 * RATE * world.round_trip_s


def test_windows_are_never_below_two_segments() -> None:
    world = World()
    world.run(5.0, bulk=200)
    assert world.window(BULK) == LEAST
    assert world.windows.young(BULK) == LEAST


def test_who_begins_on_a_busy_line_begins_small_and_otherwise_as_ever() -> None:
    world = World()
    assert world.windows.young(None) == 10 * 1460
    assert world.windows.young(DEFAULT) == world.windows.unknown == world.windows.of(DEFAULT)
    world.run(1.0, default=1)
    assert (world.windows.young(None), world.windows.young(BULK)) == (LEAST, LEAST)
    assert world.windows.young(DEFAULT) == 4 * 1460
    assert world.windows.unknown == 10 * 1460
    world.run(2.0)
    assert world.windows.young(None) == 10 * 1460


def test_a_line_that_was_idle_begins_anew() -> None:
    world = World(0.2)
    before = world.window(DEFAULT)
    world.run(10.0, default=1)
    assert world.window(DEFAULT) > 2 * before
    world.run(20.0)
    assert world.window(DEFAULT) == before


def test_a_step_after_a_long_time_is_no_long_step() -> None:
    world = World(0.2)
    world.run(1.0, default=1)
    before = world.window(DEFAULT)
    world.now_s += 3.0
    world.run(TICK_S, default=1)
    assert world.window(DEFAULT) < 1.1 * before


def test_a_counter_that_begins_again_and_a_clock_that_stands_change_little() -> None:
    world = World()
    world.run(1.0, default=1)
    before = world.window(DEFAULT)
    world.windows.step(world.now_s, 5, {})
    world.windows.step(world.now_s, 5, {DEFAULT: Served(1, 0)})
    world.windows.step(world.now_s + 1, 3, {DEFAULT: Served(0, 0)})
    assert world.window(DEFAULT) == before
