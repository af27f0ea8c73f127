from flowsonar.model import (
    Confidence,
    Endpoint,
    EndpointRecord,
    Evidence,
    EvidenceKind,
    Outcome,
    Transport,
    Verdict,
)
from flowsonar.outputs.unidentified import answers_of


def record(*evidence: Evidence) -> EndpointRecord:
    endpoint = Endpoint(Transport.TCP, "192.0.2.1", 99)
    return EndpointRecord(time_ns=0, endpoint=endpoint, verdict=Verdict(evidence=evidence), outcome=Outcome.ANSWERED)


def heard(data: bytes, probe: str | None = None) -> Evidence:
    return Evidence(EvidenceKind.REPLY, None, Confidence.UNKNOWN, probe=probe, data=data)


def test_probe_hex_and_text() -> None:
    line = answers_of(record(heard(b"\x1bhi"), heard(b"x" * 100, "http/get")))
    assert "192.0.2.1:99/tcp" in line
    assert "before it was asked: 1b 68 69 |" in line
    assert "\x1b" not in line
    assert f"http/get: {' '.join(['78'] * 24)}... |{'x' * 24}...|" in line


def test_nothing_was_heard() -> None:
    assert answers_of(record()) == ""
