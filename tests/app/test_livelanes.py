from pathlib import Path

import orjson
import pytest

from flowsonar.app.parts import Parts
from flowsonar.config import Settings
from flowsonar.model import Endpoint, Transport
from flowsonar.verdicts import store as stores
from flowsonar.verdicts.store import Store
from tests.app.lanes import Net
from tests.app.livelanes import OWN, Asked, live, same
from tests.needs import CORPUS, needs_corpus, needs_native

pytestmark = needs_native()

CLIENT, SERVER = ("192.0.2.1", 40000), ("198.51.100.7", 4025)
ANSWER = b"HTTP/1.1 200 OK\r\nServer: nginx/1.22.1\r\nContent-Type: text/html\r\nContent-Length: 0\r\n\r\n"
ASKED = [(0, b"GET / HTTP/1.1\r\nHost: a.example\r\nUser-Agent: curl/8\r\nAccept: */*\r\n\r\n"), (1, ANSWER)]
MAIL = [(1, b"220 mail.example ESMTP Postfix\r\n"), (0, b"EHLO there\r\n"), (1, b"250 mail.example\r\n")]

BACKWARDS = {"cassandra", "jsonrpc"}
"""Their clock is set back by years, so that what begins as unknown is known at the end."""


LATER = {"wa_voice", "whatsapp_login_call"}
"""An endpoint becomes known while flows live that were opened before: where nobody is asked, the reference lets them
inherit that when it would have asked, the fast lane does not."""

NOWHERE, EVERYWHERE = ("203.0.113.0/24",), ("0.0.0.0/0", "::/0")


@pytest.fixture(scope="module")
def parts() -> Parts:
    return Parts(Settings())


@pytest.fixture(autouse=True)
def old_captures(monkeypatch: pytest.MonkeyPatch) -> None:
    """The file lets go of what captures of years ago taught: memory keeps it."""
    monkeypatch.setattr(stores, "RELOAD_S", 1e12)
    monkeypatch.setattr(stores, "PENDING_ROWS", 1 << 30)
    monkeypatch.setattr(Store, "_arm", lambda _: True)


@needs_corpus()
def test_live_records_are_those_of_the_reference(parts: Parts, tmp_path: Path) -> None:
    captures = [CORPUS / "skype" / "SkypeIRC.cap"]
    found = sorted(path for path in (CORPUS / "ndpi" / "pcap").glob("*.pcap") if path.stat().st_size < 20_000)
    captures += [path for path in found[::6] if path.stem not in BACKWARDS]
    counts = same(captures, parts, tmp_path)
    assert sum(one["lane_flows"] for one in counts) > sum(one["flows"] for one in counts) / 3


def many(net: Net, count: int) -> None:
    for number in range(count):
        net.conversation((CLIENT[0], CLIENT[1] + number), SERVER, ASKED)


def test_an_answer_makes_its_endpoint_known_to_later_flows(parts: Parts, tmp_path: Path) -> None:
    net = Net()
    many(net, 5)
    capture = tmp_path / "asked.pcap"
    net.write(capture)
    (counts,) = same([capture], parts, tmp_path)
    assert counts["flows"] == counts["lane_flows"] == 5
    lines, _ = live(capture, parts, Store(tmp_path / "other.db"), tmp_path)
    told = [orjson.loads(line) for line in lines if b'"verdict",' in line]
    known = [one for one in told if one["flowsonar"]["evidence"][0]["kind"] == "endpoint"]
    assert {one["app_proto"] for one in told} == {"http"}
    assert len(known) == 4


def test_the_store_hears_of_what_the_fast_lane_learned(parts: Parts, tmp_path: Path) -> None:
    net = Net()
    many(net, 1)
    net.conversation(CLIENT, ("198.51.100.8", 4025), ASKED)
    capture = tmp_path / "two.pcap"
    net.write(capture)
    live(capture, parts, Store(tmp_path / "first.db"), tmp_path)
    store = Store(tmp_path / "second.db")
    _, counts = live(capture, parts, store, tmp_path)
    assert counts["lane_flows"] == 2
    now_s = net.now_us / 1e6
    assert {endpoint.address for endpoint, _ in store.believed(now_s)} == {"198.51.100.7", "198.51.100.8"}


