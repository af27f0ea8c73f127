"""What was found before, by tables."""

from flowsonar.model import Endpoint, Transport
from flowsonar.probes import experience
from flowsonar.probes.experience import Experience

TCP, UDP = Transport.TCP, Transport.UDP


def test_nothing_is_expected_where_nothing_was_found():
    assert Experience().expected(Endpoint(TCP, "10.0.0.1", 4444)) == ()


def test_the_same_port_of_the_other_transport_says_most_and_the_network_least():
    known = Experience()
    known.found(Endpoint(UDP, "10.0.0.1", 4444), "skype")
    for host in range(2, 9):
        known.found(Endpoint(TCP, f"10.0.0.{host}", 8080), "http")
    assert known.expected(Endpoint(TCP, "10.0.0.1", 4444)) == ("skype", "http")
    assert known.expected(Endpoint(TCP, "10.0.0.1", 8080))[0] == "http"
    assert known.expected(Endpoint(TCP, "10.0.0.77", 9999)) == ("http",)
    assert known.expected(Endpoint(TCP, "10.9.9.9", 9999)) == ()


def test_what_a_port_had_all_but_always_is_expected_there():
    known = Experience()
    assert known.here(Endpoint(TCP, "fd00::1", 4444)) is None
    known.found(Endpoint(TCP, "10.0.0.1", 4444), "mqtt")
    assert known.here(Endpoint(TCP, "fd00::1", 4444)) == "mqtt", "the host's other address"
    assert known.here(Endpoint(UDP, "10.0.0.1", 4444)) == "mqtt", "the other transport of the same endpoint"
    assert known.here(Endpoint(UDP, "10.0.0.2", 4444)) is None
    assert known.here(Endpoint(TCP, "10.0.0.1", 4445)) is None, "other ports of the host only move the general order"
    known.found(Endpoint(TCP, "10.0.0.3", 4444), "redis")
    assert known.here(Endpoint(TCP, "10.0.0.9", 4444)) is None, "half and half is no expectation"
    assert known.here(Endpoint(TCP, "10.0.0.3", 4444)) == "redis", "what was found at the endpoint itself goes first"


def test_what_was_found_long_ago_fades():
    known = Experience()
    for port in range(5):
        known.found(Endpoint(TCP, "10.0.0.1", 1000 + port), "redis")
    for port in range(100):
        known.found(Endpoint(TCP, "10.0.0.1", 2000 + port), "mqtt")
    assert known.expected(Endpoint(TCP, "10.0.0.1", 9)) == ("mqtt",)


def test_memory_is_bounded(monkeypatch):
    monkeypatch.setattr(experience, "PLACES", 100)
    known = Experience()
    for number in range(1000):
        known.found(Endpoint(TCP, f"10.0.{number % 250}.{number // 250}", number + 1), f"service-{number}")
    assert len(known) == 100
    assert all(len(services) <= experience.SERVICES for services in known._places.values())
