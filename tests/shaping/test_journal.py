from pathlib import Path

import pytest

from flowsonar.model import Confidence, Endpoint, FlowKey, MarkAction, MarkRecord, TrafficClass, Transport, Verdict
from flowsonar.shaping import journal as module
from flowsonar.shaping.journal import Journal, beside, marked, marks_of

KEY = FlowKey(Transport.UDP, "10.0.0.5", 40000, "fd00::9", 5004)
RECORD = MarkRecord(
    time_ns=1_700_000_000_000_000_000,
    flow_id=7,
    key=KEY,
    verdict=Verdict(service="rtp", confidence=Confidence.LIKELY),
    action=MarkAction.MARKED,
    traffic_class=TrafficClass.REALTIME,
    before=None,
    dscp=46,
    mark=0xB9020000,
    rule="class realtime",
    waited_ms=0.1,
    mark_ms=3.0,
)


def test_marks_are_found_by_either_side(tmp_path: Path) -> None:
    kept = Journal(beside(tmp_path / "v.db"))
    kept.keep([RECORD, RECORD._replace(key=Endpoint(Transport.UDP, "fd00::9", 5004), traffic_class=None, dscp=None)])
    kept.close()
    assert kept.problem is None
    path = tmp_path / "v-marks.db"
    (found,) = marks_of(path, "10.0.0.5", None, None)
    assert (found.traffic_class, found.rule, found.to_port) == ("realtime", "class realtime", 5004)
    assert len(marks_of(path, "fd00::9", 5004, "udp")) == 2
    assert marks_of(path, "fd00::9", 5004, "tcp") == []
    assert marks_of(path, "10.0.0.5", 1, None) == []
    texts = [marked(one) for one in marks_of(path, "fd00::9", None, None)]
    assert "[fd00::9]:5004, all its flows (udp): rtp likely: left as it is, by class realtime" in texts[0]
    assert "10.0.0.5:40000 > [fd00::9]:5004 (udp): rtp likely: class realtime, DSCP EF, by class realtime" in texts[1]


def test_old_marks_leave(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "KEPT", 5)
    monkeypatch.setattr(module, "_SURPLUS", 3)
    kept = Journal(tmp_path / "m.db")
    for number in range(20):
        kept.keep([RECORD._replace(rule=str(number))])
    kept.close()
    rules = [one.rule for one in marks_of(tmp_path / "m.db", "10.0.0.5", None, None, most=100)]
    assert rules[0] == "19"
    assert len(rules) <= 8


def test_trouble_is_told_once_and_stops_nothing(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    kept = Journal(tmp_path / "file" / "m.db")
    assert kept.problem is not None
    kept.keep([RECORD])
    kept.close()
    (tmp_path / "bad.db").write_bytes(b"nonsense" * 100)
    assert Journal(tmp_path / "bad.db").problem is not None
    assert marks_of(tmp_path / "bad.db", "10.0.0.5", None, None) == []
    assert marks_of(tmp_path / "none.db", "10.0.0.5", None, None) == []
