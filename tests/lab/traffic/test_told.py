"""Records of a watch as one label a flow."""

from __future__ import annotations

from typing import Any

from lab.traffic.told import flows, key_of


def record(kind: str, service: str | None, confidence: str, ms: float | None = 1.5, **more: Any) -> dict[str, Any]:
    return {
        "event_type": kind,
        "flow_id": 7,
        "src_ip": "10.0.0.1",
        "src_port": 40000,
        "dest_ip": "10.0.0.2",
        "dest_port": 5060,
        "proto": "UDP",
        "flow": {"pkts_toserver": 3, "pkts_toclient": 2},
        "flowsonar": {
            "service": service,
            "over": None,
            "confidence": confidence,
            "verdict_ms": ms,
            "evidence": [{"kind": "payload", "service": service}],
        },
        **more,
    }


def test_the_last_word_counts_with_the_time_of_the_first_that_said_the_same() -> None:
    said = [
        record("verdict", "stun", "confirmed", 1.0),
        record("verdict", "rtp", "likely", 20.0),
        record("flow", "rtp", "confirmed", 900.0),
    ]
    (flow,) = flows(said)
    assert (flow.service, flow.confidence, flow.ms, flow.packets) == ("rtp", "confirmed", 20.0, 5)
    assert flow.key == ("udp", frozenset({("10.0.0.1", 40000), ("10.0.0.2", 5060)}))
    assert str(flow) == "rtp"


def test_a_guess_is_no_label() -> None:
    (flow,) = flows([record("flow", "sip", "guess")])
    assert flow.service is None
    assert flow.ms is None
    assert str(flow) == "unknown"


def test_protocols_without_ports() -> None:
    plain = record("flow", "gre", "confirmed", proto="OTHER")
    del plain["src_port"], plain["dest_port"]
    assert key_of(plain) == ("other", frozenset({("10.0.0.1", 0), ("10.0.0.2", 0)}))


def test_other_records_are_passed_over() -> None:
    assert flows([{"event_type": "endpoint"}, {"event_type": "stats", "src_ip": "10.0.0.1"}]) == []
