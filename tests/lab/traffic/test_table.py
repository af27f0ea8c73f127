"""The table of flows, its summary, and whether it passes."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from lab.comparison.said import Said
from lab.traffic.mode import Expected, Mode, Stage
from lab.traffic.run import Seen
from lab.traffic.told import Flow
from lab.truth import Judgement

from lab.traffic import table

KEY = ("udp", frozenset({("10.78.1.20", 4000), ("10.78.9.20", 5004)}))
CAPTURE = Path("flows.pcap")
RTP = Expected(service="rtp", transport="udp")


def _nothing(stage: Stage) -> None:
    """A mode that starts nothing."""


MODE = Mode(program="phone", mode="UDP", start=_nothing)
FLOW = Flow(key=KEY, service="rtp", over=None, confidence="confirmed", ms=4.0, how="payload", packets=9)
SEEN = Seen(watch="first", mode=MODE, expected=0, flow=FLOW, capture=CAPTURE)
TRUTHS = {("first", "phone: UDP"): [RTP], ("one-way", "phone: UDP"): [RTP]}
SAID = {CAPTURE: {"nDPI": {KEY: Said(service="stun", text="STUN")}}}


def judge(*seen: Seen) -> list[table.Row]:
    return table.rows(seen, TRUTHS, SAID, {"rtp": "stun"})


def test_a_flow_is_judged_beside_the_others_word() -> None:
    (row,) = judge(SEEN, replace(SEEN, expected=-1))
    assert row.judgement is Judgement.RIGHT
    assert row.others == {"nDPI": ("STUN", Judgement.OUTSIDE)}
    assert table.passes([row])
    assert not table.problems([row])


def test_the_others_see_both_directions_only() -> None:
    (row,) = judge(replace(SEEN, watch="one-way, to server"))
    assert row.others == {}
    assert not table.passes([row])  # nothing was seen as a whole


def test_a_wrong_confirmed_fails_in_any_pass() -> None:
    wrong = replace(SEEN, watch="one-way, to client", flow=replace(FLOW, service="skype"))
    rows = judge(*[SEEN] * 99, wrong)
    assert not table.passes(rows)
    assert "rtp is called skype confirmed" in table.problems(rows)[0]
    assert table.passes(judge(*[SEEN] * 99, replace(wrong, flow=replace(wrong.flow, confidence="likely"))))


def test_too_many_unknown_fail() -> None:
    unknown = replace(SEEN, flow=replace(FLOW, service=None, confidence="unknown", ms=None))
    assert table.passes(judge(*[SEEN] * 97, *[unknown] * 3))
    assert not table.passes(judge(*[SEEN] * 96, *[unknown] * 4))


def test_a_packet_or_two_of_media_are_too_few_to_know() -> None:
    short = replace(SEEN, flow=replace(FLOW, service=None, confidence="unknown", ms=None, packets=2))
    rows = judge(*[SEEN] * 9, short)
    assert table.passes(rows)
    assert any(line.startswith("  without 1 of one or two packets") for line in table.summary(rows, {}))
    assert not table.passes(judge(*[SEEN] * 9, replace(short, flow=replace(short.flow, packets=3))))


def test_what_is_printed_and_written() -> None:
    found = judge(SEEN, replace(SEEN, mode=replace(MODE, standin="the client says hello only")))
    lines = table.table(found)
    assert len(lines) == 2
    assert "2 right" in lines[1]
    assert "0/2 STUN" in lines[1]
    said = "\n".join(table.summary(found, {"other: UDP": "did not start"}))
    assert "2 of 2 flows right (100.0%)" in said
    assert "the client says hello only" in said
    assert "did not play: other: UDP: did not start" in said
    written = table.as_json(found, {}, 7)
    assert written["passed"]
    assert len(written["flows"]) == 2  # type: ignore[arg-type]
