from flowsonar.model import Confidence, Layer, Transport
from flowsonar.probes.moves import Seen
from flowsonar.probes.ranking import Ranking
from flowsonar.signatures.language import Speaker
from tests.probes.world import SIGNATURES, question

RANKING = Ranking(SIGNATURES)
GET = SIGNATURES.probe("http/get")


def ids(asked, seen, over=None, prior=()):
    return [(probe.id, strong) for probe, strong in RANKING.ranked(asked, seen, over, prior)]


def test_what_points_to_a_service_comes_before_the_general_order_and_nothing_twice():
    ranked = ids(question("10.0.0.9:6379"), Seen())
    assert ranked[:2] == [("redis/ping", True), ("http/get", False)] or ranked[0] == ("redis/ping", True)
    assert ("http/get", False) not in ids(question(), Seen(tried=[(GET, None)]))
    assert ("http/get", False) in ids(question(), Seen(tried=[(GET, Layer.TLS)]))


def test_replies_point_first_then_alpn_then_the_flow_then_the_port():
    asked = question("10.0.0.9:443", candidates=("redis", "tls"))
    seen = Seen(candidates=["echo"], alpn="imap")
    assert RANKING.pointed(asked, seen, Layer.TLS) == ["echo", "imap", "redis", "http", "tls"]
    assert RANKING.pointed(question(candidates=("nobody",)), Seen(), None) == []


def test_what_the_port_had_elsewhere_is_asked_first_with_one_question_and_only_where_nothing_is_known():
    expected = Seen(expected="redis")
    assert ids(question(), expected)[0] == ("redis/ping", True)
    assert ids(question("10.0.0.9:80"), expected)[0] == ("http/get", True), "what the port is for goes first"
    assert ids(question("10.0.0.9:80"), expected)[2] == ("redis/ping", True)
    assert ("redis/ping", True) not in ids(question(), Seen(expected="redis", candidates=["echo"]))
    assert ("redis/ping", True) not in ids(question(), Seen(expected="redis", best=Confidence.LIKELY))
    assert ids(question(), Seen(expected="nobody")) == ids(question(), Seen())


def test_ports_of_services_without_tls():
    assert list(RANKING.plain_services(Transport.TCP, 443)) == []
    assert list(RANKING.plain_services(Transport.TCP, 80)) == ["http"]


def test_who_speaks_first():
    assert list(RANKING.speakers(question("10.0.0.9:22"), Seen(), None)) == [Speaker.SERVER]
