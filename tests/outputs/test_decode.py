"""Records of lines. That they are those of the slow lane, for each capture: tests/app/test_lanes.py."""

from __future__ import annotations

import pytest

from flowsonar.model import Confidence, EvidenceKind, Layer, Side, TrafficClass, Transport
from flowsonar.outputs.decode import records
from tests.outputs.samples import flow

_FLOW = (
    '"flow":{"pkts_toserver":3,"pkts_toclient":2,"bytes_toserver":300,"bytes_toclient":200,'
    '"start":"2009-02-13T23:31:30.000000001+0000","end":"2009-02-13T23:31:31.123456789+0000","age":1,'
    '"state":"closed","reason":"fin"}'
)
_ENDS = '"src_ip":"10.0.0.1","src_port":40000,"dest_ip":"10.0.0.2","dest_port":443'
_HEAD = '"timestamp":"2009-02-13T23:31:31.123456789+0000","flow_id":7,"event_type":"flow"'
_PIECE = (
    '{"kind":"payload","service":"http","confidence":"likely","side":"initiator","over":"tls","probe":null,'
    '"signature":"http/request","detail":"a \\u001b request"}'
)


def line(verdict: str, *, proto: str = "TCP", where: str = "") -> bytes:
    """A line as the fast lane writes it for this purpose."""
    return (
        f'{{{_HEAD},{where}{_ENDS},"proto":"{proto}","app_proto":"http",{_FLOW},'
        f'"flowsonar":{{{verdict},"midstream":true}}}}\n'
    ).encode()


UNKNOWN = (
    '"service":null,"over":null,"product":null,"version":null,"cpe":null,"class":"default","confidence":"unknown",'
    '"verdict_ms":null,"name":null,"conflicts":[],"evidence":[]'
)
HTTP = (
    '"service":"http","over":"tls","product":"nginx","version":"1.22","cpe":"cpe:x","class":"interactive",'
    f'"confidence":"likely","verdict_ms":1.5,"name":"a.example","conflicts":["smtp"],"evidence":[{_PIECE}]'
)


def test_everything_that_a_line_tells() -> None:
    (record,) = records([line(HTTP, where='"in_iface":"eth0","vlan":[9],')])
    assert record.key == (Transport.TCP, "10.0.0.1", 40000, "10.0.0.2", 443, 9)
    assert record.counters == (3, 2, 300, 200, 1234567890_000000001, 1234567891_123456789)
    assert (record.time_ns, record.flow_id, record.interface) == (1234567891_123456789, 7, "eth0")
    assert (record.reason, record.midstream, record.verdict_ms, record.hops) == ("fin", True, 1.5, ())
    verdict = record.verdict
    assert (verdict.service, verdict.over, verdict.product, verdict.version) == ("http", Layer.TLS, "nginx", "1.22")
    assert (verdict.cpe, verdict.name, verdict.conflicts) == ("cpe:x", "a.example", ("smtp",))
    assert verdict.confidence is Confidence.LIKELY
    assert verdict.traffic_class is TrafficClass.INTERACTIVE
    (piece,) = verdict.evidence
    assert (piece.kind, piece.side, piece.signature) == (EvidenceKind.PAYLOAD, Side.INITIATOR, "http/request")
    assert piece.detail == "a \x1b request"


def test_what_nobody_knows() -> None:
    (record,) = records([line(UNKNOWN)])
    assert record.verdict.service is None
    assert record.verdict.confidence is Confidence.UNKNOWN


def test_lines_and_records_in_their_order() -> None:
    own = flow()
    found = list(records([line(HTTP) + line(UNKNOWN), own, line(HTTP)]))
    assert [record.verdict.service for record in found] == ["http", None, own.verdict.service, "http"]
    assert found[2] is own


@pytest.mark.parametrize(
    ("proto", "transport"),
    [("UDP", Transport.UDP), ("ICMP", Transport.ICMP), ("IPv6-ICMP", Transport.ICMP), ("SCTP", Transport.SCTP)],
)
def test_transports(proto: str, transport: Transport) -> None:
    (record,) = records([line(UNKNOWN, proto=proto)])
    assert record.key.transport is transport
