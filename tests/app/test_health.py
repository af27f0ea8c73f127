import pytest

from flowsonar import _native
from flowsonar.app.health import examine


def test_every_part_is_looked_at() -> None:
    findings = {finding.what: finding for finding in examine()}
    assert {"live capture", "packet path", "signatures", "matching", "event loop", "verdict store"} <= findings.keys()
    assert all(finding.detail for finding in findings.values())
    assert findings["signatures"].state == "ok"


def test_a_missing_c_core_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_native, "NATIVE", False)
    monkeypatch.setattr(_native, "reason", "because")
    finding = next(finding for finding in examine() if finding.what == "packet path")
    assert finding.state == "slower"
    assert "because" in finding.detail
