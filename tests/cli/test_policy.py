import json
from pathlib import Path

import pytest

from flowsonar.cli.policy import _from_record, _from_words
from flowsonar.errors import ConfigError
from flowsonar.model import Confidence, TrafficClass
from tests.cli.program import flowsonar

KNOWN = {"sip": TrafficClass.REALTIME, "http": TrafficClass.DEFAULT}


def test_show_prints_what_can_be_checked(tmp_path: Path) -> None:
    shown = flowsonar("policy", "show", home=tmp_path)
    assert shown.returncode == 0
    (tmp_path / "p.toml").write_bytes(shown.stdout)
    checked = flowsonar("policy", "check", str(tmp_path / "p.toml"), home=tmp_path)
    assert checked.returncode == 0, checked.stderr
    assert b"no conflict" in checked.stdout


def test_check_says_what_would_happen_and_why(tmp_path: Path) -> None:
    (tmp_path / "p.toml").write_text(
        '[[rule]]\ntitle = "office"\nservice = "http"\nname = "a.example"\nclass = "bulk"\n'
    )
    record = {"src_ip": "10.0.0.5", "dest_ip": "192.0.2.9", "flowsonar": {"service": "http", "confidence": "likely"}}
    found = flowsonar(
        *("policy", "check", str(tmp_path / "p.toml"), "--flow", "service=http name=www.a.example from=10.0.0.5"),
        *("--flow", "service=sip to=192.0.2.9:5060 confidence=guess", "--flow", json.dumps(record), "--flow", "-"),
        stdin=json.dumps(record).encode() + b"\n\n",
        home=tmp_path,
    )
    assert found.returncode == 0, found.stderr
    text = found.stdout.decode()
    assert "-> class bulk, DSCP LE, mark 0x05060000, queue 1:60" in text
    assert f'by rule "office" ({tmp_path}/p.toml:1)' in text
    assert "-> left as it is: no label that is sure enough" in text
    assert text.count("name (not known) is not a.example") == 2
    assert text.count("http likely 10.0.0.5 > 192.0.2.9") == 2


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (["check", "none.toml"], b"cannot be read"),
        (["check", "--flow", "service"], b"KEY=VALUE"),
        (["check", "--flow", "service=nope"], b"no service 'nope'"),
        (["check", "--flow", "from=nowhere"], b"does not appear to be an IPv4 or IPv6 address"),
        (["check", "--flow", "service=sip confidence=sure"], b"sure"),
        (["check", "--flow", "{}x"], b"not a record"),
        (["check", "--flow", '{"flowsonar":[1]}'], b"not a record"),
    ],
)
def test_mistakes_are_one_line(arguments: list[str], told: bytes, tmp_path: Path) -> None:
    found = flowsonar("policy", *arguments, home=tmp_path)
    assert found.returncode == 2
    assert told in found.stderr
    assert found.stderr.count(b"\n") == 1


def test_what_has_no_label_gets_what_unknown_gets(tmp_path: Path) -> None:
    (tmp_path / "p.toml").write_text('unknown = "bulk"\n[[rule]]\nservice = "sip"\nclass = "leave"\n')
    flows = ("--flow", "name=a.example", "--flow", "service=sip")
    text = flowsonar("policy", "check", str(tmp_path / "p.toml"), *flows, home=tmp_path).stdout.decode()
    assert "-> class bulk, as all that has no mark" in text
    assert text.count("-> left as it is") == 1


def test_conflicts_are_an_exit_code(tmp_path: Path) -> None:
    rule = '[[rule]]\nservice = "ssh"\nclass = "{}"\n'
    (tmp_path / "p.toml").write_text(rule.format("bulk") + rule.format("realtime"))
    found = flowsonar("policy", "check", str(tmp_path / "p.toml"), home=tmp_path)
    assert found.returncode == 2
    assert b"p.toml:4: conflicts with the rule at line 1 for service ssh" in found.stderr


def test_words() -> None:
    facts = _from_words("service=sip from=[fd00::1]:5060 to=10.0.0.1", KNOWN)
    assert str(facts.client) == "fd00::1"
    assert str(facts.server) == "10.0.0.1"
    assert facts.traffic_class is TrafficClass.REALTIME
    assert facts.confidence is Confidence.CONFIRMED
    assert _from_words("name=a.example", KNOWN).confidence is Confidence.UNKNOWN
    assert _from_words("service=sip class=bulk confidence=likely", KNOWN).traffic_class is TrafficClass.BULK
    with pytest.raises(ConfigError):
        _from_words("service=sip service=http", KNOWN)


def test_records() -> None:
    text, facts = _from_record('{"src_ip":"10.0.0.5","flowsonar":{"service":"http","class":"bulk","name":"a"}}', KNOWN)
    assert facts.traffic_class is TrafficClass.BULK
    assert text == "http unknown a 10.0.0.5 > None"
    assert not facts.encrypted
    _, facts = _from_record('{"flowsonar":{"service":null,"evidence":[{"signature":"unknown/encrypted"}]}}', KNOWN)
    assert facts.encrypted
    with pytest.raises(ConfigError):
        _from_record("[" * 100_000, KNOWN)
