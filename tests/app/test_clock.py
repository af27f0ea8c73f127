import pytest

from flowsonar.app.clock import JUMP_NS, Clock

HOUR_NS = 3600 * 1_000_000_000


class Hands:
    """What two clocks show."""

    def __init__(self) -> None:
        self.wall_ns = 1_700_000_000 * 1_000_000_000
        self.steady_ns = 5

    def pass_by(self, ns: int) -> None:
        self.wall_ns += ns
        self.steady_ns += ns

    def clock(self) -> Clock:
        return Clock(lambda: self.wall_ns, lambda: self.steady_ns)


@pytest.mark.parametrize("jump_ns", [HOUR_NS, -HOUR_NS, JUMP_NS, -JUMP_NS])
def test_a_jump_is_told_once(jump_ns: int) -> None:
    hands = Hands()
    clock = hands.clock()
    hands.pass_by(HOUR_NS)
    assert clock.jumped_ns() == 0
    hands.wall_ns += jump_ns
    hands.pass_by(1)
    assert clock.jumped_ns() == jump_ns
    assert clock.jumped_ns() == 0
    assert (clock.now_ns(), clock.steady_ns()) == (hands.wall_ns, hands.steady_ns)


def test_a_clock_that_is_corrected_a_little_at_a_time_does_not_jump() -> None:
    hands = Hands()
    clock = hands.clock()
    for _ in range(10):
        hands.pass_by(HOUR_NS)
        hands.wall_ns += JUMP_NS - 1
        assert clock.jumped_ns() == 0
