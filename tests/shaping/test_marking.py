from collections.abc import Sequence

import pytest

from flowsonar.model import Confidence, Endpoint, FlowKey, MarkAction, TrafficClass, Transport, Verdict
from flowsonar.shaping.marking import ENDPOINT_S, FLOW_S, RENEW_S, Marker
from flowsonar.shaping.nftmessages import ALIVE, Operation, Place, Put
from flowsonar.shaping.nftrules import CLEAR, LEFT
from flowsonar.shaping.policy import Policy
from flowsonar.shaping.policyfile import parse_policy

KEY = FlowKey(Transport.UDP, "10.0.0.5", 40000, "192.0.2.9", 5004)
RTP = Verdict(service="rtp", traffic_class=TrafficClass.REALTIME, confidence=Confidence.LIKELY)
TORRENT = Verdict(service="bittorrent", traffic_class=TrafficClass.BULK, confidence=Confidence.CONFIRMED)
GUESS = Verdict(service="rtp", traffic_class=TrafficClass.REALTIME, confidence=Confidence.GUESS)
EF, LE = 0xB9020020, 0x05060060


class Kernel:
    """Does what the kernel does: refuses nothing, forgets what has timed out."""

    def __init__(self) -> None:
        self.now_s = 1000.0
        self.elements: dict[Place, tuple[int | None, float]] = {}
        self.batches: list[list[Operation]] = []

    def clock(self) -> float:
        return self.now_s

    def apply(self, operations: Sequence[Operation]) -> int:
        self.batches.append(list(operations))
        for one in operations:
            if isinstance(one, Put):
                known = self.elements.get(one.place)
                assert known is None or known[1] <= self.now_s or known[0] == one.value, "there with another value"
                self.elements[one.place] = (one.value, self.now_s + one.timeout_ms / 1000)
            elif one.place not in ALIVE:
                assert self.elements.pop(one.place)[1] > self.now_s, "gone already"
        return 0

    def values(self, name: str) -> list[int | None]:
        return [
            value for place, (value, until_s) in self.elements.items() if place.map == name and until_s > self.now_s
        ]


@pytest.fixture
def kernel() -> Kernel:
    return Kernel()


def marker(kernel: Kernel, policy: Policy | None = None) -> Marker:
    return Marker(policy or Policy(), kernel.apply, peers=lambda name: name == "bittorrent", clock=kernel.clock)


def decide(made: Marker, verdict: Verdict, number: int = 1, key: FlowKey = KEY) -> None:
    made.decided(number, key, verdict, now_ns=2_000_000, first_ns=1_000_000)
    made.flush(3_000_000)


def test_a_flow_is_marked_in_both_directions_once(kernel: Kernel) -> None:
    made = marker(kernel)
    decide(made, RTP)
    decide(made, RTP._replace(confidence=Confidence.CONFIRMED))
    assert kernel.values("flows4") == [EF, EF]
    assert len(kernel.batches) == 1
    (record,) = made.records
    assert record.action is MarkAction.MARKED
    assert (record.traffic_class, record.dscp, record.mark) == (TrafficClass.REALTIME, 46, 0xB9020000)
    assert record.rule == "class realtime"
    assert record.mark_ms == 1.0
    assert made.counts["flows_marked"] == 1
    assert made.classes() == {TrafficClass.REALTIME: 1}


def test_a_label_that_changes_marks_anew(kernel: Kernel) -> None:
    made = marker(kernel)
    decide(made, RTP)
    decide(made, TORRENT)
    assert kernel.values("flows4") == [LE, LE]
    assert made.records[1].action is MarkAction.REMARKED
    assert made.records[1].before is TrafficClass.REALTIME


def test_a_label_that_is_taken_back_clears(kernel: Kernel) -> None:
    made = marker(kernel)
    decide(made, RTP)
    decide(made, GUESS)
    assert kernel.values("flows4") == [CLEAR, CLEAR]
    assert made.records[1].action is MarkAction.CLEARED
    assert made.classes() == {}
    decide(made, RTP)
    assert made.records[2].action is MarkAction.MARKED
    assert kernel.values("flows4") == [EF, EF]


def test_a_guess_marks_nothing(kernel: Kernel) -> None:
    made = marker(kernel)
    decide(made, GUESS)
    assert kernel.batches == []
    assert made.records == []


def test_changes_within_one_batch(kernel: Kernel) -> None:
    made = marker(kernel)
    for verdict in (RTP, TORRENT, GUESS, RTP):
        made.decided(1, KEY, verdict, now_ns=1, first_ns=2)
    made.flush(3)
    assert kernel.values("flows4") == [EF, EF]
    assert made.records[0].mark_ms == 0.0  # the clock went back


def test_what_times_out_is_not_dropped(kernel: Kernel) -> None:
    made = marker(kernel)
    decide(made, RTP)
    kernel.now_s += FLOW_S + 1
    decide(made, TORRENT)
    assert kernel.values("flows4") == [LE, LE]
    kernel.now_s += FLOW_S + 1
    made.ended(1)
    made.flush(4)


