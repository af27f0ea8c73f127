from dataclasses import replace

import pytest

from flowsonar import limits
from flowsonar.model import Announcement, Confidence, Evidence, EvidenceKind, FlowKey, Transport
from flowsonar.verdicts.announced import Announced

CLIENT, SERVER = "192.0.2.1", "192.0.2.2"
DATA = Evidence(kind=EvidenceKind.ANNOUNCED, service="ftp", confidence=Confidence.CONFIRMED)
SECOND_NS = 1_000_000_000


def announcement(port: int, *, initiator: str | None = None) -> Announcement:
    return Announcement(
        transport=Transport.TCP,
        responder_address=SERVER,
        responder_port=port,
        initiator_address=initiator,
        evidence=DATA,
    )


def key(port: int, *, client: str = CLIENT, transport: Transport = Transport.TCP) -> FlowKey:
    return FlowKey(transport, client, 40000, SERVER, port)


def opened(announced: Announced, flow: FlowKey, *, midstream: bool = False, now_ns: int = 0) -> Evidence | None:
    return announced.opened(flow, 7, midstream=midstream, now_ns=now_ns)


def test_the_announced_place_and_no_other() -> None:
    announced = Announced()
    announced.announce(announcement(1001), 0)
    assert opened(announced, key(1001)) is DATA
    assert opened(announced, key(1002)) is None
    assert opened(announced, key(1001, transport=Transport.UDP)) is None


def test_who_may_come() -> None:
    announced = Announced()
    announced.announce(announcement(1001, initiator=CLIENT), 0)
    assert opened(announced, key(1001, client="192.0.2.9")) is None
    assert opened(announced, key(1001)) is DATA


def test_a_flow_from_the_middle_may_have_its_sides_swapped() -> None:
    announced = Announced()
    announced.announce(announcement(1001), 0)
    swapped = FlowKey(Transport.TCP, SERVER, 1001, CLIENT, 40000)
    assert opened(announced, swapped) is None
    assert opened(announced, swapped, midstream=True) is DATA


def test_the_announced_side_may_send_the_first_datagram() -> None:
    announced = Announced()
    announced.announce(replace(announcement(1000), transport=Transport.UDP), 0)
    announced.announce(replace(announcement(1001), transport=Transport.UDP, sends=True), 0)
    assert opened(announced, FlowKey(Transport.UDP, SERVER, 1000, CLIENT, 40000)) is None
    assert opened(announced, FlowKey(Transport.UDP, SERVER, 1001, CLIENT, 40000)) is DATA
    assert opened(announced, FlowKey(Transport.UDP, SERVER, 1002, CLIENT, 1001)) is None


def test_announcements_age() -> None:
    announced = Announced()
    announced.announce(announcement(1001), 0)
    end = limits.ANNOUNCEMENT_TTL_S * SECOND_NS
    assert opened(announced, key(1001), now_ns=end) is DATA
    assert opened(announced, key(1001), now_ns=end + 1) is None


def test_the_oldest_goes_first(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits, "ANNOUNCEMENTS", 2)
    announced = Announced()
    for port in (1001, 1002, 1001, 1003):  # 1001 was renewed
        announced.announce(announcement(port), 0)
    assert announced.dropped == 1
    assert [opened(announced, key(port)) for port in (1001, 1002, 1003)] == [DATA, None, DATA]


def test_the_flow_that_came_before_its_announcement(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits, "RECENT_FLOWS", 4)
    announced = Announced()
    assert announced.announce(announcement(1001), 0) is None
    announced.opened(key(1001), 21, midstream=False, now_ns=0)
    announced.opened(key(1001), 22, midstream=False, now_ns=0)
    assert announced.announce(announcement(1001), 0) == 22
    for number, port in enumerate(range(2000, 2009)):
        announced.opened(key(port), number, midstream=False, now_ns=0)
    assert announced.announce(announcement(1001), 0) is None
    assert announced.announce(announcement(2008), 0) == 8
