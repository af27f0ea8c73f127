import pytest

from flowsonar.app.known import UNSURE, Known
from flowsonar.app.lanes import LaneTable
from flowsonar.app.parts import Parts
from flowsonar.config import FlowSettings, Settings
from flowsonar.flows.table import make_table
from flowsonar.model import Confidence, Endpoint, Evidence, EvidenceKind, Outcome, Side, Transport, Verdict
from flowsonar.verdicts.store import Store
from tests.needs import needs_native

pytestmark = needs_native()

WEB = Endpoint(Transport.TCP, "198.51.100.7", 8080)
PROOF = Evidence(EvidenceKind.PAYLOAD, "http", Confidence.CONFIRMED, Side.RESPONDER, data=b"HTTP/1.1 200 OK")
HTTP = Verdict(service="http", product="nginx", confidence=Confidence.CONFIRMED, evidence=(PROOF,))
LIFE_S = 86400
NOW_S = 1_700_000_000.0


class Told:
    """A table that notes what it is told."""

    def __init__(self, table: LaneTable) -> None:
        self._table = table
        self.knows: dict[tuple[bytes, int, int], tuple[int, int, int]] = {}
        self.leaves: dict[tuple[bytes, int, int], int] = {}
        self.settled: list[int] = []

    def know(self, address: bytes, port: int, protocol: int, number: int, until_s: int, renew_s: int) -> None:
        self.knows[address, port, protocol] = number, until_s, renew_s
        self._table.know(address, port, protocol, number, until_s, renew_s)

    def leave(self, address: bytes, port: int, protocol: int, until_s: int) -> None:
        self.leaves[address, port, protocol] = until_s
        self._table.leave(address, port, protocol, until_s)

    def settle(self, verdict: int) -> None:
        self.settled.append(verdict)
        self._table.settle(verdict)

    def __getattr__(self, name: str) -> object:
        return getattr(self._table, name)


@pytest.fixture(scope="module")
def parts() -> Parts:
    return Parts(Settings())


@pytest.fixture
def told(parts: Parts) -> Told:
    table = make_table(FlowSettings(capacity=16), lanes=parts.lane_tables)
    table.live(1, LIFE_S)  # type: ignore[attr-defined]
    return Told(table)  # type: ignore[arg-type]


PLACE = bytes([198, 51, 100, 7]), 8080, 6