def test_a_flow_that_ends_leaves_the_map(kernel: Kernel) -> None:
    made = marker(kernel)
    decide(made, RTP)
    made.ended(1)
    made.ended(1)
    made.flush(4)
    assert kernel.elements == {}


@pytest.mark.parametrize("transport", [Transport.ICMP, Transport.ESP])
def test_what_has_no_ports_is_left_alone(kernel: Kernel, transport: Transport) -> None:
    made = marker(kernel)
    decide(made, RTP, key=KEY._replace(transport=transport))
    assert kernel.batches == []


ENDPOINT = Endpoint(Transport.UDP, "192.0.2.9", 5004)


def learn(made: Marker, verdict: Verdict, lives_s: float = 3600) -> None:
    made.learned(ENDPOINT, verdict, now_ns=1, lives_s=lives_s)
    made.flush(2)


def test_an_endpoint_is_there_before_its_flows(kernel: Kernel) -> None:
    made = marker(kernel)
    learn(made, RTP)
    learn(made, RTP)
    assert kernel.values("endpoints4") == [EF]
    assert kernel.values("peers4") == []
    assert made.counts["endpoints_marked"] == 1
    assert made.records[0].flow_id == 0
    assert made.records[0].mark_ms is None
    made.forgot(ENDPOINT)
    made.flush(3)
    assert kernel.values("endpoints4") == []


def test_a_peer_marks_what_it_begins_too(kernel: Kernel) -> None:
    made = marker(kernel)
    learn(made, TORRENT)
    assert kernel.values("endpoints4") == [LE]
    assert kernel.values("peers4") == [LE]


def test_an_endpoint_that_turns_out_otherwise(kernel: Kernel) -> None:
    made = marker(kernel)
    learn(made, TORRENT)
    learn(made, RTP)
    assert kernel.values("endpoints4") == [EF]
    assert kernel.values("peers4") == []
    learn(made, GUESS)
    assert kernel.elements == {}


def test_a_flow_to_a_known_endpoint_can_be_cleared(kernel: Kernel) -> None:
    made = marker(kernel)
    learn(made, RTP)
    decide(made, GUESS)
    assert kernel.values("flows4") == [CLEAR, CLEAR]


def test_endpoints_whose_flows_differ_have_no_element(kernel: Kernel) -> None:
    made = marker(kernel, parse_policy('[[rule]]\nname = "a.example"\nclass = "bulk"\n', "p.toml"))
    learn(made, RTP)
    assert kernel.elements == {}


def test_while_we_live_endpoints_are_renewed_and_after_that_not(kernel: Kernel) -> None:
    made = marker(kernel)
    learn(made, RTP)
    for _ in range(30):
        kernel.now_s += RENEW_S
        made.beat()
        made.flush(3)
    assert kernel.values("endpoints4") == [EF]
    assert len(kernel.values("alive")) == 2
    kernel.now_s += ENDPOINT_S
    assert kernel.values("endpoints4") == []
    assert kernel.values("alive") == []


def test_a_verdict_that_is_not_believed_any_more_goes(kernel: Kernel) -> None:
    made = marker(kernel)
    learn(made, RTP, lives_s=90)
    kernel.now_s += 61
    made.beat()
    kernel.now_s += 61
    made.beat()
    made.flush(3)
    assert kernel.values("endpoints4") == []


def test_what_is_announced_is_there_for_a_minute_and_never_over_what_is_known(kernel: Kernel) -> None:
    made = marker(kernel)
    made.foretold(ENDPOINT, RTP, now_ns=1)
    made.flush(2)
    assert kernel.values("endpoints4") == [EF]
    kernel.now_s += 61
    made.beat()
    made.flush(3)
    assert kernel.values("endpoints4") == []
    learn(made, TORRENT)
    made.foretold(ENDPOINT, RTP, now_ns=1)
    made.flush(4)
    assert kernel.values("endpoints4") == [LE]


def test_what_a_rule_leaves_is_not_unknown_either(kernel: Kernel) -> None:
    rule = '[[rule]]\nservice = "rtp"\nclass = "leave"\n'
    made = marker(kernel, parse_policy(rule, "p.toml"))
    decide(made, RTP)
    assert kernel.elements == {}  # without a mark it is left as it is anyway
    made = marker(kernel, parse_policy('unknown = "bulk"\n' + rule, "p.toml"))
    decide(made, RTP)
    decide(made, RTP)
    assert kernel.values("flows4") == [LEFT, LEFT]
    assert made.counts["flows_cleared"] == 1
    decide(made, GUESS)
    assert kernel.values("flows4") == [CLEAR, CLEAR]


def test_a_new_table_is_filled_again(kernel: Kernel) -> None:
    made = marker(kernel)
    learn(made, RTP)
    decide(made, TORRENT)
    kernel.elements.clear()
    made.refill()
    made.flush(3)
    assert kernel.values("endpoints4") == [EF]
    assert kernel.values("flows4") == [LE, LE]
    assert len(made.records) == 2


def test_what_does_not_fit_is_counted() -> None:
    made = Marker(Policy(), len)
    decide(made, RTP)
    assert made.counts["marks_refused"] == 2
