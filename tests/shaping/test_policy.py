from ipaddress import ip_network

import pytest

from flowsonar.model import (
    ENCRYPTED,
    Confidence,
    Endpoint,
    Evidence,
    EvidenceKind,
    FlowKey,
    TrafficClass,
    Transport,
    Verdict,
)
from flowsonar.shaping.classes import DSCP
from flowsonar.shaping.policy import BUILT_IN, Decision, Facts, Policy, Rule, about_endpoint, about_flow
from flowsonar.signatures import load_signatures

KEY = FlowKey(Transport.TCP, "10.0.0.5", 40000, "192.0.2.9", 443)
HTTP = Verdict(
    service="http",
    traffic_class=TrafficClass.DEFAULT,
    confidence=Confidence.LIKELY,
    name="cdn.video.example",
    product="nginx",
)


def outcome(decision: Decision | None) -> tuple[str, str] | None:
    if decision is None or decision.treatment is None:
        return None
    return decision.treatment.shaped.name.value, next(
        name for name, value in DSCP.items() if value == decision.treatment.dscp
    )


def verdict(service: str, traffic_class: TrafficClass, confidence: Confidence = Confidence.CONFIRMED) -> Verdict:
    return Verdict(service=service, traffic_class=traffic_class, confidence=confidence)


@pytest.mark.parametrize(
    ("service", "traffic_class", "expected"),
    [
        ("rtp", TrafficClass.REALTIME, ("realtime", "EF")),
        ("sip", TrafficClass.REALTIME, ("realtime", "CS5")),
        ("bgp", TrafficClass.CONTROL, ("control", "CS6")),
        ("dns", TrafficClass.CONTROL, ("control", "CS2")),
        ("zoom", TrafficClass.REALTIME, ("realtime", "AF41")),
        ("minecraft", TrafficClass.REALTIME, ("realtime", "CS4")),
        ("ssh", TrafficClass.INTERACTIVE, ("interactive", "AF21")),
        ("bittorrent", TrafficClass.BULK, ("bulk", "LE")),
    ],
)
def test_without_a_file_the_rfcs_say_what_happens(
    service: str, traffic_class: TrafficClass, expected: tuple[str, str]
) -> None:
    assert outcome(Policy().decide(about_flow(KEY, verdict(service, traffic_class)))) == expected


@pytest.mark.parametrize("confidence", [Confidence.GUESS, Confidence.UNKNOWN])
def test_a_guess_never_moves_a_packet(confidence: Confidence) -> None:
    rule = Rule(line=1, services=("rtp",), target=TrafficClass.REALTIME)
    facts = about_flow(KEY, verdict("rtp", TrafficClass.REALTIME, confidence))
    decision = Policy(rules=(rule,)).decide(facts)
    assert decision is not None
    assert decision.treatment is None


def test_likely_can_be_too_little() -> None:
    facts = about_flow(KEY, verdict("rtp", TrafficClass.REALTIME, Confidence.LIKELY))
    assert outcome(Policy().decide(facts)) == ("realtime", "EF")
    assert outcome(Policy(confidence=Confidence.CONFIRMED).decide(facts)) is None
    one = Rule(line=1, services=("rtp",), target=TrafficClass.BULK, confidence=Confidence.CONFIRMED)
    assert outcome(Policy(rules=(one,)).decide(facts)) == ("realtime", "EF")


def test_the_first_rule_that_holds_decides() -> None:
    policy = Policy(
        source="p.toml",
        rules=(
            Rule(line=3, services=("http",), names=("video.example",), target=TrafficClass.STREAMING),
            Rule(line=9, title="the rest", services=("http",), target=TrafficClass.BULK, dscp=DSCP["CS1"]),
        ),
    )
    found = policy.decide(about_flow(KEY, HTTP))
    assert outcome(found) == ("streaming", "AF31")
    assert found is not None
    assert found.rule == "rule (p.toml:3)"
    found = policy.decide(about_flow(KEY, HTTP._replace(name="news.example")))
    assert outcome(found) == ("bulk", "CS1")
    assert found is not None
    assert found.rule == 'rule "the rest" (p.toml:9)'


@pytest.mark.parametrize(
    ("rule", "holds"),
    [
        (Rule(names=("video.example",)), True),
        (Rule(names=("cdn.video.example",)), True),
        (Rule(names=("VIDEO.example",)), True),
        (Rule(names=("eo.example",)), False),
        (Rule(names=("*.video.*",)), True),
        (Rule(products=("NGINX*",)), True),
        (Rule(products=("apache*",)), False),
        (Rule(classes=(TrafficClass.DEFAULT,)), True),
        (Rule(classes=(TrafficClass.BULK,)), False),
        (Rule(networks=(ip_network("192.0.2.0/24"),)), True),
        (Rule(networks=(ip_network("10.0.0.0/8"),)), True),
        (Rule(networks=(ip_network("fd00::/8"),)), False),
        (Rule(clients=(ip_network("10.0.0.0/8"),)), True),
        (Rule(clients=(ip_network("192.0.2.0/24"),)), False),
        (Rule(servers=(ip_network("192.0.2.0/24"),)), True),
        (Rule(services=("http",), exempt=(ip_network("10.0.0.5"),)), False),
        (Rule(services=("http",), exempt=(ip_network("10.0.0.6"),)), True),
        (Rule(services=("ssh",)), False),
    ],
)
def test_conditions(rule: Rule, holds: bool) -> None:
    assert (Policy().obstacle(rule, about_flow(KEY, HTTP)) is None) == holds