def test_what_is_learned_and_forgotten_is_told_to_the_table(parts: Parts, told: Told, tmp_path: object) -> None:
    store = Store(f"{tmp_path}/v.db")
    known = Known(store, told, parts.signatures)  # type: ignore[arg-type]
    known.learned(WEB, HTTP, NOW_S)
    number, until_s, renew_s = told.knows[PLACE]
    assert number
    assert (until_s, renew_s) == (int(NOW_S) + LIFE_S, int(NOW_S) + LIFE_S // 10)
    assert known.began(number).verdict == HTTP._replace(evidence=())
    assert known.learnings == [(WEB, HTTP)]
    known.failed(WEB, Outcome.REFUSED, NOW_S)  # still believed; but what it says is news
    assert told.knows[PLACE] == (number, until_s, 0)
    known.forget(WEB)
    assert told.knows[PLACE] == (0, 0, 0)
    store.close()


def test_what_the_store_believes_is_told_at_the_start(parts: Parts, told: Told, tmp_path: object) -> None:
    store = Store(f"{tmp_path}/v.db")
    store.learned(WEB, HTTP, NOW_S)
    store.learned(WEB._replace(port=1), HTTP, NOW_S - 2 * LIFE_S)
    Known(store, told, parts.signatures).load(NOW_S + 1)  # type: ignore[arg-type]
    assert list(told.knows) == [PLACE]
    store.close()


def test_one_text_proves_one_thing(parts: Parts, told: Told, tmp_path: object) -> None:
    store = Store(f"{tmp_path}/v.db")
    known = Known(store, told, parts.signatures)  # type: ignore[arg-type]
    number = told._table.add_verdict(b'"proto":"TCP"')
    text = b'"proto":"TCP"'
    assert known.proves(number, text, Transport.TCP, HTTP)
    assert known.proves(number, text, Transport.TCP, HTTP._replace(evidence=(PROOF._replace(data=b"other"),)))
    assert not known.proves(number, text, Transport.TCP, None)
    table = make_table(FlowSettings(capacity=16), lanes=parts.lane_tables)
    table.live(1, LIFE_S)  # type: ignore[attr-defined]
    other = Known(store, Told(table), parts.signatures)  # type: ignore[arg-type]
    other.recall(known.keep())
    assert not other.proves(table.add_verdict(text), text, Transport.TCP, None)  # type: ignore[attr-defined]
    with pytest.raises(ValueError, match="char"):
        other.recall(b"[")
    store.close()


def test_without_a_store_nothing_is_known(parts: Parts, told: Told) -> None:
    known = Known(None, told, parts.signatures)  # type: ignore[arg-type]
    known.learned(WEB, HTTP, NOW_S)
    known.load(NOW_S)
    known.hear(NOW_S)
    assert known.verdict(WEB, NOW_S) is None
    assert known.may_ask(WEB, NOW_S)
    assert not told.knows


def test_what_would_be_taken_for_a_hole_is_for_python(parts: Parts, told: Told, tmp_path: object) -> None:
    store = Store(f"{tmp_path}/v.db")
    known = Known(store, told, parts.signatures)  # type: ignore[arg-type]
    known.learned(WEB, HTTP._replace(product="a\x05b"), NOW_S)
    assert told.knows[PLACE][0] == 0xFFFF
    store.close()


@pytest.mark.parametrize(
    "arguments",
    [(b"123", 1, 6, 0, 0, 0), (b"1234", 1, 6, 1, 0, 0)],
    ids=["address", "number"],
)
def test_the_table_refuses_what_is_not_well_formed(told: Told, arguments: tuple[object, ...]) -> None:
    with pytest.raises(ValueError, match="an address has"):
        told._table.know(*arguments)  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="not a mark"):
        told._table.add_known(b"short", 0, 0, 0)
    with pytest.raises(ValueError, match="no such verdict"):
        told._table.add_known(bytes(16), 99, 0, 0)
    with pytest.raises(ValueError, match="no such verdict"):
        told._table.teach(99, 0)


def test_a_table_that_is_not_live_knows_nothing(parts: Parts) -> None:
    table = make_table(FlowSettings(capacity=16), lanes=parts.lane_tables)
    with pytest.raises(RuntimeError):
        table.teach(1, 1)  # type: ignore[attr-defined]


def test_who_rests_is_left_alone_by_the_table(parts: Parts, told: Told, tmp_path: object) -> None:
    known = Known(Store(f"{tmp_path}/v.db"), told, parts.signatures)  # type: ignore[arg-type]
    assert known.may_ask(WEB, NOW_S)
    assert not told.leaves
    known.failed(WEB, Outcome.SILENT, NOW_S)
    assert not known.may_ask(WEB, NOW_S + 1)
    assert told.leaves[PLACE] > NOW_S


def test_what_is_sure_leaves_nothing_to_ask(parts: Parts, told: Told) -> None:
    known = Known(None, told, parts.signatures)  # type: ignore[arg-type]
    number = told.add_verdict(b'"proto":"TCP","sure":1')  # type: ignore[operator]
    known.settles(number, HTTP, b'"proto":"TCP","sure":1')
    assert told.settled == [number]
    for verdict in (HTTP._replace(confidence=Confidence.LIKELY), HTTP._replace(service="tls")):
        known.settles(number + 1, verdict)  # may be asked
    known.settles(number + 1, HTTP._replace(service="bittorrent"))  # of peers: who speaks with them is remembered
    assert told.settled == [number]
    other = Known(None, told, parts.signatures)  # type: ignore[arg-type]
    other.recall(known.keep())
    assert told.settled == [number, number]


def test_a_socket_of_ours_is_for_python(parts: Parts, told: Told) -> None:
    Known(None, told, parts.signatures).own(WEB)  # type: ignore[arg-type]
    assert told.knows[PLACE][0] == UNSURE


@pytest.mark.parametrize("wrong", [b"x", bytes(17) + b"\5", bytes(16) + b"\x21\4", (bytes(17) + b"\4") * 257])
def test_networks_that_are_none_are_refused(told: Told, wrong: bytes) -> None:
    with pytest.raises(ValueError, match="networks"):
        told.ask(wrong)  # type: ignore[operator]
