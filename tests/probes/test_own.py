import pytest

from flowsonar.model import Endpoint, FlowKey, Transport
from flowsonar.probes import own
from flowsonar.probes.own import OWN_LINGER_S, OwnTraffic, canonical

TARGET = Endpoint(Transport.TCP, "10.0.0.9", 80)
OURS = FlowKey(Transport.TCP, "10.0.0.1", 40000, "10.0.0.9", 80)
SWAPPED = FlowKey(Transport.TCP, "10.0.0.9", 80, "10.0.0.1", 40000, vlan=7)


@pytest.mark.parametrize("key", [OURS, SWAPPED])
def test_ours_from_registration_until_the_linger_time_is_over(key):
    registry = OwnTraffic()
    assert not registry.is_own(key, 0)
    ours = registry.register("10.0.0.1", 40000, TARGET)
    assert registry.is_own(key, 1e9)
    registry.release(ours, 100)
    assert registry.is_own(key, 100 + OWN_LINGER_S - 0.1)
    assert not registry.is_own(key, 100 + OWN_LINGER_S)


@pytest.mark.parametrize(
    "key",
    [
        FlowKey(Transport.UDP, "10.0.0.1", 40000, "10.0.0.9", 80),
        FlowKey(Transport.TCP, "10.0.0.1", 40001, "10.0.0.9", 80),
        FlowKey(Transport.TCP, "10.0.0.2", 40000, "10.0.0.9", 80),
        FlowKey(Transport.TCP, "10.0.0.1", 80, "10.0.0.9", 40000),
    ],
)
def test_others_are_not_ours(key):
    registry = OwnTraffic()
    registry.register("10.0.0.1", 40000, TARGET)
    assert not registry.is_own(key, 0)


def test_a_port_used_again_is_ours_again():
    registry = OwnTraffic()
    ours = registry.register("10.0.0.1", 40000, TARGET)
    registry.release(ours, 0)
    registry.register("10.0.0.1", 40000, TARGET)
    assert registry.is_own(OURS, 1000)
    assert len(registry) == 1


def test_spellings_of_an_address_are_one():
    registry = OwnTraffic()
    registry.register("::ffff:10.0.0.1", 40000, Endpoint(Transport.TCP, "::ffff:10.0.0.9", 80))
    assert registry.is_own(OURS, 0)
    assert canonical("FE80:0::1%eth0") == "fe80::1"


def test_memory_is_bounded(monkeypatch):
    monkeypatch.setattr(own, "OWN_FLOWS", 10)
    registry = OwnTraffic()
    for port in range(1000, 1030):
        registry.release(registry.register("10.0.0.1", port, TARGET), 0)
    registry.register("10.0.0.1", 2000, TARGET)
    assert len(registry) == 10
    assert registry.forgotten == 21
    assert registry.is_own(FlowKey(Transport.TCP, "10.0.0.1", 2000, "10.0.0.9", 80), 0)


def test_ended_flows_are_forgotten_in_time():
    registry = OwnTraffic()
    for second in range(200):
        registry.release(registry.register("10.0.0.1", 1000 + second, TARGET), float(second))
    assert len(registry) == OWN_LINGER_S


def test_who_listens_is_told_of_each_socket_before_its_first_packet():
    registry, told = OwnTraffic(), []
    registry.told = told.append
    registry.register("::ffff:10.0.0.1", 40000, TARGET)
    assert told == [Endpoint(Transport.TCP, "10.0.0.1", 40000)]
