"""What only the cache and one flow decide; `test_tracker_answers` goes through the rest of it."""

from collections.abc import Iterable
from ipaddress import ip_address
from pathlib import Path

import pytest

from flowsonar.flows.events import Opened
from flowsonar.model import Confidence, Endpoint, Evidence, EvidenceKind, FlowKey, Side, Transport
from flowsonar.passive.flow import PassiveFlow
from flowsonar.signatures import SignatureSet
from flowsonar.verdicts.followed import Followed
from flowsonar.verdicts.fusion import fuse
from flowsonar.verdicts.inheritance import Inheritance
from flowsonar.verdicts.store import Store

SERVER = Endpoint(Transport.TCP, "10.0.0.1", 7777)
SAID = Evidence(kind=EvidenceKind.PAYLOAD, service="ssh", confidence=Confidence.CONFIRMED, side=Side.RESPONDER)


def opened(*, midstream: bool = False) -> Followed:
    ends = (ip_address("10.0.0.2").packed, 40000, ip_address(SERVER.address).packed, SERVER.port)
    event = Opened(5, 77, 6, *ends, 0, 0, midstream)
    return Followed(
        5, FlowKey(Transport.TCP, "10.0.0.2", 40000, SERVER.address, SERVER.port), event, PassiveFlow(event)
    )


class Made:
    def __init__(self, signatures: SignatureSet, folder: Path) -> None:
        self.signatures = signatures
        self.store = Store(folder / "verdicts.db")
        self.counts = {"cache_contradicted": 0}
        self.inheritance = Inheritance(
            signatures, self.store, self._add, served=lambda endpoint: endpoint == SERVER, counts=self.counts
        )

    def _add(self, flow: Followed, evidence: Iterable[Evidence], _now_ns: int) -> None:
        flow.evidence += evidence
        flow.verdict = fuse(flow.evidence, self.signatures.traffic_class, None, self.signatures.parents)


@pytest.fixture
def made(signatures: SignatureSet, tmp_path: Path) -> Made:
    return Made(signatures, tmp_path)


@pytest.mark.parametrize("midstream", [False, True])
def test_what_a_responder_said_labels_the_next_flow(made: Made, midstream: bool) -> None:
    first, second = opened(midstream=midstream), opened()
    made._add(first, [SAID], 0)
    learned = made.inheritance.learn(first, 1)
    made.inheritance.give_cached(second, 2)
    if midstream:  # who began is not sure, so who said it is not
        assert learned is None
        assert (second.evidence, second.from_cache) == ([], None)
    else:
        assert learned is not None
        assert (learned.service, second.verdict.service, second.from_cache) == ("ssh", "ssh", SERVER)
        assert second.informed


def test_a_likely_word_is_not_learned(made: Made) -> None:
    flow = opened()
    made._add(flow, [SAID._replace(confidence=Confidence.LIKELY)], 0)
    assert made.inheritance.learn(flow, 1) is None
    assert made.store.verdict(SERVER, 0) is None


def test_what_a_flow_contradicts_is_forgotten_and_labels_it_no_longer(made: Made) -> None:
    first, second = opened(), opened()
    made._add(first, [SAID], 0)
    made.inheritance.learn(first, 1)
    made.inheritance.give_cached(second, 2)
    made.inheritance.check(second)
    assert (second.from_cache, made.counts["cache_contradicted"]) == (SERVER, 0)
    made._add(second, [SAID._replace(service="smtp")], 3)
    made.inheritance.check(second)
    assert (second.from_cache, made.counts["cache_contradicted"]) == (None, 1)
    assert [piece.service for piece in second.evidence] == ["smtp"]
    assert made.store.verdict(SERVER, 0) is None
