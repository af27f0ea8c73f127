"""Which side of a flow is asked; when is tested with the tracker, which feeds it."""

import pytest

from flowsonar.model import Confidence, FlowKey, Layer, Transport, Verdict
from flowsonar.verdicts.inquiry import is_opaque, sides

TCP, UDP = Transport.TCP, Transport.UDP


@pytest.mark.parametrize(
    ("transport", "ports", "midstream", "expected"),
    [
        (TCP, (40000, 7777), False, [7777]),
        (TCP, (22, 7777), False, [7777]),
        (TCP, (22, 40000), True, [22, 40000]),
        (TCP, (40000, 22), True, [22, 40000]),
        (TCP, (7777, 40000), True, [7777, 40000]),
        (TCP, (40000, 7777), True, [7777, 40000]),
        (UDP, (40000, 53), False, [53]),
        (UDP, (0, 7777), False, [7777]),
        (UDP, (40000, 7777), False, [7777, 40000]),
    ],
)
def test_sides(transport: Transport, ports: tuple[int, int], midstream: bool, expected: list[int]) -> None:
    key = FlowKey(transport, "10.0.0.2", ports[0], "10.0.0.1", ports[1])
    found = sides(key, midstream=midstream, served=lambda endpoint: endpoint.port < 1024)
    assert [endpoint.port for endpoint in found] == expected
    assert all(endpoint.transport is transport for endpoint in found)


def test_a_carrier_that_nobody_looked_into_is_opaque() -> None:
    assert is_opaque(Verdict(service="tls", confidence=Confidence.CONFIRMED))
    assert not is_opaque(Verdict(service="http", over=Layer.TLS))
    assert not is_opaque(Verdict())
