from flowsonar.model import Confidence, RecordType, Verdict
from flowsonar.outputs import tally as module
from flowsonar.outputs.tally import Tally, counters_line
from tests.outputs.samples import FTP, HTTPS, endpoint, flow, hostile_verdict


def counts(tally):
    return {confidence: count for confidence, count in tally.confidences().items() if count}


def test_a_flow_counts_once_however_many_records_it_has():
    tally = Tally()
    tally.add(flow(type=RecordType.VERDICT, verdict=HTTPS))
    assert counts(tally) == {Confidence.LIKELY: 1}
    tally.add(flow(type=RecordType.VERDICT))
    tally.add(flow(reason="active"))
    assert counts(tally) == {Confidence.CONFIRMED: 1}
    tally.add(flow())
    tally.add(flow(flow_id=8, verdict=Verdict()))
    assert counts(tally) == {Confidence.CONFIRMED: 1, Confidence.UNKNOWN: 1}
    assert not tally._open


def test_summary_names_the_heaviest_first():
    tally = Tally()
    tally.add(flow(flow_id=1, verdict=Verdict(service="tiny"), counters=type(flow().counters)(bytes_toserver=1)))
    tally.add(flow(flow_id=2, verdict=HTTPS))
    tally.add(flow(flow_id=3))
    tally.add(flow(flow_id=4))
    tally.add(endpoint())
    lines = tally.summary().plain.splitlines()
    assert [line.split() for line in lines] == [
        ["service", "confidence", "flows", "bytes"],
        ["ftp", "confirmed", "2", "4.4k"],
        ["http", "(tls)", "likely", "1", "2.2k"],
        ["tiny", "unknown", "1", "1"],
        ["unknown", "unknown", "1", "0"],
    ]


def test_summary_is_bounded(monkeypatch):
    monkeypatch.setattr(module, "SERVICES", 2)
    tally = Tally()
    for number in range(5):
        tally.add(flow(flow_id=number, verdict=Verdict(service=f"s{number}")))
    lines = tally.summary().plain.splitlines()
    assert len(lines) == 4
    assert lines[-1].split() == ["3", "more", "3", "6.6k"]


def test_nothing_seen_says_nothing():
    assert Tally().summary().plain == ""


def test_hostile_names():
    tally = Tally()
    tally.add(flow(verdict=hostile_verdict()))
    assert all(line.isprintable() for line in tally.summary().plain.splitlines())


def test_counters_line():
    tally = Tally()
    tally.add(flow(verdict=FTP))
    line = counters_line(
        {"frames": 1500, "flows": 3, "kernel_drops": 2, "connections": 4, "datagrams": 5}, tally.confidences()
    )
    assert line.plain == "packets 1.5k  dropped 2  flows 3  confirmed 1  likely 0  guess 0  unknown 0  probes 9"
    assert any("red" in str(span.style) for span in line.spans)


def test_counters_line_of_a_capture_has_no_probes():
    line = counters_line({"frames": 1}, {})
    assert line.plain == "packets 1  dropped 0  flows 0"
    assert not any("red" in str(span.style) for span in line.spans)
