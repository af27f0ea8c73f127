import pytest

from flowsonar.errors import ConfigError
from flowsonar.shaping.kernel import Kernel
from flowsonar.shaping.queues import Discipline, Line, best, plan
from flowsonar.shaping.tc import Way

SMALL = Kernel(
    qdiscs=frozenset({"htb", "tbf", "pfifo", "bfifo"}),
    filters=frozenset({"u32"}),
    actions=frozenset({"mirred"}),
    ifb=True,
    clsact=True,
)
FULL = Kernel(
    qdiscs=frozenset({"cake", "htb", "fq_codel", "sfq", "pfifo", "bfifo"}),
    filters=frozenset({"matchall", "u32", "fw"}),
    actions=frozenset({"mirred", "ctinfo", "connmark", "skbedit"}),
    ifb=True,
    clsact=True,
)
BARE = Kernel(qdiscs=frozenset({"htb", "pfifo"}))
LINE = Line(wan="wan", up_kbit=4750, down_kbit=19000, lan=("lan",))
HOST = Line(wan="wan", up_kbit=4750, down_kbit=19000)
TWO = Line(wan="wan", up_kbit=4750, down_kbit=19000, lan=("lan0", "lan1"))


@pytest.mark.parametrize(
    ("kernel", "line", "expected"),
    [
        (SMALL, LINE, [("wan", "htb", Way.OUT), ("lan", "htb", Way.IN)]),
        (SMALL, TWO, [("wan", "htb", Way.OUT), ("fs-ifb0", "htb", Way.IN_IFB)]),
        (SMALL, HOST, [("wan", "htb", Way.OUT)]),
        (BARE, TWO, [("wan", "htb", Way.OUT)]),
        (FULL, LINE, [("wan", "cake", Way.OUT), ("fs-ifb0", "cake", Way.OUT_IFB)]),
        (FULL, HOST, [("wan", "cake", Way.OUT), ("fs-ifb0", "cake", Way.OUT_IFB)]),
        (
            FULL,
            Line(wan="wan", up_kbit=900, down_kbit=9000, discipline=Discipline.HTB),
            [("wan", "htb", Way.OUT), ("fs-ifb0", "htb", Way.OUT_IFB)],
        ),
        (FULL, Line(wan="wan", up_kbit=900), [("wan", "cake", Way.OUT)]),
        (FULL, Line(wan="wan", up_kbit=900, discipline=Discipline.NONE), []),
        (Kernel(problem="no tc"), LINE, []),
    ],
)
def test_the_best_that_the_kernel_can_do(kernel: Kernel, line: Line, expected: list[tuple[str, str, Way]]) -> None:
    chosen = plan(kernel, [line])
    assert [(place.device, place.common.discipline, place.way) for place in chosen.places] == expected
    assert chosen.reasons


def test_the_reason_is_said() -> None:
    assert "no CAKE in this kernel" in plan(SMALL, [LINE]).text()
    assert "lacks ctinfo" in plan(SMALL, [HOST]).text()
    assert "several inside interfaces need ifb" in plan(BARE, [TWO]).text()
    assert "DSCP restored" in plan(FULL, [LINE]).text()
    assert "no tc" in plan(Kernel(problem="no tc"), [LINE]).text()


@pytest.mark.parametrize(
    ("lines", "says"),
    [
        ([Line(wan="wan", up_kbit=1)], "up 1 kbit/s"),
        ([Line(wan="wan", down_kbit=10**9)], "must be from"),
        ([Line(wan="wan", lan=("wan",))], "outside and inside"),
        ([Line(wan="a b")], "no interface's name"),
        ([Line(wan="interface-too-long")], "no interface's name"),
        ([Line(wan="wan", overhead=999)], "overhead"),
        ([Line(wan="wan", up_kbit=100, discipline=Discipline.CAKE)], "has no cake; it has htb"),
        ([LINE, Line(wan="dsl", down_kbit=900, lan=("lan",))], "two queues"),
    ],
)
def test_lines_that_make_no_sense(lines: list[Line], says: str) -> None:
    with pytest.raises(ConfigError, match=says):
        plan(SMALL, lines)


def test_what_doctor_says() -> None:
    gateway, host = best(SMALL)
    assert gateway.state == "slower"
    assert "not queued" in host.detail
    assert {choice.state for choice in best(FULL)} == {"ok"}
    assert {choice.state for choice in best(Kernel(problem="no tc"))} == {"missing"}
