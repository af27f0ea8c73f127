"""Control connections by their hosts, and which flows beside them are taken for data."""

from dataclasses import dataclass, field
from ipaddress import ip_address

import pytest

from flowsonar import limits
from flowsonar.flows.events import Opened
from flowsonar.model import Confidence, Endpoint, Evidence, EvidenceKind, FlowKey, Layer, Transport
from flowsonar.passive import PassiveFlow
from flowsonar.verdicts.companions import BESIDE, Companions

CLIENT, SERVER, OTHER = "10.0.0.2", "10.0.0.1", "10.0.0.3"
SERVED = {21, 990, 6379}


def key(
    source: str = CLIENT, port: int = 50000, *, target: str = SERVER, own: int = 40001, over: Transport = Transport.TCP
) -> FlowKey:
    return FlowKey(over, source, own, target, port)


@dataclass
class Flow:
    """What the tracker keeps of a flow, as far as it matters here."""

    flow: int = 2
    key: FlowKey = field(default_factory=key)
    first_ns: int = 100
    midstream: bool = False
    established: bool = True
    beside: bool = True
    evidence: list[Evidence] = field(default_factory=list)
    passive: PassiveFlow = field(
        default_factory=lambda: PassiveFlow(Opened(2, 0, 6, b"", 40001, b"", 50000, 0, 0, False))
    )


def piece(service: str | None, kind: EvidenceKind = EvidenceKind.PAYLOAD, over: Layer | None = None) -> Evidence:
    return Evidence(kind=kind, service=service, confidence=Confidence.LIKELY, over=over)


MS = 1_000_000
SHORT = bytes.fromhex("170303001f") + bytes(31)
REPLY = bytes.fromhex("1703030030") + bytes(48)
AUTH = [piece("ftp", over=Layer.TLS)]


@pytest.fixture
def companions() -> Companions:
    return Companions(lambda endpoint: endpoint.port in SERVED)


@pytest.fixture
def beside(companions: Companions) -> Companions:
    """An encrypted control connection is open."""
    companions.note(Flow(flow=1, first_ns=50, key=key(port=2121), evidence=list(AUTH)), 60)
    return companions


@pytest.fixture
def told(beside: Companions) -> Companions:
    """It has just said something long."""
    beside.spoke(1, 1, REPLY, 99)
    return beside


def claimed(companions: Companions, flow: Flow) -> bool:
    companions.weigh(flow)
    return BESIDE in flow.evidence


@pytest.mark.parametrize(
    "flow",
    [
        Flow(),
        Flow(key=key(SERVER, 40000, target=CLIENT, own=20)),
        Flow(evidence=[piece("tls")]),
        Flow(evidence=[piece(None), piece("gopher", EvidenceKind.PORT)]),
        Flow(evidence=[piece("tls", EvidenceKind.ENDPOINT)]),
    ],
    ids=["passive", "active", "inside TLS", "nothing named", "cached TLS"],
)
def test_what_is_taken_for_data(told: Companions, flow: Flow) -> None:
    assert claimed(told, flow)
    told.ended(1)
    assert claimed(told, flow)
    assert flow.evidence.count(BESIDE) == 1


@pytest.mark.parametrize(
    "flow",
    [
        Flow(flow=1),
        Flow(key=key(OTHER)),
        Flow(key=key(port=6379)),
        Flow(key=key(over=Transport.UDP)),
        Flow(midstream=True),
        Flow(first_ns=49),
        Flow(established=False),
        Flow(beside=False),
        Flow(evidence=[piece("redis")]),
        Flow(evidence=[piece("http", EvidenceKind.ENDPOINT, Layer.TLS)]),
        Flow(evidence=[piece("tls"), piece("http", EvidenceKind.NAME, Layer.TLS)]),
        Flow(evidence=[piece(None)] * limits.EVIDENCE_ITEMS),
    ],
    ids=[
        *("the control connection", "another host", "a service's port", "UDP", "picked up in the middle", "older"),
        *("no connection", "the control connection was quiet", "its own bytes", "cached", "ALPN", "full"),
    ],
)
def test_what_is_not(told: Companions, flow: Flow) -> None:
    assert not claimed(told, flow)


