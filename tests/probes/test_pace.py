import pytest

from flowsonar.probes.pace import BEAT_S, LATE_S, LEAST, START, Pace


def test_grows_while_all_is_on_time_and_all_places_are_taken():
    pace = Pace(512)
    assert pace.number == START
    pace.measured(0.0, BEAT_S, START - 1)
    assert pace.number == START
    for _ in range(100):
        pace.measured(0.0, BEAT_S, pace.number)
    assert pace.number == 512
    assert pace.slowed == 0


def test_shrinks_at_once_when_timers_are_late():
    pace = Pace(512)
    pace.measured(LATE_S * 2, LATE_S * 2 + BEAT_S, START)
    assert pace.number == int(START * 0.7)
    for _ in range(100):
        pace.measured(1.0, 1.0 + BEAT_S, pace.number)
    assert pace.number == LEAST
    assert pace.slowed == 101


def test_places_that_nobody_takes_do_not_hide_lateness():
    pace = Pace(512)
    for _ in range(100):
        pace.measured(0.0, BEAT_S, pace.number)
    pace.measured(1.0, 1.0, 20)
    assert pace.number == 14


@pytest.mark.parametrize("most", [0, 1, 3])
def test_never_more_than_allowed_and_never_none(most):
    pace = Pace(most)
    for late in (0.0, 1.0, 0.0, 0.0):
        pace.measured(late, late, 10)
        assert 1 <= pace.number <= max(1, most)


def test_lateness_that_others_cause_takes_no_places():
    pace = Pace(512)
    for _ in range(100):
        pace.measured(1.0, 0.005, pace.number)
    assert pace.number == 512
    assert pace.slowed == 0
