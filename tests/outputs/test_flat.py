from flowsonar.model import FlowKey, Transport
from flowsonar.outputs.flat import flat, protocol_number
from tests.outputs.samples import endpoint, flow


def test_a_flow() -> None:
    row = flat(flow())
    assert (row.event_type, row.flow_id, row.src_port, row.dest_port, row.proto) == ("flow", 7, 40000, 2121, "TCP")
    assert (row.service, row.product, row.traffic_class, row.confidence) == (
        "ftp",
        "vsFTPd",
        "interactive",
        "confirmed",
    )
    assert row.community_id is not None
    assert row.start is not None
    assert row.end is not None
    assert row.start < row.end
    assert len(row.evidence) == 1


def test_an_endpoint_has_no_source() -> None:
    row = flat(endpoint())
    assert (row.event_type, row.flow_id, row.src_ip, row.community_id) == ("endpoint", None, None, None)
    assert row.outcome is not None


def test_what_has_no_ports_has_none() -> None:
    row = flat(flow(key=FlowKey(Transport.ICMP, "2001:db8::1", 12, "2001:db8::2", 128, 9)))
    assert (row.src_port, row.dest_port, row.proto, row.vlan) == (None, None, "IPv6-ICMP", 9)
    assert row.community_id is not None
    assert flat(flow(key=FlowKey(Transport.OTHER, "192.0.2.1", 0, "192.0.2.2", 0))).community_id is None


def test_protocol_numbers() -> None:
    assert protocol_number(Transport.ICMP, "192.0.2.1") == 1
    assert protocol_number(Transport.ICMP, "::1") == 58
    assert protocol_number(Transport.GRE, "::1") == 47
    assert protocol_number(Transport.OTHER, "::1") is None