def test_beside_a_control_connection_in_clear_nothing_is_claimed(companions: Companions) -> None:
    for evidence in ([piece("ftp")], [piece("ftp", EvidenceKind.ENDPOINT, Layer.TLS), piece("ftp")]):
        assert not companions.note(Flow(flow=1, first_ns=50, evidence=evidence), 60)
        assert not companions.hidden
        assert companions.announces(key())
        assert not claimed(companions, Flow())
    companions.ended(1)
    assert not companions.announces(key())


def test_a_control_connection_that_changes_to_tls(companions: Companions) -> None:
    assert not companions.note(Flow(flow=1, first_ns=50, evidence=[piece("ftp")]), 60)
    assert companions.note(Flow(flow=1, first_ns=50, evidence=[piece("ftp"), *AUTH]), 60)
    assert not companions.note(Flow(flow=1, first_ns=50, evidence=[piece("ftp"), *AUTH]), 70)
    assert not companions.announces(key())
    assert 1 in companions.hidden[SERVER, CLIENT]


def test_a_data_connection_is_no_control_connection(companions: Companions) -> None:
    assert not companions.note(Flow(evidence=[piece("ftp", EvidenceKind.ANNOUNCED)]), 60)
    assert not companions.note(Flow(evidence=[BESIDE, piece("tls")]), 60)
    assert not companions.hidden
    assert not companions.announces(key())


def test_a_claim_is_withdrawn(told: Companions) -> None:
    both, named, offers = Flow(), Flow(), Flow()
    assert all(claimed(told, flow) for flow in (both, named, offers))
    both.passive.count(0, b"hello")
    both.passive.count(1, b"hello yourself")
    named.evidence.append(piece("redis"))
    offers.passive.alpn = ("h2",)
    assert not any(claimed(told, flow) for flow in (both, named, offers))


def test_control_connections_are_bounded(companions: Companions, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits, "CONTROL_CONNECTIONS", 3)
    for number in range(10):
        address = str(ip_address("10.1.0.0") + number)
        companions.note(Flow(flow=number, key=key(address), evidence=list(AUTH)), 60)
        companions.asking(Flow(flow=number, key=key(address)), Endpoint(Transport.TCP, SERVER, 2121))
    assert len(companions.hidden) == 3
    waiting = [companions.postpones(Flow(key=key(f"10.1.0.{number}"), first_ns=101), 102) for number in range(10)]
    assert waiting == [False] * 7 + [True] * 3


def test_waiting_for_an_older_flow(companions: Companions) -> None:
    suspect = Flow(flow=1, first_ns=50, key=key(port=2121))
    companions.asking(suspect, suspect.key.responder)
    younger = Flow()
    assert companions.postpones(younger, 200)
    assert not companions.postpones(younger, 100 + (limits.COMPANION_WAIT_MS + 1) * 1_000_000)
    assert not companions.postpones(younger, -3600 * 1_000_000_000), "the clock was set back"
    assert not companions.postpones(Flow(first_ns=50), 200)
    assert not companions.postpones(Flow(key=key(OTHER)), 200)
    assert not companions.postpones(Flow(key=key(port=2121)), 200)
    assert not companions.postpones(Flow(evidence=[piece("redis")]), 200)
    assert companions.expects(key())
    companions.answered(suspect)
    companions.answered(suspect)
    assert not companions.expects(key())
    assert not companions.postpones(younger, 200)


def test_who_offers_something_else_is_not_waited_for(companions: Companions) -> None:
    web = Flow(flow=1, first_ns=50, key=key(port=8443))
    web.passive.alpn = ("h2", "http/1.1")
    companions.asking(web, web.key.responder)
    assert not companions.postpones(Flow(), 200)


def test_of_two_hosts_only_some_are_waited_for(companions: Companions) -> None:
    suspects = [Flow(flow=number, first_ns=50, key=key(port=3000 + number)) for number in range(20)]
    for suspect in suspects:
        companions.asking(suspect, suspect.key.responder)
    for suspect in suspects[:8]:
        companions.answered(suspect)
    assert not companions.postpones(Flow(), 200)


