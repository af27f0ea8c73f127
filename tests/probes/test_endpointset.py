from hypothesis import given
from hypothesis import strategies as st

from flowsonar.model import Endpoint, Transport
from flowsonar.probes.endpointset import EndpointSet

ENDPOINTS = st.builds(
    Endpoint,
    st.sampled_from([Transport.TCP, Transport.UDP]),
    st.one_of(st.ip_addresses(v=4, network="10.0.0.0/24"), st.ip_addresses(v=6, network="fd00::/120")).map(str),
    st.sampled_from([1, 80, 65535]),
)


@given(st.lists(ENDPOINTS))
def test_it_is_a_set(endpoints: list[Endpoint]) -> None:
    plain: set[Endpoint] = set()
    packed = EndpointSet()
    for endpoint in endpoints:
        assert (endpoint in packed) == (endpoint in plain)
        assert packed.add(endpoint) == (endpoint not in plain)
        plain.add(endpoint)
        assert len(packed) == len(plain)


def test_four_and_six_and_zones_are_different() -> None:
    packed = EndpointSet()
    packed.add(Endpoint(Transport.TCP, "0.0.0.1", 80))
    assert Endpoint(Transport.TCP, "::1", 80) not in packed
    packed.add(Endpoint(Transport.TCP, "fe80::1%eth0", 80))
    assert Endpoint(Transport.TCP, "fe80::1%eth1", 80) not in packed
