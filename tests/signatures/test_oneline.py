"""Expressions whose match lies within one line, and the line."""

from __future__ import annotations

from pathlib import Path

import pytest

from flowsonar.model import Confidence
from flowsonar.signatures.engines import available
from flowsonar.signatures.language import Condition, Product, ReplyPattern
from flowsonar.signatures.oneline import LINE_BYTES, line_of, within_a_line
from flowsonar.signatures.rules import Database, Rule


@pytest.mark.parametrize(
    "pattern",
    [r"(?i)\nServer: a(?:/(?P<v>[0-9.]+))?\r?\n", r"\r\nX: (?P<v>[^\r\n]*)", r"^220 (?P<v>.+)", r"(?m)^SSH-(?P<v>\S+)"],
)
def test_says_which_stay_in_a_line(pattern: str) -> None:
    assert within_a_line(pattern)


@pytest.mark.parametrize(
    "pattern",
    [
        r"Server: a",
        r"\nServer: a(?s:.*)b",
        r"\nServer:\s*a",
        r"(?s)^a.b",
        r"^a\r\nb",
        r"\na\b",
        r"^a$",
        r"\n",
        r"\n(?:a|\nb)",
        r"\n[^a]b",
        r"^\pL",
    ],
)
def test_says_which_do_not(pattern: str) -> None:
    assert not within_a_line(pattern)


@pytest.mark.parametrize(
    ("data", "end", "line"),
    [
        (b"one\ntwo\nthree", 6, b"\ntwo\n"),
        (b"one\ntwo\nthree", 8, b"\ntwo\n"),
        (b"one\ntwo\nthree", 2, b"one\n"),
        (b"one\ntwo\nthree", 4, b"one\n"),
        (b"one\ntwo\nthree", 12, b"\nthree"),
        (b"a" * LINE_BYTES + b"\n", 4, None),
        (b"a" * LINE_BYTES, 4, b"a" * LINE_BYTES),
    ],
)
def test_gives_the_line_with_its_newlines(data: bytes, end: int, line: bytes | None) -> None:
    assert line_of(data, end) == line


@pytest.mark.parametrize("engine", available())
def test_what_a_line_said_before_is_said_of_other_pages_too(engine: str, tmp_path: Path) -> None:
    rule = Rule(
        ReplyPattern(
            service="s",
            name="n",
            condition=Condition(pattern=r"\nServer: it(?:/(?P<version>[0-9.]+))?"),
            confidence=Confidence.LIKELY,
            product=Product(product="it", version="{version}"),
        ),
        0,
    )
    database = Database([rule], engine, tmp_path).finish()
    for index in range(3):
        for head, version in ((b"Server: it", None), (b"Server: it/1.2", "1.2"), (b"Server: it/1.3 x", "1.3")):
            page = b"OK\nx: %d\n%b\n\nServer: ot/9" % (index, head)
            assert database.found(page) == (rule,)
            assert rule.matched(page).version == version
    assert rule.matched(b"\nServer: it/7").version == "7"
