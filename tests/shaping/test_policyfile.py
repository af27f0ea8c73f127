from dataclasses import replace
from pathlib import Path

import pytest

from flowsonar.errors import ConfigError
from flowsonar.model import Confidence, TrafficClass
from flowsonar.shaping.classes import DSCP, by_name, dscp_name
from flowsonar.shaping.policy import Policy
from flowsonar.shaping.policyfile import load_policy, parse_policy, write_policy
from flowsonar.signatures import load_signatures

EXAMPLE = """
confidence = "confirmed"
unknown = "bulk"
encrypted = "bulk"
except = ["10.0.0.7", "fd00:7::/64"]
windows = false

[class.realtime]
dscp = "VA"
share = 0.5

[class.bulk]
rate = "1.5 mbit"
ceiling = 0.8

[[rule]]
title = "video"
service = ["http", "tls"]
name = "video.example"
class = "streaming"

[[rule]]
service = "http"
client = "10.0.3.0/24"
except = ["10.0.3.1"]
confidence = "likely"
class = "bulk"
dscp = 8

[[rule]]
is = "streaming"
class = "leave"
"""


def test_a_policy_is_read() -> None:
    policy = parse_policy(EXAMPLE, "p.toml", {"http", "tls"})
    assert policy.confidence is Confidence.CONFIRMED
    assert policy.unknown is TrafficClass.BULK
    assert policy.encrypted is TrafficClass.BULK
    assert [str(network) for network in policy.exempt] == ["10.0.0.7/32", "fd00:7::/64"]
    assert (policy.windows, policy.brake) == (False, True)
    assert [rule.line for rule in policy.rules] == [16, 22, 30]
    assert policy.rules[0].names == ("video.example",)
    assert policy.rules[1].dscp == 8
    assert policy.rules[1].confidence is Confidence.LIKELY
    assert policy.rules[2].leave
    realtime, bulk = by_name(policy.classes, TrafficClass.REALTIME), by_name(policy.classes, TrafficClass.BULK)
    assert (realtime.dscp, realtime.share) == (DSCP["VA"], 0.5)
    assert (bulk.rate_kbit, bulk.ceiling) == (1500, 0.8)


def test_shares_that_were_not_given_divide_what_is_left() -> None:
    policy = parse_policy("[class.realtime]\nshare = 0.65\n", "p.toml")
    assert sum(one.share for one in policy.classes) == pytest.approx(1.0)
    assert by_name(policy.classes, TrafficClass.CONTROL).share == pytest.approx(0.025)


def test_nothing_is_a_policy_too() -> None:
    assert parse_policy("", "") == Policy()


def test_what_is_written_reads_the_same() -> None:
    policy = parse_policy(EXAMPLE, "p.toml")
    again = parse_policy(write_policy(policy), "p.toml")
    assert (again.windows, again.brake) == (False, True)
    assert [replace(rule, line=0) for rule in again.rules[:3]] == [replace(rule, line=0) for rule in policy.rules]
    assert len(again.rules) == 3 + len(policy.built_in)
    assert parse_policy(write_policy(Policy()), "").classes == Policy().classes


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("confidence = 'guess'", r"p.toml:1: confidence: 'guess' must be likely or confirmed: a guess never"),
        ("\nconfidance = 'likely'", r"p.toml:2: confidance: no such key: did you mean confidence"),
        ("unknown = 'fast'", r"p.toml:1: unknown: 'fast' must be one of .*leave"),
        ("brake = 'no'", r"p.toml:1: brake: 'no' must be true or false"),
        ("windows = 0", r"p.toml:1: windows: 0 must be true or false"),
        ("except = ['10.0.0.1/8']", r"p.toml:1: except: .*host bits"),
        ("rule = 3", r"p.toml:1: rule: write each rule as \[\[rule\]\]"),
        ("class = 3", r"p.toml:1: class: write \[class.realtime\]"),
        ("[class]\nbulk = 3", r"p.toml:\d: class.bulk: write"),
        ("[class.fast]\nshare=1", r"p.toml:1: fast: 'fast' must be one of control"),
        ("[class.bulk]\nshare = 0.1\nrate = 5", r"p.toml:3: class.bulk: share and rate exclude each other"),
        ("[class.bulk]\nshare = 2", r"p.toml:2: share: 2 must be a part of the line"),
        ("[class.bulk]\nshare = true", r"p.toml:2: share: True"),
        ("[class.bulk]\nshare = 0.5\nceiling = 0.2", r"p.toml:3: class.bulk: the ceiling 0.2 is below"),
        ("[class.bulk]\nrate = '5 apples'", r"p.toml:2: rate: '5 apples' must be a bandwidth"),
        ("[class.bulk]\nrate = 0", r"p.toml:2: rate: 0 must"),
        ("[class.bulk]\nshare=0.6\n[class.default]\nshare=0.6", r"p.toml:1: the classes' shares make 1.20"),
        ("[class.bulk]\ndscp = 'XX'", r"p.toml:2: dscp: 'XX' must be a name"),
        ("[class.bulk]\ndscp = 64", r"p.toml:2: dscp: 64"),
        ("[class.bulk]\ncolour = 1", r"p.toml:2: colour: no such key"),
        ("[[rule]]\nclass = 'bulk'", r"p.toml:1: a rule without any condition"),
        ("\n[[rule]]\nservice = 'ssh'", r"p.toml:2: a rule without class and dscp does nothing"),
        ("[[rule]]\nservice = 'ssh'\nclass = 'leave'\ndscp = 1", r"p.toml:4: .*exclude each other"),
        ("[[rule]]\nservice = 'shh'\nclass = 'bulk'", r"p.toml:2: service = 'shh': no such service: did you mean ssh"),
        ("[[rule]]\nservice = 'zzz'\nclass = 'bulk'", r"p.toml:2: .*signatures list"),
        ("[[rule]]\nservice = []\nclass = 'bulk'", r"p.toml:2: service: the list is empty"),
        ("[[rule]]\nservice = 7\nclass = 'bulk'", r"p.toml:2: service: must be text"),
        ("[[rule]]\nservice = 'ssh'\ntitle = 7\nclass = 'bulk'", r"p.toml:3: title: must be text"),
        ("[[rule]]\nnetwork = 'home'\nclass = 'bulk'", r"p.toml:2: network: 'home'"),
        ("[[rule]]\nis = 'fast'\nclass = 'bulk'", r"p.toml:2: is: 'fast' must be one of"),
        ("[[rule]]\nservice = 'ssh'\nclass = 'fast'", r"p.toml:3: class: 'fast' must be one of"),
        ("[[rule]]\nservice = 'ssh'\nclass = 'bulk'\n" * 1001, r"p.toml:1: 1001 rules"),
        ("a = ", r"p.toml:1: not TOML"),
    ],
)
def test_mistakes_are_told_with_their_line(text: str, told: str) -> None:
    with pytest.raises(ConfigError, match=told) as caught:
        parse_policy(text, "p.toml", {"ssh", "http", "rtp"})
    assert "\n" not in str(caught.value)


