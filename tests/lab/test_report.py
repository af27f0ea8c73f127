"""The report: what fails, precision, the table and the summary."""

from dataclasses import replace

import pytest
from lab.report import Finding, Result, Row, as_json, failure, precision, problems, summary, table, unlabelled
from lab.sonar import How
from lab.truth import Judgement, Kind

GOOD = Row(
    situation="first",
    service="nginx-http",
    family=4,
    truth="http",
    kind=Kind.SERVICE,
    label="http",
    confidence="confirmed",
    judgement=Judgement.RIGHT,
    required=True,
    ms=4.0,
    how=How.SHOWN,
    first_of_endpoint=True,
    tries=1,
    packets=7,
)
WRONG = replace(GOOD, label="ftp", judgement=Judgement.WRONG)
IMPOSTOR = replace(GOOD, service="silent", truth="unknown", kind=Kind.IMPOSTOR, required=False, label="unknown")


@pytest.mark.parametrize(
    ("row", "expected"),
    [
        (GOOD, None),
        (WRONG, "confirmed and wrong"),
        (replace(WRONG, required=False), "confirmed and wrong"),
        (replace(WRONG, required=False, confidence="likely"), None),
        (replace(WRONG, confidence="likely"), "not labelled right"),
        (replace(GOOD, label="tls", judgement=Judgement.OUTSIDE), "not labelled right"),
        (replace(GOOD, label="tls", judgement=Judgement.OUTSIDE, required=False), None),
        (replace(GOOD, label="unknown", judgement=Judgement.UNKNOWN), "not labelled right"),
        (replace(GOOD, label="unknown", judgement=Judgement.UNKNOWN, required=False), None),
        (IMPOSTOR, None),
        (replace(IMPOSTOR, label="echo", judgement=Judgement.WRONG, confidence="likely"), "an impostor was believed"),
        (replace(IMPOSTOR, label="echo", judgement=Judgement.WRONG, confidence="guess"), None),
        (
            replace(IMPOSTOR, kind=Kind.BANNER, label="ftp", judgement=Judgement.WRONG, confidence="likely"),
            None,
        ),
        (
            replace(IMPOSTOR, kind=Kind.BANNER, label="ftp", judgement=Judgement.WRONG, confidence="confirmed"),
            "confirmed and wrong",
        ),
    ],
)
def test_failure(row: Row, expected: str | None) -> None:
    text = failure(row)
    assert text is None if expected is None else text is not None and text.startswith(expected)


def test_precision_leaves_unlabelled_flows_out() -> None:
    rows = [GOOD, GOOD, WRONG, replace(GOOD, confidence="likely"), replace(IMPOSTOR, confidence="unknown")]
    assert precision(rows) == {"confirmed": (2, 3), "likely": (1, 1)}


def test_table_joins_flows_that_are_alike() -> None:
    lines = table([GOOD, replace(GOOD, ms=8.0, tries=0, packets=0), WRONG])
    assert len(lines) == 4
    assert lines[2].split() == [
        "first",
        "nginx-http",
        "4",
        "http",
        "http",
        "confirmed",
        "2",
        "6.0",
        "shown",
        "1",
        "(7)",
    ]
    assert lines[3].endswith("FAILED: wrong")


def test_table_of_nothing_has_its_head() -> None:
    assert len(table([])) == 2


def test_a_label_nobody_could_give_is_said_to_be_so() -> None:
    (line,) = table([replace(GOOD, label="unknown", judgement=Judgement.UNKNOWN, required=False)])[2:]
    assert line.endswith("nobody to ask")


def _result(**more: object) -> Result:
    return Result(situation="first", title="t", rtt_ms=0, **more)  # type: ignore[arg-type]


def test_problems_are_rows_findings_and_failures() -> None:
    result = _result(
        rows=[GOOD, WRONG], findings=[Finding(service="redis", text="no record of redis")], failures=["it crashed"]
    )
    assert problems([_result(rows=[GOOD])]) == []
    assert [text.split(":")[0] for text in problems([result])] == ["first", "first", "confirmed and wrong"]


def test_one_in_a_hundred_may_stay_unknown_and_none_may_be_wrong() -> None:
    silent = replace(GOOD, label="unknown", judgement=Judgement.UNKNOWN)
    assert problems([_result(rows=[GOOD] * 99), _result(rows=[silent])]) == []
    assert len(unlabelled([_result(rows=[GOOD] * 99), _result(rows=[silent])])) == 1
    assert len(problems([_result(rows=[GOOD] * 98 + [silent])])) == 1
    assert len(problems([_result(rows=[GOOD] * 198 + [silent] * 3)])) == 3
    assert len(problems([_result(rows=[GOOD] * 199 + [replace(WRONG, confidence="likely")])])) == 1


def test_summary_says_what_was_met_and_missed() -> None:
    slow = replace(GOOD, how=How.ASKED, ms=90.0, tries=6)
    text = "\n".join(summary([_result(rows=[GOOD, slow], start_s=0.5, measured_rtt_ms=0.02)], {}))
    assert "confirmed  2 of 2 right  100.00%" in text
    assert "shown in the first bytes: median 4.0 ms of 1 flows (to reach: 20 ms, met)" in text
    assert "asked: median 90.0 ms of 1 flows (to reach: 50 ms, MISSED)" in text
    assert "at most 2 for 50%, at most 6 for all (to reach: 90% and 5, MISSED; 2 endpoints were asked)" in text
    assert "2 of 2 labelled right" in text


def test_cached_answers_do_not_flatter_the_times() -> None:
    later = replace(GOOD, first_of_endpoint=False, ms=0.1)
    text = "\n".join(summary([_result(rows=[GOOD, later])], {}))
    assert "median 4.0 ms of 1 flows" in text


def test_summary_prints_the_wires_own_jitter() -> None:
    wire = {"frames": 9, "lost": 1, "overflowed": 0, "late_us": {"p50": 50, "p90": 60, "p99": 70, "max": 80}}
    assert "late by 50 us (median), 60 us (90 %), 70 us (99 %), 80 us (largest)" in summary([], wire)[-1]


def test_json_has_everything() -> None:
    found = as_json([_result(rows=[GOOD])], seed=3)
    assert found["seed"] == 3
    assert found["situations"][0]["rows"][0]["service"] == "nginx-http"
