import pytest

from flowsonar.errors import ConfigError
from flowsonar.model import Transport
from flowsonar.probes.targets import Target, parse_target

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
     "10.0.0.0/8:80", "[2001:db8::/64]:80", "[fe80::zz]:1", "host:1,,2", "h" * 300 + ":80",
     "10.0.0.0/99:80", "a b:80", "host:80/sctp", "host:²"],
)  # fmt: skip
def test_wrong_expressions_say_so(text: str) -> None:
    with pytest.raises(ConfigError, match="target"):
        list(parse_target(text))


@pytest.mark.parametrize(
    ("text", "hint"),
    [
        ("http://host:80/", "a URL"), ("/no/such/list", "no such file"), ("./list.txt", "no such file"),
        ("::1:80", "IPv6"), ("host", "host:port"),
    ],
)  # fmt: skip
def test_what_it_may_have_been_is_said(text: str, hint: str) -> None:
    with pytest.raises(ConfigError, match=hint):
        parse_target(text)


def test_ports_in_their_order_and_each_once() -> None:
    assert [target.port for target in parse_target("host:8000-8002,22,8001,21")] == [8000, 8001, 8002, 22, 21]


def test_targets_are_generated_port_by_port() -> None:
    expression = parse_target("10.0.0.0/16:1-65535")
    assert len(expression) == 65534 * 65535
    first = [target for target, _ in zip(expression, range(3), strict=False)]
    assert first == [Target(f"10.0.0.{last}", 1, TCP) for last in (1, 2, 3)]


@pytest.mark.parametrize("text", ["192.0.2.0/30:22,80", "192.0.2.0/31:1", "[2001:db8::/126]:5-9", "host:1-3/udp"])
def test_the_length_is_known_before(text: str) -> None:
    assert len(parse_target(text)) == len(list(parse_target(text)))


@pytest.mark.parametrize("text", ["{}/24:80", "{}:80", "[{}::]:80", "host:{}", "{}", "[fd00::1/{}]:80"])
def test_what_is_shown_of_a_long_target_is_short(text: str) -> None:
    with pytest.raises(ConfigError) as raised:
        parse_target(text.format("x" * 5000))
    assert len(str(raised.value)) < 300
