from flowsonar.outputs.lost import lost_line


def test_every_drop_is_named():
    assert lost_line({"frames": 9, "flows": 3, "frames_not_ip": 0}) == ""
    counters = {"frames_not_ip": 2, "kernel_drops": 1, "flows_evicted": 3, "questions_dropped": 4, "frames": 9}
    told = lost_line(counters)
    assert told == "not counted or dropped: flows_evicted 3, frames_not_ip 2, kernel_drops 1, questions_dropped 4"
    assert lost_line({"flows_evicted_halfopen": 5}) == "not counted or dropped: flows_evicted_halfopen 5"
