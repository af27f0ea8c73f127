from flowsonar.model import Transport
from flowsonar.probes.targetlines import NAMED, TargetLines
from flowsonar.probes.targets import Target

TCP, UDP = Transport.TCP, Transport.UDP


def test_targets_and_records_are_told_apart_line_by_line() -> None:
    lines = [
        "\ufeff# a comment",
        '{"event_type": "flow", "dest_ip": "192.0.2.2", "dest_port": 53, "proto": "UDP"}\r\n',
        '{"dest_ip": "192.0.2.2", "proto": "ICMP"}',
        "",
        "  192.0.2.3:80  # mine",
    ]
    told: list[str] = []
    source = TargetLines("-", told.append)
    found = [(target.host, target.port, target.transport) for target in source.targets(lines)]
    assert found == [("192.0.2.2", 53, UDP), ("192.0.2.3", 80, TCP)]
    assert (source.records, source.nobody, source.bad, told) == (2, 1, 0, [])


def test_bad_lines_are_named_and_the_rest_goes_on() -> None:
    told: list[str] = []
    source = TargetLines("list.txt", told.append)
    found = list(source.targets(["192.0.2.1:80", "nonsense", "{", "192.0.2.2:80"]))
    assert found == [Target("192.0.2.1", 80), Target("192.0.2.2", 80)]
    assert [line.split(": ")[0] for line in told] == ["list.txt:2", "list.txt:3"]
    assert source.problem() is None


def test_many_bad_lines_are_counted() -> None:
    told: list[str] = []
    source = TargetLines("x", told.append)
    assert not list(source.targets(["?"] * (NAMED + 5)))
    source.too_long()
    assert (len(told), source.bad) == (NAMED, NAMED + 6)
    assert source.problem() == "x: 6 more lines are neither target nor flow record"


def test_only_flow_records_can_be_labelled() -> None:
    told: list[str] = []
    source = TargetLines("x", told.append, flows_only=True)
    assert not list(source.items(["192.0.2.1:80"]))
    assert "not a flow record" in told[0]
