"""The brake on a line made of numbers: what waits on its far side grows by what is sent over its rate."""

from itertools import pairwise

import pytest

from flowsonar.shaping.brake import FREE, HELD, Brake

LINE = 20_000
QUEUE = 18_400
TICK_S = 0.005


class World:
    """A line, and time."""

    def __init__(self, kbit: int = QUEUE) -> None:
        self.brake = Brake(kbit)
        self.now_s = 1000.0
        self.octets = 0.0
        self.beyond = 0.0

    def send(self, kbit: float, seconds: float, *, obeying: float = 1.0) -> list[tuple[float, float]]:
        """Senders offer so much, times the brake's factor where they obey; every change with its time."""
        changes = []
        begin_s = self.now_s
        while self.now_s < begin_s + seconds:
            offered = kbit * (self.brake.factor if obeying else 1.0) * 125 * TICK_S + self.beyond
            brought = min(offered, LINE * 125 * TICK_S)
            self.beyond = offered - brought
            self.now_s += TICK_S
            self.octets += brought
            if self.brake.step(self.now_s, int(self.octets)):
                changes.append((self.now_s - begin_s, self.brake.factor))
        return changes


def test_a_full_line_is_braked_soon_and_for_a_moment() -> None:
    world = World()
    changes = world.send(24_000, 2.0)
    assert changes[0] == (pytest.approx(0.065, abs=0.011), HELD)
    assert [factor for _, factor in changes[:4]] == [HELD, FREE, HELD, FREE]
    assert changes[1][0] - changes[0][0] == pytest.approx(0.01, abs=0.006)


def test_what_came_at_once_and_waits_beyond_the_line_waits_there_no_longer() -> None:
    braked, free = World(), World()
    for world in (braked, free):
        world.send(QUEUE, 0.2)
        world.beyond = 0.02 * LINE * 125
    braked.send(QUEUE, 0.16)
    for _ in range(32):
        free.beyond = max(0.0, free.beyond - (LINE - QUEUE) * 125 * TICK_S)
    assert braked.beyond < free.beyond / 2


@pytest.mark.parametrize("kbit", [0, 9_000, QUEUE, 19_000])
def test_a_line_with_room_is_left_alone(kbit: int) -> None:
    assert World().send(kbit, 3.0) == []


def test_the_line_is_learned_and_forgotten_slowly() -> None:
    world = World()
    world.send(30_000, 0.5)
    assert world.brake.line_kbit == pytest.approx(LINE, rel=0.02)
    world.send(1_000, 60.0)
    assert QUEUE <= world.brake.line_kbit < 0.95 * LINE


def test_a_line_that_is_much_faster_than_its_queue_is_not_braked_below_its_own_rate() -> None:
    world = World(kbit=LINE // 4)
    world.send(LINE, 0.2)
    world.beyond = 0.0
    world.send(1_000, 4.0)
    assert world.send(LINE * 0.6, 2.0) == []


def test_what_does_not_obey_is_held_twice_as_long_each_time_and_then_let_go_for_a_while() -> None:
    world = World()
    changes = world.send(40_000, 9.0, obeying=0.0)
    held = [after[0] - before[0] for before, after in pairwise(changes) if before[1] == HELD]
    assert held == [pytest.approx(0.01 * 2**times, abs=0.006) for times in range(6)]
    assert world.send(40_000, 3.0, obeying=0.0)[0][1] == HELD


def test_where_gaps_were_the_next_moment_is_a_short_one() -> None:
    world = World()
    world.send(40_000, 0.5, obeying=0.0)
    world.beyond = 0.0
    world.send(10_000, 0.5)
    changes = world.send(40_000, 0.2, obeying=0.0)
    assert changes[1][0] - changes[0][0] == pytest.approx(0.01, abs=0.006)


def test_a_slow_line_is_looked_at_for_longer() -> None:
    """A few packets in a row are usual: there they take a tenth of a second."""
    brake, octets, now_s = Brake(1_840), 0, 1000.0
    for _ in range(40):
        now_s += TICK_S
        octets += 2_000 * 125 // 200
        assert not brake.step(now_s, octets)


def test_a_counter_that_begins_again_and_a_clock_that_stands_are_no_traffic() -> None:
    world = World()
    world.send(18_000, 0.5)
    assert not world.brake.step(world.now_s, 10**12)
    assert not world.brake.step(world.now_s + 1, 5)
    assert not world.brake.step(world.now_s + 2, 6)
    assert world.brake.factor == FREE


def test_a_quiet_line_need_not_be_looked_at_so_often() -> None:
    world = World()
    world.send(1_000, 0.3)
    assert world.brake.calm
    world.send(18_000, 0.3)
    assert not world.brake.calm