def test_exceptions_are_never_touched() -> None:
    policy = Policy(exempt=(ip_network("10.0.0.0/24"),))
    found = policy.decide(about_flow(KEY, verdict("rtp", TrafficClass.REALTIME)))
    assert found == Decision(None, "except")


def test_what_looks_enciphered_and_nobody_knows() -> None:
    piece = Evidence(kind=EvidenceKind.PAYLOAD, service=None, confidence=Confidence.UNKNOWN, signature=ENCRYPTED)
    facts = about_flow(KEY, Verdict(evidence=(piece,)))
    assert outcome(Policy().decide(facts)) is None
    assert outcome(Policy(encrypted=TrafficClass.BULK).decide(facts)) == ("bulk", "LE")
    assert outcome(Policy(encrypted=TrafficClass.BULK).decide(about_flow(KEY, Verdict()))) is None
    exempt = Policy(encrypted=TrafficClass.BULK, exempt=(ip_network("10.0.0.0/24"),))
    assert outcome(exempt.decide(facts)) is None


def test_a_rule_may_leave_flows_alone_or_keep_their_class() -> None:
    leave = Policy(rules=(Rule(line=1, services=("rtp",), leave=True),))
    facts = about_flow(KEY, verdict("rtp", TrafficClass.REALTIME))
    assert outcome(leave.decide(facts)) is None
    code = Policy(rules=(Rule(line=1, services=("rtp",), dscp=DSCP["AF41"]),))
    assert outcome(code.decide(facts)) == ("realtime", "AF41")


ENDPOINT = Endpoint(Transport.TCP, "192.0.2.9", 443)


@pytest.mark.parametrize(
    ("rule", "expected"),
    [
        (Rule(line=1, names=("video.example",), target=TrafficClass.STREAMING), None),
        (Rule(line=1, clients=(ip_network("10.0.0.0/8"),), target=TrafficClass.STREAMING), None),
        (Rule(line=1, networks=(ip_network("10.0.0.0/8"),), target=TrafficClass.STREAMING), None),
        (Rule(line=1, services=("http",), exempt=(ip_network("10.0.0.0/8"),), target=TrafficClass.BULK), None),
        (Rule(line=1, names=("video.example",), target=TrafficClass.DEFAULT), ("default", "DF")),
        (Rule(line=1, servers=(ip_network("192.0.2.0/24"),), target=TrafficClass.BULK), ("bulk", "LE")),
        (Rule(line=1, networks=(ip_network("192.0.2.0/24"),), target=TrafficClass.BULK), ("bulk", "LE")),
        (Rule(line=1, services=("ssh",), names=("a.example",), target=TrafficClass.BULK), ("default", "DF")),
    ],
)
def test_an_endpoint_is_marked_only_where_all_its_flows_are_the_same(
    rule: Rule, expected: tuple[str, str] | None
) -> None:
    found = Policy(rules=(rule,)).decide(about_endpoint(ENDPOINT, HTTP._replace(name=None)))
    assert outcome(found) == expected
    assert (found is None) == (expected is None)


def test_an_endpoint_that_begins_flows() -> None:
    rule = Rule(line=1, clients=(ip_network("192.0.2.0/24"),), target=TrafficClass.BULK)
    assert outcome(Policy(rules=(rule,)).decide(about_endpoint(ENDPOINT, HTTP, as_client=True))) == ("bulk", "LE")
    assert Policy(rules=(rule,)).decide(about_endpoint(ENDPOINT, HTTP)) is None


def test_every_outcome_is_among_the_treatments() -> None:
    policy = Policy(rules=(Rule(line=1, names=("x.example",), dscp=DSCP["CS3"]),))
    found = set(policy.treatments())
    for name in TrafficClass:
        facts = Facts(service="x", name="x.example", traffic_class=name, confidence=Confidence.CONFIRMED)
        decision = policy.decide(facts)
        assert decision is not None
        assert decision.treatment in found
    assert policy.treatment(TrafficClass.BULK) in found


def test_the_reasons_end_where_a_rule_holds() -> None:
    reasons = list(Policy().reasons(about_flow(KEY, verdict("bgp", TrafficClass.CONTROL))))
    assert reasons[0].startswith('built-in rule "signalling": service bgp is not sip')
    assert reasons[-1] == 'built-in rule "routing": holds'


def test_built_in_rules_name_services_that_there_are() -> None:
    known = load_signatures().services
    assert [service for rule in BUILT_IN for service in rule.services if service not in known] == []
