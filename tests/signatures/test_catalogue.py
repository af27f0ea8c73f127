from flowsonar.model import Confidence, Side, TrafficClass, Transport
from flowsonar.signatures.catalogue import SignatureSet
from flowsonar.signatures.language import Condition, PayloadPattern, Signature


def _signature(service: str, parent: str | None = None) -> Signature:
    return Signature(
        service=service,
        title=service,
        traffic_class=TrafficClass.BULK,
        references=(),
        ports=((Transport.TCP, (7, 8)),),
        tls_ports=(9,),
        alpn=(f"{service}/1",),
        ip_protocols=(len(service),),
        parent=parent,
    )


SET = SignatureSet([_signature("a"), _signature("bb", "a"), _signature("ccc", "bb")], "digest")


def test_what_is_looked_up() -> None:
    assert len(SET) == 3
    assert SET.digest == "digest"
    assert SET.by_port(Transport.TCP, 7) == ("a", "bb", "ccc")
    assert SET.by_port(Transport.UDP, 7) == ()
    assert SET.by_port(Transport.TCP, 9) == ("a", "bb", "ccc")
    assert SET.by_alpn("bb/1") == ("bb",)
    assert SET.by_ip_protocol(3) == "ccc"
    assert SET.by_ip_protocol(4) is None
    assert SET.traffic_class("a") is TrafficClass.BULK
    assert SET.traffic_class("d") is TrafficClass.DEFAULT


def test_services_with_one_number_for_both_transports() -> None:
    assert SET.both_transports == frozenset()
    assert SignatureSet([_signature("a")._replace(both_transports=True)]).both_transports == {"a"}


def test_patterns_of_one_side() -> None:
    patterns = tuple(
        PayloadPattern("a", name, Condition(), Confidence.LIKELY, Transport.TCP, side)
        for name, side in (("asks", Side.INITIATOR), ("answers", Side.RESPONDER), ("either", None))
    )
    one = _signature("a")._replace(payloads=patterns)
    assert SignatureSet([one]).one_sided == {"a/asks": Side.INITIATOR, "a/answers": Side.RESPONDER}
    assert SignatureSet([one._replace(peers=True)]).one_sided == {}


def test_ancestors_come_nearest_first_and_end() -> None:
    assert SET.ancestors("ccc") == ("bb", "a")
    assert SET.ancestors("a") == ()
    assert SignatureSet([_signature("a", "bb"), _signature("bb", "a")]).ancestors("a") == ("bb", "a")
