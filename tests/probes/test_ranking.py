from flowsonar.model import Layer, Transport
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


def test_ports_of_services_without_tls():
    assert list(RANKING.plain_services(Transport.TCP, 443)) == []
    assert list(RANKING.plain_services(Transport.TCP, 80)) == ["http"]


def test_who_speaks_first():
    assert list(RANKING.speakers(question("10.0.0.9:22"), Seen(), None)) == [Speaker.SERVER]
