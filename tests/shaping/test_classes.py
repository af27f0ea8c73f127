import pytest

from flowsonar.model import TrafficClass
from flowsonar.shaping.classes import (
    DEFAULT_CLASSES,
    DSCP,
    DSCP_MASK,
    LOCAL_MINOR,
    MARK_MASK,
    SET_MASK,
    by_name,
    class_number,
    dscp_name,
    mark_dscp,
    mark_of,
)


def test_every_class_of_the_model_has_its_place() -> None:
    assert {one.name for one in DEFAULT_CLASSES} == set(TrafficClass)
    assert [one.number for one in DEFAULT_CLASSES] == [1, 2, 3, 4, 5, 6]
    assert by_name(DEFAULT_CLASSES, TrafficClass.BULK).number == 6


def test_shares_fill_the_line_and_no_more() -> None:
    assert sum(one.share for one in DEFAULT_CLASSES) == pytest.approx(1.0)
    assert all(0 < one.share <= one.ceiling <= 1 for one in DEFAULT_CLASSES)


@pytest.mark.parametrize(
    ("name", "value"),
    [("DF", 0), ("LE", 1), ("CS1", 8), ("AF11", 10), ("AF21", 18), ("AF41", 34), ("AF43", 38), ("VA", 44), ("EF", 46)],
)
def test_code_points_are_those_of_the_rfcs(name: str, value: int) -> None:
    assert DSCP[name] == value
    assert dscp_name(value) == name


def test_a_value_without_a_name_is_a_number() -> None:
    assert dscp_name(63) == "63"


def test_a_mark_can_be_read_and_stays_within_its_bits() -> None:
    for one in DEFAULT_CLASSES:
        assert one.mark & ~MARK_MASK == 0
        assert class_number(one.mark | 0x02F0FFFF) == one.number
        assert mark_dscp(one.mark) == one.dscp
    assert class_number(0x0000FFFF) is None
    assert mark_dscp(0xFC00FFFF) is None
    assert mark_of(15, 63) == MARK_MASK
    assert DSCP_MASK & SET_MASK == 0


def test_priorities_are_classes_of_the_queue() -> None:
    realtime = by_name(DEFAULT_CLASSES, TrafficClass.REALTIME)
    assert (realtime.classid, realtime.priority) == ("1:20", 0x10020)
    assert LOCAL_MINOR not in {one.minor for one in DEFAULT_CLASSES}
