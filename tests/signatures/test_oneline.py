"""Expressions whose match lies within one line, and the line."""

from __future__ import annotations

from pathlib import Path

import pytest

from flowsonar.model import Confidence
from flowsonar.signatures import load_signatures
from flowsonar.signatures.engines import available, compile_regex
from flowsonar.signatures.language import Condition, Product, ReplyPattern
from flowsonar.signatures.oneline import LINE_BYTES, groups_of, line_reader, place_of_line, read_line, within_a_line
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
    place = place_of_line(data, end)
    assert (None if place is None else data[slice(*place)]) == line


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


@pytest.mark.parametrize(
    ("pattern", "data", "groups"),
    [
        (r"(?i)\nServer: a(?:/(?P<v>[0-9.]+))?\r?\n", b"\nSERVER: A/1.2\r\n", {"v": "1.2"}),
        (r"(?i)\nServer: a(?:/(?P<v>[0-9.]+))?\r?\n", b"\nServer: a\n", {}),
        (r"\r\nv:(?P<v>[0-9]+)", b"x\r\nv:7\r\n", {"v": "7"}),
        (r"^220 (?P<v>.+)", b"220 \xe9\r\n", {"v": "\xe9\r"}),
        (r"(?m)^SSH-(?P<v>[0-9.]+)", b"hello\nSSH-2.0\n", {"v": "2.0"}),
        (r"\nx(?P<v>[0-9])", b"\ny1\n", None),
    ],
)
def test_reads_a_line(pattern: str, data: bytes, groups: dict[str, str] | None) -> None:
    read = line_reader(pattern)
    assert read is not None
    start = max(data.rfind(b"\n", 0, len(data) - 1), 0)
    found = read_line(read, data, (start, len(data)))
    assert (None if found is None else groups_of(found)) == groups


@pytest.mark.parametrize("pattern", [r"\n(?:a+)+b", r"\na*b*c*d", r"\na\s+b", r"\n(?:a|b*){2,9}c", r"\n\pL"])
def test_leaves_to_re2_what_could_take_long_or_means_another_thing(pattern: str) -> None:
    assert line_reader(pattern) is None


def test_both_engines_read_the_same_of_every_example() -> None:
    read = 0
    loaded = load_signatures()
    patterns = {
        one.condition.pattern
        for signature in loaded.services.values()
        for one in (*signature.products, *signature.replies)
    }
    for pattern in sorted(filter(None, patterns)):
        reader = line_reader(pattern) if within_a_line(pattern) else None
        regex = compile_regex(pattern)
        for signature in loaded.services.values() if reader is not None else ():
            for example in signature.examples:
                found = regex.search(example.data)
                place = place_of_line(example.data, found.end()) if found is not None else None
                if reader is None or found is None or place is None:
                    continue
                read += 1
                said = found.groupdict().items()
                groups = {name.decode(): value.decode("latin-1") for name, value in said if value is not None}
                again = read_line(reader, example.data, place)
                assert again is not None
                assert groups_of(again) == groups
    assert read > 50
