from lab.comparison.ndpi import parse, parse_name
from lab.comparison.said import Names

NAMES = Names({"http": (), "ssh": (), "tls": ()})


def test_names_inside_tls() -> None:
    assert (parse_name("TLS.HTTP", NAMES).service, parse_name("TLS.HTTP", NAMES).over) == ("http", "tls")
    assert parse_name("TLS", NAMES).service == "tls"
    assert parse_name("Unknown", NAMES).service is None


def test_flows_by_port_and_the_best_of_several() -> None:
    text = (
        "#flow_id,protocol,src_ip,src_port,dst_ip,dst_port,ndpi_proto\n"
        "1,6,10.0.0.1,40000,10.0.0.2,22,Unknown\n"
        "2,6,10.0.0.1,40001,10.0.0.2,22,SSH\n"
        "3,6,10.0.0.1,40002,10.0.0.2,22,Unknown\n"
        "4,17,10.0.0.9,40000,10.0.0.8,22,SSH\n"
    )
    found = parse(text, {"10.0.0.2"}, NAMES)
    assert {key: said.service for key, said in found.items()} == {("tcp", 22): "ssh"}
