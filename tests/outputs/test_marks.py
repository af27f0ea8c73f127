import json
import re
from pathlib import Path

from flowsonar.model import Confidence, Endpoint, FlowKey, MarkAction, MarkRecord, TrafficClass, Transport, Verdict
from flowsonar.outputs.marks import ClassRow, encode_classes, encode_mark, mark_line
from flowsonar.shaping.marking import Marker
from flowsonar.shaping.policy import Policy

RECORD = MarkRecord(
    time_ns=1_700_000_000_123_000_000,
    flow_id=7,
    key=FlowKey(Transport.TCP, "10.0.0.5", 40000, "192.0.2.9", 443),
    verdict=Verdict(service="http", confidence=Confidence.LIKELY, name="a.example"),
    action=MarkAction.REMARKED,
    traffic_class=TrafficClass.STREAMING,
    before=TrafficClass.DEFAULT,
    dscp=26,
    mark=0x69040000,
    rule='rule "video" (p.toml:3)',
    waited_ms=0.1234,
    mark_ms=3.0,
)


def test_a_mark_as_json() -> None:
    found = json.loads(encode_mark(RECORD, "AF31"))
    assert found["event_type"] == "mark"
    assert (found["flow_id"], found["src_ip"], found["dest_port"], found["proto"]) == (7, "10.0.0.5", 443, "TCP")
    assert found["flowsonar"]["name"] == "a.example"
    assert found["shaping"] == {
        "action": "re-marked",
        "of": "flow",
        "class": "streaming",
        "before": "default",
        "dscp": "AF31",
        "mark": "0x69040000",
        "rule": 'rule "video" (p.toml:3)',
        "waited_ms": 0.123,
        "mark_ms": 3.0,
    }


SECTION = (Path(__file__).resolve().parents[2] / "docs" / "records.md").read_text(encoding="utf-8")
SECTION = SECTION.split("## Records of shape")[1].split("\n## ")[0]


def test_every_field_is_documented_and_no_other() -> None:
    row = ClassRow("realtime", "up", None, 10, 2000, 64.0, 0, 0, 1.0)
    classes = json.loads(encode_classes([row], time_ns=0, by_rule={}, counts={}))["shaping"]
    fields = {f"shaping.{name}" for name in (*json.loads(encode_mark(RECORD, "AF31"))["shaping"], "rules", "counters")}
    fields |= {f"shaping.classes[].{name}" for name in classes["classes"][0]}
    documented = {
        name for cell in re.findall(r"^\| (`.+?`) \|", SECTION, re.MULTILINE) for name in re.findall(r"`([^`]+)`", cell)
    }
    assert documented == fields
    for counter in Marker(Policy(), len).counts:
        assert f"`{counter}`" in SECTION


def test_an_endpoints_mark() -> None:
    endpoint = RECORD._replace(flow_id=0, key=Endpoint(Transport.UDP, "fd00::9", 53), mark_ms=None, before=None)
    found = json.loads(encode_mark(endpoint, "AF31"))
    assert "src_ip" not in found
    assert "flow_id" not in found
    assert found["shaping"]["of"] == "endpoint"
    assert "endpoint [fd00::9]:53/udp" in mark_line(endpoint, "AF31")


def test_names_that_are_no_text_stay_in_one_ascii_line() -> None:
    record = RECORD._replace(verdict=RECORD.verdict._replace(name="a\ud800\n\x1b[2J\u00e9"))
    line = encode_mark(record, "AF31")
    assert line.isascii()
    assert line.count(b"\n") == 1
    assert json.loads(line)["flowsonar"]["name"] == "a\ud800\n\x1b[2J\u00e9"
    assert "\x1b" not in mark_line(record, "AF31")


def test_a_mark_for_people() -> None:
    line = mark_line(RECORD, "AF31")
    assert "22:13:20.123 re-marked 10.0.0.5:40000 > 192.0.2.9:443/tcp" in line
    assert "streaming AF31 (was default)" in line
    cleared = RECORD._replace(traffic_class=None, before=None, dscp=None, mark=0)
    assert "left as it is" in mark_line(cleared, None)
    assert json.loads(encode_mark(cleared, None))["shaping"]["mark"] is None


def test_classes_as_json() -> None:
    row = ClassRow("realtime", "up", None, 10, 2000, 64.12345, 0, 0, 1.23456)
    found = json.loads(encode_classes([row], time_ns=0, by_rule={"class realtime": 3}, counts={"flows_marked": 3}))
    assert found["event_type"] == "classes"
    assert found["shaping"]["classes"][0]["rate_kbit"] == 64.123
    assert found["shaping"]["classes"][0]["flows"] is None
    assert found["shaping"]["rules"] == {"class realtime": 3}
