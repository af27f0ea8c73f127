import pytest

from flowsonar.errors import ConfigError
from flowsonar.model import Transport
from flowsonar.probes.targets import Target, TargetLines, parse_target

TCP, UDP = Transport.TCP, Transport.UDP


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("192.0.2.7:80", [Target("192.0.2.7", 80, TCP)]),
        ("192.0.2.7:53/udp", [Target("192.0.2.7", 53, UDP)]),
        ("[2001:db8::7]:443/TCP", [Target("2001:db8::7", 443, TCP)]),
        ("files.example:20-21,80", [Target("files.example", port, TCP) for port in (20, 21, 80)]),
        ("192.0.2.0/30:22", [Target("192.0.2.1", 22, TCP), Target("192.0.2.2", 22, TCP)]),
        ("192.0.2.9/32:53/udp", [Target("192.0.2.9", 53, UDP)]),
    ],
)
def test_expressions(text: str, expected: list[Target]) -> None:
    assert list(parse_target(text)) == expected


@pytest.mark.parametrize(
    "text",
    ["", "host", "host:", ":80", "host:0", "host:70000", "host:9-8", "host:a", "2001:db8::1:80", "[::1]80",
     "10.0.0.0/8:80", "10.0.0.0/99:80", "a b:80", "host:80/sctp", "host:²"],
)  # fmt: skip
def test_wrong_expressions_say_so(text: str) -> None:
    with pytest.raises(ConfigError, match="target"):
        list(parse_target(text))


def test_zeek_suricata_and_plain_lines() -> None:
    lines = [
        "# a comment",
        '{"id.resp_h": "192.0.2.1", "id.resp_p": 22, "proto": "tcp"}',
        '{"event_type": "flow", "dest_ip": "192.0.2.2", "dest_port": 53, "proto": "UDP"}',
        '{"dest_ip": "192.0.2.2", "proto": "ICMP"}',
        "{broken",
        "192.0.2.3:80",
        "#fields\tts\tuid\tid.orig_h\tid.orig_p\tid.resp_h\tid.resp_p\tproto",
        "1.0\tC1\t192.0.2.9\t4242\t192.0.2.4\t443\ttcp",
        "1.0\tC1",
    ]
    source = TargetLines("-")
    assert list(source.parse(lines)) == [
        Target("192.0.2.1", 22, TCP),
        Target("192.0.2.2", 53, UDP),
        Target("192.0.2.3", 80, TCP),
        Target("192.0.2.4", 443, TCP),
    ]
    assert source.skipped == 3


def test_a_wrong_line_is_named() -> None:
    with pytest.raises(ConfigError, match=r"list\.txt:2: target"):
        list(TargetLines("list.txt").parse(["192.0.2.1:80", "nonsense"]))