@pytest.mark.parametrize(
    ("data", "ends"),
    [
        (bytes.fromhex("1703030013") + bytes(19), True),
        (bytes.fromhex("150303001a") + bytes(26), True),
        (REPLY + bytes.fromhex("1703030013") + bytes(19), True),
        (bytes.fromhex("1703030013") + bytes(19) + REPLY, False),
        (REPLY, False),
        (b"", False),
        (b"226 done\r\n", False),
        (bytes.fromhex("1703030000"), False),
    ],
)
def test_a_control_connection_that_says_that_it_ends(beside: Companions, data: bytes, ends: bool) -> None:
    beside.spoke(1, 1, data, 100)
    beside.spoke(7, 1, data, 100)  # no control connection
    assert beside.is_hidden(1) is not ends
    assert bool(beside.hidden) is not ends


def test_only_some_flows_are_candidates(beside: Companions) -> None:
    assert beside.expects(key())
    assert beside.expects(key(SERVER, 40000, target=CLIENT, own=20))
    assert not beside.expects(key(OTHER))
    beside.ended(1)
    assert not beside.expects(key())


WINDOW = limits.CONTROL_SPOKE_MS * MS
LATE = 100 * MS


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        ([], False),
        ([(1, REPLY, LATE - 1)], True),
        ([(1, REPLY, LATE - 1), (0, SHORT, LATE - 1)], True),
        ([(1, REPLY, LATE - 2), (1, SHORT, LATE - 1)], False),
        ([(1, REPLY, LATE - 2), (1, SHORT, LATE + 1)], True),
        ([(1, SHORT, LATE + 1), (1, REPLY, LATE - 2)], True),
        ([(0, SHORT, LATE - 1)], False),
        ([(0, SHORT, LATE - 1), (0, SHORT, LATE + 1)], True),
        ([(0, SHORT, LATE + 1)], False),
    ],
    ids=[
        *("silence", "a port", "a port, the client goes on", "a port, then the end", "the end later"),
        *("the same, two interfaces", "client alone: QUIT", "client alone: a transfer", "client alone: later"),
    ],
)
def test_what_the_control_connection_said_before(
    beside: Companions, words: list[tuple[int, bytes, int]], expected: bool
) -> None:
    for direction, data, at in words:
        beside.spoke(1, direction, data, at)
    assert claimed(beside, Flow(first_ns=LATE)) is expected
    assert not claimed(beside, Flow(first_ns=LATE + WINDOW + 2))
    active = Flow(first_ns=LATE, key=key(SERVER, 40000, target=CLIENT))
    assert claimed(beside, active) is any(at <= LATE for _, _, at in words)


def test_the_words_are_bounded(beside: Companions) -> None:
    for at in range(1000):
        beside.spoke(1, 1, REPLY, at)
    (control,) = beside.hidden[min(SERVER, CLIENT), max(CLIENT, SERVER)].values()
    assert [word[0] for word in control.words] == list(range(984, 1000))


def test_before_a_control_connection_is_known_nobody_hears_it(companions: Companions) -> None:
    companions.note(Flow(flow=1, first_ns=50, key=key(port=990), evidence=list(AUTH)), 200)
    assert claimed(companions, Flow(first_ns=100))
    assert not claimed(companions, Flow(first_ns=201))


def test_several_control_connections(beside: Companions) -> None:
    beside.note(Flow(flow=3, first_ns=70, key=key(port=2122), evidence=list(AUTH)), 80)
    beside.spoke(3, 1, SHORT, LATE - 1)
    assert claimed(beside, Flow(first_ns=LATE)) is False
    beside.spoke(1, 1, REPLY, LATE - 2)
    assert claimed(beside, Flow(first_ns=LATE))


def test_of_a_control_connection_from_the_middle_roles_are_not_known(companions: Companions) -> None:
    companions.note(Flow(flow=1, first_ns=50, midstream=True, key=key(port=2121), evidence=list(AUTH)), 60)
    companions.spoke(1, 1, SHORT, 99)
    assert claimed(companions, Flow())


def test_where_only_the_client_is_heard_its_next_word_is_waited_for(beside: Companions) -> None:
    flow = Flow(first_ns=LATE)
    assert not beside.postpones(flow, LATE + 1)
    beside.spoke(1, 0, SHORT, LATE - 1)
    assert beside.postpones(flow, LATE + 1)
    assert not beside.postpones(flow, LATE + 1 + limits.COMPANION_WAIT_MS * MS)
    beside.spoke(1, 1, SHORT, LATE - 1)
    assert not beside.postpones(flow, LATE + 1)
