from bench.agreement import Judge, Reasons, compare

from flowsonar.model import Confidence, FlowKey, FlowRecord, Layer, RecordType, Transport, Verdict
from flowsonar.signatures import load_signatures

REASONS = """
[same]
Jabber = ["smtp"]
[[better]]
theirs = "HTTP"
ours = "rtsp"
reason = "RTSP requests"
"""


def record(port: int, service: str | None, confidence: Confidence, over: Layer | None = None) -> FlowRecord:
    key = FlowKey(Transport.TCP, "10.0.0.1", 1000, "2001:db8::1", port)
    return FlowRecord(RecordType.FLOW, 0, port, key, Verdict(service=service, confidence=confidence, over=over))


def row(port: int, label: str, seen: str = "DPI") -> dict[str, str]:
    ends = {"a_ip": "2001:0db8:0::1", "a_port": str(port), "b_ip": "10.0.0.1", "b_port": "1000"}
    return {"pcap": "a.pcap", "transport": "TCP", **ends, "ndpi_label": label, "ndpi_confidence": seen}


def test_each_kind_is_counted() -> None:
    confirmed, guess = Confidence.CONFIRMED, Confidence.GUESS
    records = [
        record(1, "http", confirmed),
        record(2, "imap", confirmed, Layer.TLS),
        record(3, "rtsp", confirmed),
        record(4, "smtp", guess),
        record(5, "ssh", confirmed),
        record(6, None, Confidence.UNKNOWN),
        record(7, "ssh", confirmed),
    ]
    flows = {
        ("tcp", frozenset({(r.key.initiator_address, 1000), (r.key.responder_address, r.flow_id)})): r for r in records
    }
    rows = [
        row(1, "HTTP.Google"),
        row(2, "TLS"),
        row(3, "HTTP"),
        row(4, "Jabber"),
        row(5, "HTTP"),
        row(6, "HTTP"),
        row(7, "DNS", "Match by port"),
        row(8, "HTTP"),
    ]
    found = compare(rows, {"a.pcap": flows}, Judge(load_signatures(), Reasons(REASONS)))
    assert found.missing == 1
    assert found.per_protocol["HTTP"] == {"same": 1, "founded": 1, "other": 1, "unknown": 1}
    assert found.per_protocol["TLS"] == {"same": 1}
    assert found.per_protocol["Jabber"] == {"port": 1}
    assert found.share == 3 / 6
    assert [(one.theirs, one.ours) for one in found.beyond] == [("DNS (Match by port)", "ssh")]
    assert [one.reason for one in found.differences if one.ours == "rtsp"] == ["RTSP requests"]
