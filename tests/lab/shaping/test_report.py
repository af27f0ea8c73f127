from lab.shaping.measure import Delays, Marks
from lab.shaping.report import added_ms, as_json, figures, left_out, share_of_rest, table
from lab.shaping.run import Result


def result(way: str, ms: float, *, bulk: int = 0) -> Result:
    points = [(second / 50, ms + second % 2 * 0.1) for second in range(1000)]
    delays = {way: Delays(sent=1000, lost=0, points=points) for way in ("up", "down")}
    sums = {"bulk": bulk, "call": 10_750}
    return Result(way=way, **delays, carried={"up": dict(sums), "down": dict(sums)}, seconds=1.0)


IDLE, OURS = result("idle", 10), result("flowsonar", 13, bulk=600_000)


def test_what_the_load_added() -> None:
    assert round(added_ms(OURS, IDLE, "up"), 3) == 3
    assert round(share_of_rest(OURS, "up"), 2) == round(600_000 / (625_000 - 10_750), 2)
    assert share_of_rest(OURS, "down") < 0.3


def test_the_table_and_the_figures() -> None:
    OURS.new = {
        "bulk": Marks(flows=2, octets=100, right=99, first_ms=[50.0, 60.0], kernel_ms=[40.0]),
        "call": Marks(octets=9, right=9),
    }
    OURS.known = {"bulk": Marks(flows=2, late=0)}
    OURS.waited_ms = [0.1, 0.2, 4.9]
    lines = table([IDLE, OURS])
    assert len(lines) == 3
    assert lines[2].count("+3.0 ms") == 2  # too short for what is settled
    found = {one.what: one.reached for one in figures({"idle": IDLE, "flowsonar": OURS})}
    assert found["delay added to the call, 99th percentile, up"]
    assert found["bulk bytes marked right after the first second"]
    assert found["first packet to mark in the kernel, new endpoint, median of 1"]
    assert not found["bulk, of the rest, down"]
    assert found["from verdict to mark, 99th percentile of 3"]
    assert figures({"idle": IDLE}) == []
    assert as_json([IDLE, OURS], [], seed=1)["ways"]["flowsonar"]["marks_new"]["bulk"]["flows"] == 2


def test_where_the_machine_stood_still_nothing_is_told_that_is_not_known() -> None:
    idle, ours = result("idle", 10), result("flowsonar", 13, bulk=600_000)
    ours.known = {"bulk": Marks(flows=2, late=0)}
    ours.new = {"bulk": Marks(flows=2, octets=100, right=100, kernel_ms=[400.0])}
    for delays in (ours.up, ours.down):
        delays.leave_out(0, [(0, 15_000_000_000)])
    assert not ours.tells
    found = {one.what: one.reached for one in figures({"idle": idle, "flowsonar": ours})}
    assert found["delay added to the call, 99th percentile, up"] is None
    assert found["bulk, of the rest, up"] is True
    assert found["bulk, of the rest, down"] is None
    assert found["first packet to mark in the kernel, new endpoint, median of 1"] is None
    assert found["unmarked packets, known endpoint, 2 flows"] is True
    assert "cannot tell" in table([idle, ours])[2]
    assert "+3.0 ms" not in table([idle, ours])[2]
    for delays in (idle.up, idle.down):
        delays.leave_out(0, [(0, 30_000_000_000)])
    assert "cannot tell" in table([idle, ours])[1]
    assert "nan" not in " ".join((*left_out([idle, ours]), *table([idle, ours])))
