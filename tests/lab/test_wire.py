"""The wire's logic: delay, order, loss, bound, and how lateness is counted."""

import random

import pytest
from lab.wire import Lateness, Line, parse_pair


def _line(delay_ns: int = 1000, loss: float = 0.0) -> Line:
    return Line(delay_ns, loss, random.Random(1))


def test_a_frame_leaves_after_the_delay_and_not_before() -> None:
    line = _line()
    line.push(5, b"a")
    assert line.next_due_ns == 1005
    assert line.pop(1004) is None
    assert line.pop(1005) == (1005, b"a")
    assert line.next_due_ns is None
    assert line.pop(10**9) is None


def test_frames_of_one_instant_keep_their_order() -> None:
    line = _line()
    frames = [bytes([number]) for number in range(50, 0, -1)]
    for frame in frames:
        line.push(7, frame)
    assert [line.pop(2000) for _ in frames] == [(1007, frame) for frame in frames]


def test_due_follows_the_time_of_receipt_even_when_read_late() -> None:
    line = _line()
    line.push(300, b"second")
    line.push(100, b"first")
    assert line.pop(5000) == (1100, b"first")
    assert line.pop(5000) == (1300, b"second")


def test_loss_takes_its_share_and_is_counted() -> None:
    line = _line(loss=0.25)
    for _ in range(4000):
        line.push(0, b"x")
    assert 900 < line.lost < 1100
    left = 0
    while line.pop(10**9):
        left += 1
    assert left == line.carried == 4000 - line.lost


def test_a_full_wire_drops_and_counts() -> None:
    line = _line()
    for _ in range(20_001):
        line.push(0, b"x")
    assert line.overflowed == 1


def test_no_loss_loses_nothing() -> None:
    line = _line()
    for _ in range(1000):
        line.push(0, b"x")
    assert line.lost == 0


def test_lateness_percentiles() -> None:
    late = Lateness()
    assert late.percentile_us(99) == 0
    for microseconds in range(1, 101):
        late.add(microseconds * 1000)
    assert late.percentile_us(50) == 50
    assert late.percentile_us(99) == 99
    assert late.percentile_us(100) == 100 == late.worst_us
    late.add(-5)
    late.add(90_000_000)
    assert late.percentile_us(100) == 20_000
    assert late.worst_us == 90_000


def test_pairs_are_read_from_words() -> None:
    pair = parse_pair("a,b,2.5,0.01")
    assert (pair.left, pair.right, pair.delay_ns, pair.loss) == ("a", "b", 2_500_000, 0.01)


@pytest.mark.parametrize("text", ["a,b,1", "a,b,-1,0", "a,b,1,1", "a,b,x,0"])
def test_impossible_pairs_are_refused(text: str) -> None:
    with pytest.raises(ValueError, match=r".+"):
        parse_pair(text)
