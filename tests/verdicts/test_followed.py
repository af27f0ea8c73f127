"""A flow as it begins: nothing known, nobody asked, TCP not to be asked about before its connection stands."""

from ipaddress import ip_address

import pytest

from flowsonar.flows.events import Opened
from flowsonar.model import UNKNOWN, FlowKey, Transport
from flowsonar.passive.flow import PassiveFlow
from flowsonar.verdicts.followed import Followed


@pytest.mark.parametrize(("protocol", "established"), [(6, False), (17, True), (132, True)])
def test_it_begins_with_nothing(protocol: int, established: bool) -> None:
    ends = (ip_address("10.0.0.2").packed, 40000, ip_address("10.0.0.1").packed, 7777)
    event = Opened(5, 77, protocol, *ends, 0, 0, False)
    flow = Followed(5, FlowKey(Transport.TCP, "10.0.0.2", 40000, "10.0.0.1", 7777), event, PassiveFlow(event))
    assert (flow.flow, flow.first_ns, flow.established) == (5, 77, established)
    assert flow.verdict is UNKNOWN
    assert (flow.asked, flow.waiting, flow.evidence) == ((), None, [])
