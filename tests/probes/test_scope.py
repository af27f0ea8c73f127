import pytest

from flowsonar.config import ScopeSettings
from flowsonar.errors import ConfigError
from flowsonar.model import Endpoint, Transport
from flowsonar.probes.scope import NEVER_PORTS, Scope

DEFAULT = Scope(ScopeSettings())


def tcp(address: str, port: int = 80) -> Endpoint:
    return Endpoint(Transport.TCP, address, port)


def udp(address: str, port: int = 4000) -> Endpoint:
    return Endpoint(Transport.UDP, address, port)


@pytest.mark.parametrize(
    "address",
    [
        "127.0.0.1", "127.0.0.2", "169.254.7.1", "10.1.2.3", "172.16.0.1", "172.31.255.254", "192.168.1.1",
        "100.64.0.1", "100.127.255.254", "::1", "fe80::1", "fe80::1%eth0", "fc00::1", "fd12:3456::7",
        "::ffff:10.0.0.7",
    ],
)  # fmt: skip
def test_default_scope_admits(address):
    assert DEFAULT.permits(tcp(address)) is None


@pytest.mark.parametrize(
    ("address", "word"),
    [
        ("8.8.8.8", "outside"), ("172.32.0.1", "outside"), ("100.128.0.1", "outside"), ("11.0.0.1", "outside"),
        ("2001:db8::1", "outside"), ("fec0::1", "outside"), ("::ffff:8.8.8.8", "outside"), ("::2", "outside"),
        ("224.0.0.1", "multicast"), ("239.255.255.250", "multicast"), ("ff02::1", "multicast"),
        ("::ffff:224.0.0.1", "multicast"),
        ("255.255.255.255", "broadcast"), ("240.0.0.1", "reserved"), ("0.0.0.0", "unspecified"), ("::", "unspecified"),
        ("0.1.2.3", "unspecified"), ("::ffff:0.0.0.0", "unspecified"), ("127.255.255.255", "subnet"),
        ("10.0.0.0", "subnet"), ("10.255.255.255", "subnet"), ("192.168.1.255", "subnet"), ("192.168.1.0", "subnet"),
        ("fd00::", "anycast"), ("example.org", "not an address"), ("", "not an address"), ("10.0.0.1/8", "not an"),
    ],
)  # fmt: skip
def test_default_scope_refuses(address, word):
    why = DEFAULT.permits(tcp(address))
    assert why is not None
    assert word in why


def test_allow_adds_and_only_replaces():
    assert Scope(ScopeSettings(allow=("198.51.100.0/24",))).permits(tcp("198.51.100.7")) is None
    assert Scope(ScopeSettings(allow=("198.51.100.0/24",))).permits(tcp("10.0.0.1")) is None
    only = Scope(ScopeSettings(only=("198.51.100.0/24",)))
    assert only.permits(tcp("198.51.100.7")) is None
    assert only.permits(tcp("10.0.0.1")) is not None
    both = Scope(ScopeSettings(only=("198.51.100.0/24",), allow=("203.0.113.9/32",)))
    assert both.permits(tcp("203.0.113.9")) is None


def test_network_and_broadcast_addresses_of_named_networks_are_refused():
    scope = Scope(ScopeSettings(allow=("198.51.100.64/27", "2001:db8::/64", "198.51.100.2/31")))
    assert "network address" in (scope.permits(tcp("198.51.100.64")) or "")
    assert "broadcast address" in (scope.permits(tcp("198.51.100.95")) or "")
    assert scope.permits(tcp("198.51.100.2")) is None, "RFC 3021: a /31 is two hosts"
    assert "network address" in (scope.permits(tcp("2001:db8::")) or "")


def test_an_address_named_by_itself_is_a_host_whatever_it_ends_in():
    assert Scope(ScopeSettings(allow=("10.1.2.255/32",))).permits(tcp("10.1.2.255")) is None
    assert Scope(ScopeSettings(allow=("224.0.0.1/32",))).permits(tcp("224.0.0.1")) is not None
    assert Scope(ScopeSettings(allow=("255.255.255.255/32",))).permits(tcp("255.255.255.255")) is not None


def test_mapped_networks_are_ipv4_networks():
    scope = Scope(ScopeSettings(allow=("::ffff:198.51.100.0/120",), exclude=("::ffff:198.51.100.9",)))
    assert scope.permits(tcp("198.51.100.7")) is None
    assert "excluded" in (scope.permits(tcp("198.51.100.9")) or "")
    assert "excluded" in (scope.permits(tcp("::ffff:198.51.100.9")) or "")


