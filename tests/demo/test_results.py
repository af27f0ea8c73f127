from flowsonar.demo.plan import Judgement, Plan, Planned
from flowsonar.demo.results import Results

HTTP = Planned(key="http", title="HTTP", service="http", address="10.77.2.10", port=8081)
SILENT = Planned(key="silent", title="silent", address="10.77.2.12", port=999, transport="udp")


def record(number, planned, service, *, confidence="confirmed", event="verdict", ms=3.0, **more):
    return {
        "event_type": event,
        "flow_id": number,
        "proto": planned.transport.upper(),
        "src_ip": "10.77.1.10",
        "src_port": 50000,
        "dest_ip": planned.address,
        "dest_port": planned.port,
        "flowsonar": {"service": service, "confidence": confidence, "verdict_ms": ms},
        **more,
    }


def results():
    return Results(Plan((HTTP, SILENT)))


def test_a_label_is_told_once():
    seen = results()
    assert seen.add(record(1, HTTP, "http")).judgement is Judgement.RIGHT
    assert seen.add(record(1, HTTP, "http", event="flow")) is None
    assert seen.add(record(1, HTTP, "http", confidence="likely")) is not None


def test_what_is_no_flow_is_passed_over():
    seen = results()
    for other in ({}, {"event_type": "stats"}, record(1, HTTP, "http", proto="ICMP")):
        assert seen.add(other) is None
    assert not seen.flows
    assert not seen.unplanned


def test_a_flow_that_nobody_planned_is_not_right():
    seen = results()
    seen.add(record(1, HTTP, "http"))
    seen.add(record(2, SILENT, None, confidence="unknown", event="flow"))
    assert seen.right()
    seen.add(record(3, HTTP, "http", dest_port=1))
    assert not seen.right()


def test_settled_when_every_known_service_is_labelled():
    seen = results()
    assert not seen.settled()
    seen.add(record(1, HTTP, None, confidence="unknown"))
    assert not seen.settled()
    seen.add(record(1, HTTP, "http"))
    assert seen.settled()
    assert not seen.right()  # the impostor was not seen yet


def test_the_closing_table():
    seen = results()
    seen.add(record(1, HTTP, "http", ms=1.0))
    seen.add(record(2, HTTP, "smtp", confidence="likely", ms=5.0))
    http, silent = seen.rows({("tcp", "10.77.2.10", 8081): (2, 0)})
    assert (http.flows, http.label, http.confidence, http.verdict_ms) == (2, "http, smtp", "likely", 3.0)
    assert http.asked == (2, 0)
    assert http.judgement is Judgement.WRONG
    assert (silent.label, silent.judgement, silent.verdict_ms) == ("not seen", Judgement.MISSED, None)
    assert silent.asked == (0, 0)
    assert seen.rows()[0].asked is None
