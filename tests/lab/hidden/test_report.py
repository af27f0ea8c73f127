"""What the hiding case prints, and what it counts as a failure."""

from __future__ import annotations

from dataclasses import replace

from lab.hidden.cases import PAIRS, PHASES
from lab.hidden.run import Flow, Outcome

from lab.hidden import report


def flow(service: str | None, confidence: str, ms: float | None) -> Flow:
    return Flow(
        phase="start",
        pair=PAIRS[0].name,
        transport="tcp",
        label=service or "unknown",
        service=service,
        confidence=confidence,
        ms=ms,
        how="asked",
        product=None,
        others={"nDPI": "BitTorrent", "NFStream": "Unknown", "tshark": "rtp"},
        ends=["10.0.0.1:1", "10.0.0.2:2"],
    )


def test_what_is_late_wrong_or_missing_is_told() -> None:
    flows = [flow("bittorrent", "confirmed", 10.0), flow("bittorrent", "likely", 2000.0), flow("tls", "likely", 1.0)]
    flows += [flow(None, "unknown", None), flow("bittorrent", "guess", 1.0)]
    outcome = Outcome(phase=PHASES[0], flows=flows, datagrams=[2, 9], connections=[3], quiet=["x - y"])
    found = report.problems([outcome])
    assert len(found) == 1 + 4 + 1
    row = next(line for line in report.by_phase([outcome]) if line.startswith("all"))
    assert row.split()[1:6] == ["5", "1", "1", "1", "2"]
    assert "1 of 5" in row
    assert report.readme([outcome])[-1].split("|")[3].strip() == "1"
    assert report.by_pair([outcome])[1].startswith(PAIRS[0].name)
    assert report.as_json([outcome], seed=1)["seed"] == 1


def test_the_least_that_a_late_peer_takes_is_told() -> None:
    late = replace(flow("bittorrent", "likely", 1020.0), bare_ms=[503.0, 1004.4, None])
    outcome = Outcome(phase=PHASES[0], flows=[late, flow("bittorrent", "confirmed", 10.0)])
    assert "to a bare client after 503, 1004, none ms" in report.problems([outcome])[0]
    assert "late: 1; of these with a peer that gives a bare client nothing within 0.95 s: 1" in report.by_phase(
        [outcome]
    )


def test_pairs_have_names_of_their_own_and_the_quick_ones_are_some() -> None:
    names = [pair.name for pair in PAIRS]
    assert len(set(names)) == len(names)
    assert 0 < sum(pair.quick for pair in PAIRS) < len(PAIRS)