@pytest.mark.parametrize("entry", NEVER_PORTS, ids=lambda entry: f"{entry.first}")
def test_never_ports_stay_silent_whatever_the_settings_say(entry):
    scope = Scope(ScopeSettings(allow=("10.0.0.7/32", "0.0.0.0/0")))
    for transport in entry.transports:
        for port in (entry.first, entry.last):
            why = scope.permits(Endpoint(transport, "10.0.0.7", port))
            assert why is not None
            assert entry.why in why


@pytest.mark.parametrize(
    ("transport", "port"),
    [(Transport.TCP, port) for port in (*range(9100, 9108), 515, 1720, 502, 102, 20000, 44818, 9600, 1911, 4911, 1217,
                                        2455, 34962, 34963, 34964, 3632)]
    + [(Transport.UDP, port) for port in (67, 68, 546, 547, 47808, 44818, 2222, 20000)],
)  # fmt: skip
def test_the_facts_never_ports(transport, port):
    assert DEFAULT.permits(Endpoint(transport, "127.0.0.1", port)) is not None


def test_ports_beside_the_never_ports_may_be_asked():
    for port in (9099, 9108, 514, 516, 1719, 47808):
        assert DEFAULT.permits(tcp("10.0.0.1", port)) is None
    assert DEFAULT.permits(udp("10.0.0.1", 9100)) is None


@pytest.mark.parametrize("port", [0, -1, 65536])
def test_impossible_ports(port):
    assert DEFAULT.permits(tcp("10.0.0.1", port)) is not None


@pytest.mark.parametrize(
    ("entry", "refused", "admitted"),
    [
        ("10.9.0.0/16", tcp("10.9.1.1"), tcp("10.8.1.1")),
        ("10.9.1.1", tcp("10.9.1.1"), tcp("10.9.1.2")),
        ("10.9.1.1:22", tcp("10.9.1.1", 22), tcp("10.9.1.1", 23)),
        (":22", tcp("10.1.1.1", 22), tcp("10.1.1.1", 23)),
        (":4000/udp", udp("10.1.1.1", 4000), tcp("10.1.1.1", 4000)),
        ("10.9.1.1/tcp", tcp("10.9.1.1"), udp("10.9.1.1")),
        ("[fd00::1]:22", tcp("fd00::1", 22), tcp("fd00::1", 23)),
        ("fd00::/64", tcp("fd00::1"), tcp("fd00:0:0:1::1")),
        ("::1", tcp("::1"), tcp("127.0.0.1")),
    ],
)
def test_exclude(entry, refused, admitted):
    scope = Scope(ScopeSettings(exclude=(entry,)))
    assert "excluded" in (scope.permits(refused) or "")
    assert scope.permits(admitted) is None


@pytest.mark.parametrize(
    "text", ["10.0.0.0/33", "example.org", "10.0.0.1:0", "10.0.0.1:x", ":99999", "[fd00::1]", "[::1"]
)
def test_exclude_that_cannot_be_read(text):
    with pytest.raises(ConfigError, match=r"scope\.exclude"):
        Scope(ScopeSettings(exclude=(text,)))


@pytest.mark.parametrize("key", ["allow", "only"])
def test_networks_that_cannot_be_read(key):
    with pytest.raises(ConfigError, match=rf"scope\.{key}"):
        Scope(ScopeSettings(**{key: ("nonsense",)}))


def test_large_answers_only_inside_the_default_scope():
    scope = Scope(ScopeSettings(allow=("198.51.100.0/24",)))
    assert scope.permits(udp("198.51.100.7")) is None
    assert "large answer" in (scope.permits(udp("198.51.100.7"), amplifies=True) or "")
    assert scope.permits(udp("10.0.0.1"), amplifies=True) is None
    assert scope.in_default("10.0.0.1")
    assert not scope.in_default("198.51.100.7")
    assert not scope.in_default("nonsense")


def test_nobody_outside_the_networks_is_permitted():
    scope = Scope(ScopeSettings(only=("192.0.2.0/24",), allow=("2001:db8::/32",)))
    assert [str(network) for network in scope.networks] == ["192.0.2.0/24", "2001:db8::/32"]
    assert scope.permits(udp("10.0.0.1")) is not None