def test_a_flow_that_contradicts_what_is_known(parts: Parts, tmp_path: Path) -> None:
    net = Net()
    many(net, 3)
    for number in range(3):
        net.conversation((CLIENT[0], 50000 + number), SERVER, MAIL)
    many(net, 2)
    capture = tmp_path / "moved.pcap"
    net.write(capture)
    (counts,) = same([capture], parts, tmp_path)
    assert counts["cache_contradicted"]


def test_a_flow_that_comes_to_python_is_not_told_of_twice(parts: Parts, tmp_path: Path) -> None:
    net = Net()
    many(net, 2)
    for number in range(2):
        net.conversation((CLIENT[0], 51000 + number), SERVER, [*ASKED, (0, b"\xff" * 700), (1, b"\xfe" * 700)])
    capture = tmp_path / "left.pcap"
    net.write(capture)
    same([capture], parts, tmp_path)


@needs_corpus()
@pytest.mark.parametrize("networks", [NOWHERE, (), EVERYWHERE], ids=["nowhere", "default", "everywhere"])
def test_who_asks_writes_the_same_and_asks_the_same(parts: Parts, tmp_path: Path, networks: tuple[str, ...]) -> None:
    captures = [CORPUS / "skype" / "SkypeIRC.cap"]
    found = sorted(path for path in (CORPUS / "ndpi" / "pcap").glob("*.pcap") if path.stat().st_size < 20_000)
    captures += [path for path in found[::9] if path.stem not in BACKWARDS | LATER]
    counts = same(captures, parts, tmp_path, networks)
    flows, lane_flows = (sum(one[name] for one in counts) for name in ("flows", "lane_flows"))
    assert lane_flows > flows / (3 if networks == NOWHERE else 12)
    assert any(one["questions"] for one in counts) == (networks != NOWHERE)


def test_flows_of_an_endpoint_that_is_known_for_sure_are_not_followed_by_python(parts: Parts, tmp_path: Path) -> None:
    net = Net()
    many(net, 6)
    capture = tmp_path / "sure.pcap"
    net.write(capture)
    (counts,) = same([capture], parts, tmp_path, EVERYWHERE)
    assert counts["lane_flows"] == 6
    assert counts["questions"] == 0


def test_flows_of_an_endpoint_that_rests_are_not_followed_by_python(parts: Parts, tmp_path: Path) -> None:
    net = Net()
    for number in range(6):
        net.conversation((CLIENT[0], CLIENT[1] + number), SERVER, ASKED[:1])
        net.now_us += 1_000_000
    capture = tmp_path / "rests.pcap"
    net.write(capture)
    (counts,) = same([capture], parts, tmp_path, EVERYWHERE)
    assert counts["questions"] == 0  # in the second run: in the first it was silent
    assert counts["lane_flows"] == 4  # the first one is told to rest when the second has begun


def test_our_own_questions_are_no_flows(parts: Parts, tmp_path: Path) -> None:
    """Not even where the endpoint is known for sure by now."""
    net = Net()
    many(net, 3)
    net.conversation((CLIENT[0], OWN[0]), SERVER, ASKED)
    capture = tmp_path / "own.pcap"
    net.write(capture)
    asked = Asked(*EVERYWHERE)
    asked.ours = [Endpoint(Transport.TCP, CLIENT[0], OWN[0])]
    lines, counts = live(capture, parts, Store(tmp_path / "own.db"), tmp_path, asked)
    assert counts["own_flows"] == 1
    assert not any(b'"src_port":61000' in line for line in lines)
    assert counts["flows"] == 3
