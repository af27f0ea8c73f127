import pytest

from flowsonar.shaping.classes import DEFAULT_CLASSES
from flowsonar.shaping.kernel import Kernel
from flowsonar.shaping.queues import Discipline, Line, plan
from flowsonar.shaping.tc import failed_lines, leaf_words

from .test_queues import FULL, SMALL

ERRORS = """Error: Specified qdisc kind is unknown.
Command failed -:1
We have an error talking to the kernel
Command failed -:14
"""


def lines(kernel: Kernel, **line: object) -> list[str]:
    return [str(one) for one in plan(kernel, [Line(wan="wan", **line)]).commands]  # type: ignore[arg-type]


def test_failed_lines_are_read_from_what_tc_writes() -> None:
    assert failed_lines(ERRORS) == {1, 14}
    assert failed_lines("") == frozenset()


def test_htb_has_a_class_for_each_and_serves_calls_before_bulk() -> None:
    text = lines(SMALL, up_kbit=5000, lan=("lan",))
    assert "tc qdisc replace dev wan root handle 1: htb default 50" in text
    classes = {line.split("classid ")[1].split()[0]: line for line in text if " class add " in line}
    assert {one.classid for one in DEFAULT_CLASSES} <= classes.keys()
    assert "rate 1500kbit ceil 4500kbit" in classes["1:20"]
    assert "prio 1 " in classes["1:20"]
    assert "prio 5 " in classes["1:60"]
    guaranteed = [int(line.split(" rate ")[1].split("kbit")[0]) for name, line in classes.items() if name != "1:1"]
    assert sum(guaranteed) <= 5000
    assert "ethtool -K lan gro off" in text


def test_what_is_not_from_the_line_is_not_shaped() -> None:
    assert any("classid 1:fe" in line and "dev lan" in line for line in lines(SMALL, down_kbit=9000, lan=("lan",)))
    assert not any("1:fe" in line for line in lines(SMALL, up_kbit=9000, lan=("lan",)))


def test_cake_gets_its_dscp_from_the_connection() -> None:
    text = lines(FULL, up_kbit=5000, down_kbit=20000, overhead=8)
    assert (
        text[0]
        == "tc qdisc replace dev wan root handle f1: cake bandwidth 5000kbit diffserv4 nat dual-srchost overhead 8"
    )
    assert any("cake bandwidth 20000kbit diffserv4 nat dual-dsthost ingress" in line for line in text)
    assert "ctinfo dscp 0xfc000000 0x1000000 cpmark 0xf0000" in text[-1]
    assert not any(line.startswith("ethtool") for line in text)


def test_htb_on_an_ifb_takes_the_class_from_the_mark() -> None:
    text = lines(FULL, down_kbit=20000, discipline=Discipline.HTB, atm=True, overhead=10)
    assert "tc filter add dev fs-ifb0 parent 1: protocol all prio 2 handle 0x20000/0xf0000 fw flowid 1:20" in text
    assert "tc qdisc replace dev fs-ifb0 root handle 1: stab overhead 10 linklayer atm htb default 50" in text


def test_traffic_is_led_away_only_when_the_queue_is_there() -> None:
    text = lines(SMALL, down_kbit=9000, lan=("a0", "b0"))
    assert [line.split()[1] for line in text[-4:]] == ["qdisc", "filter", "qdisc", "filter"]
    assert all("redirect dev fs-ifb0" in line for line in text[-3::2])


@pytest.mark.parametrize(
    ("leaf", "kbit", "words"),
    [
        ("fq_codel", 20000, "fq_codel limit 330 target 5000us interval 105000us quantum 300 ecn"),
        ("fq_codel", 500, "fq_codel limit 256 target 36336us interval 136336us quantum 300 ecn"),
        ("pfifo", 20000, "pfifo limit 330"),
        ("pfifo_head_drop", 64, "pfifo_head_drop limit 16"),
        ("bfifo", 20000, f"bfifo limit {330 * 1514}"),
        ("sfq", 20000, "sfq limit 127 perturb 10"),
    ],
)
def test_leaves(leaf: str, kbit: int, words: str) -> None:
    assert leaf_words(leaf, kbit, 200) == words
