"""docs/skype.md says of the recorded clients what the program says."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from bench import skypepage
from tests.needs import CORPUS, needs_corpus

PAGE = (Path(__file__).resolve().parents[2] / "docs" / "skype.md").read_text(encoding="utf-8")


def record(proto: str, service: str | None, detail: str, confidence: str = "confirmed") -> dict[str, Any]:
    evidence = [{"service": service, "detail": detail}]
    return {"proto": proto, "flowsonar": {"service": service, "confidence": confidence, "evidence": evidence}}


@pytest.mark.parametrize(
    ("proto", "detail", "name"),
    [
        (
            "UDP",
            "UDP probe of 23 bytes, identifier 1234; another flow of the port: probe sent again",
            "without an answer",
        ),
        ("UDP", "UDP probe of 23 bytes; probe sent again with the reply's token", "sent again"),
        ("UDP", "datagram", "another datagram"),
        ("TCP", "TCP to a login server: login dialogue", "authentication"),
        ("TCP", "something else", "not told apart"),
    ],
)
def test_steps(proto: str, detail: str, name: str) -> None:
    assert name in str(skypepage.stage(record(proto, "skype", detail)))


def test_a_table_counts_what_is_not_skype() -> None:
    lines = skypepage.table(
        [record("TCP", "http", "x"), record("TCP", "skype", "version check"), record("UDP", None, "")]
    )
    assert lines[-2] == "| HTTP communication with ui.skype.com | 1 | confirmed |"
    assert lines[-1] == "| not Skype's | 2 of 3 | |"


@needs_corpus()
@pytest.mark.parametrize("capture", skypepage.CAPTURES)
def test_the_page_says_what_the_program_says(capture: str) -> None:
    lines = skypepage.table(skypepage.flows(CORPUS / "skype" / capture))
    assert "\n".join(lines) in PAGE