RULE = "[[rule]]\n{}\nclass = '{}'\n"


@pytest.mark.parametrize(
    ("first", "second", "conflict"),
    [
        (("service = 'ssh'", "bulk"), ("service = 'ssh'", "realtime"), "for service ssh"),
        (("service = ['ssh', 'http']", "bulk"), ("service = ['rtp', 'ssh']", "realtime"), "for service ssh"),
        (("network = '10.0.0.0/8'", "bulk"), ("service = 'ssh'\nclient = '10.0.0.0/8'", "realtime"), None),
        (("client = '10.0.0.0/8'", "bulk"), ("service = 'ssh'\nclient = '10.3.0.0/16'", "realtime"), "for service ssh"),
        (("is = 'bulk'", "bulk"), ("is = 'bulk'", "leave"), "conflicts"),
        (("service = 'ssh'", "bulk"), ("service = 'ssh'", "bulk"), None),
        (("service = 'ssh'\nname = 'a.example'", "bulk"), ("service = 'ssh'", "realtime"), None),
        (("service = 'ssh'\nconfidence = 'confirmed'", "bulk"), ("service = 'ssh'", "realtime"), None),
        (("service = 'ssh'\nexcept = '10.0.0.1'", "bulk"), ("service = 'ssh'", "realtime"), None),
    ],
)
def test_conflicts_are_told_with_both_lines(
    first: tuple[str, str], second: tuple[str, str], conflict: str | None
) -> None:
    text = RULE.format(*first) + RULE.format(*second)
    if conflict is None:
        assert len(parse_policy(text, "p.toml").rules) == 2
        return
    later = 1 + RULE.format(*first).count("\n")
    with pytest.raises(ConfigError, match=rf"p.toml:{later}: conflicts with the rule at line 1.*") as caught:
        parse_policy(text, "p.toml")
    assert conflict in str(caught.value)


def test_files_that_cannot_be_read(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="cannot be read"):
        load_policy(tmp_path / "none.toml")
    (tmp_path / "p.toml").write_bytes(b"\xff")
    with pytest.raises(ConfigError, match="not TOML"):
        load_policy(tmp_path / "p.toml")
    (tmp_path / "p.toml").write_bytes(b"#" * (2 << 20))
    with pytest.raises(ConfigError, match="too long"):
        load_policy(tmp_path / "p.toml")
    (tmp_path / "p.toml").write_text(EXAMPLE)
    assert len(load_policy(tmp_path / "p.toml").rules) == 3


def test_the_example_of_the_document_is_a_policy() -> None:
    document = (Path(__file__).resolve().parents[2] / "docs" / "policy.md").read_text(encoding="utf-8")
    example = document.split("```toml\n")[1].split("```")[0]
    policy = parse_policy(example, "docs/policy.md", load_signatures().services)
    assert len(policy.rules) == 2


def test_the_document_tells_the_classes_as_they_are() -> None:
    document = (Path(__file__).resolve().parents[2] / "docs" / "policy.md").read_text(encoding="utf-8")
    for one in Policy().classes:
        row = f"| `{one.name}` | {dscp_name(one.dscp)} | {one.share * 100:.0f} % | {one.ceiling * 100:.0f} % |"
        assert row in document
