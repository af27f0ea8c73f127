"""Datagrams beside a connection whose service has one number for both."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from flowsonar.model import Confidence, EvidenceKind, FlowKey, Transport, Verdict
from flowsonar.signatures.catalogue import SignatureSet
from flowsonar.verdicts.sisters import sisters
from flowsonar.verdicts.tracker import Tracker
from tests.verdicts.following import CLIENT, MS, OPAQUE, SERVER, closed, flow_records, opened, payload, stands

KEY = FlowKey(Transport.TCP, CLIENT, 40000, SERVER, 7777)
TINC = Verdict(service="tinc", confidence=Confidence.LIKELY)
HELLO = b"0 alpha 17\n"
UDP = 17


def test_both_ends_of_the_servers_number(signatures: SignatureSet) -> None:
    found = sisters(KEY, TINC, signatures, midstream=False)
    assert {(one.responder_address, one.responder_port, one.initiator_address) for one in found} == {
        (SERVER, 7777, None),
        (CLIENT, 7777, SERVER),
    }
    assert {(one.transport, one.evidence.confidence) for one in found} == {(Transport.UDP, Confidence.LIKELY)}


def test_either_port_may_be_the_servers_in_the_middle(signatures: SignatureSet) -> None:
    found = sisters(KEY, TINC, signatures, midstream=True)
    assert {one.responder_port for one in found} == {7777, 40000}
    assert None not in {one.initiator_address for one in found}


@pytest.mark.parametrize(
    ("key", "verdict"),
    [
        (KEY, Verdict()),
        (KEY, Verdict(service="tinc", confidence=Confidence.GUESS)),
        (KEY, Verdict(service="ssh", confidence=Confidence.CONFIRMED)),
        (KEY._replace(transport=Transport.UDP), TINC),
    ],
)
def test_nothing_is_said_otherwise(key: FlowKey, verdict: Verdict, signatures: SignatureSet) -> None:
    assert sisters(key, verdict, signatures, midstream=False) == ()


@pytest.mark.parametrize("ports", [(7777, 7777), (50000, 7777)])
@pytest.mark.parametrize("late", [False, True])
def test_datagrams_that_say_nothing_are_the_connections(
    make: Callable[..., Tracker], ports: tuple[int, int], late: bool
) -> None:
    tracker = make(ask=False)
    connection = [opened(), stands(), payload(HELLO), payload(HELLO, direction=1)]
    datagrams = [opened(2, at=2 * MS, protocol=UDP, ports=ports), payload(OPAQUE, flow=2, at=2 * MS)]
    tracker.feed([*datagrams, *connection] if late else [*connection, *datagrams])
    tracker.feed([closed(2)])
    label = flow_records(tracker)[0].verdict
    assert (label.service, label.confidence) == ("tinc", Confidence.LIKELY)
    assert label.evidence[0].kind is EvidenceKind.ANNOUNCED


def test_another_number_is_nobodys(make: Callable[..., Tracker]) -> None:
    tracker = make(ask=False)
    tracker.feed([opened(), stands(), payload(HELLO), payload(HELLO, direction=1)])
    tracker.feed([opened(2, protocol=UDP, ports=(7777, 7999)), payload(OPAQUE, flow=2), closed(2)])
    assert flow_records(tracker)[0].verdict.confidence.rank < Confidence.LIKELY.rank
