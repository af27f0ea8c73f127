"""Stream offsets: any order of segments, each byte reported at least once while one gap is open at a time."""

from hypothesis import given
from hypothesis import strategies as st

from flowsonar.flows._reference_stream import WINDOW, Stream


def started(sequence: int = 100) -> Stream:
    stream = Stream()
    stream.start(sequence)
    return stream


@given(st.integers(0, 2**32 - 1), st.lists(st.integers(1, 5000), max_size=50))
def test_in_order(sequence: int, lengths: list[int]) -> None:
    stream = started(sequence)
    end = 0
    for length in lengths:
        assert stream.segment((sequence + end) & 0xFFFFFFFF, length) == (end, False)
        assert stream.segment((sequence + end) & 0xFFFFFFFF, length) == (None, False)
        end += length
        assert stream.end == end


def test_a_gap_is_filled_once() -> None:
    stream = started()
    assert stream.segment(110, 10) == (10, False)
    assert stream.segment(102, 4) == (2, False)
    assert stream.segment(102, 4) == (None, False)
    assert stream.segment(100, 2) == (0, False)
    assert stream.segment(100, 20) == (None, False)
    assert stream.hole == 0


def test_a_gap_moves_back_as_the_stream_grows() -> None:
    stream = started()
    stream.segment(110, 10)
    stream.segment(120, 10)
    assert stream.segment(104, 6) == (4, False)
    assert stream.segment(100, 4) == (0, False)
    assert stream.segment(100, 30) == (None, False)


def test_a_gap_too_far_back_is_given_up() -> None:
    stream = started()
    stream.segment(110, 10)
    sequence = 120
    while sequence < 120 + WINDOW:
        stream.segment(sequence, 65536)
        sequence += 65536
    assert stream.hole == 0
    assert stream.segment(WINDOW, 10) == (None, False)


def test_a_jump_is_a_new_start() -> None:
    stream = started()
    stream.segment(100, 10)
    assert stream.segment(110 + WINDOW + 1, 5) == (10, True)
    assert stream.segment(110, 5) == (15, True)


def test_the_start_is_known_by_its_syn() -> None:
    stream = started()
    assert not stream.starts_at(100)
    stream.syn_seen = True
    stream.segment(100, 10)
    assert stream.starts_at(100)
    assert not stream.starts_at(110)


@given(st.lists(st.tuples(st.integers(0, 200), st.integers(1, 40)), max_size=40))
def test_no_byte_is_new_twice_without_a_new_one(segments: list[tuple[int, int]]) -> None:
    """What is left out was seen whole, unless a second gap opened: beside the first, or by a segment in its middle."""
    stream = started(0)
    seen: set[int] = set()
    gaps = 0
    for start, length in segments:
        before, hole_end = stream.end, stream.end - stream.hole_back
        gaps += hole_end - stream.hole < start < start + length < hole_end
        offset, _ = stream.segment(start, length)
        gaps += start > before
        covered = set(range(start, start + length))
        if offset is None and gaps <= 1:
            assert covered <= seen
        seen |= covered
        assert stream.end == max(before, start + length)
        assert stream.hole <= stream.end
