"""Expressions taken apart, and refused where Python and RE2 disagree."""

from __future__ import annotations

import pytest

from flowsonar.signatures.expressions import EVERY, NEWLINE, UnsupportedError, parsed, set_of, syntax


@pytest.mark.parametrize("pattern", ["[[:alpha:]]", "\\pL", "\\x{41}", "\\Qa\\E", "(?x)a b", "a(?m:^b)", "("])
def test_refuses_what_means_another_thing(pattern: str) -> None:
    with pytest.raises(UnsupportedError):
        parsed(pattern)


@pytest.mark.parametrize("pattern", ["^a[:#]", "a(?:b)?m"])
def test_takes_what_only_looks_like_it(pattern: str) -> None:
    parsed(pattern)


def test_lines_that_begin_anywhere_begin_after_a_newline() -> None:
    items, _ = parsed("(?m)^a")
    operation, (_, ways) = items[0]
    assert operation is syntax.BRANCH
    assert ways[1] == [(syntax.LITERAL, NEWLINE)]


@pytest.mark.parametrize(
    ("pattern", "taken"),
    [
        ("a", b"a"),
        ("(?i)a", b"aA"),
        ("[a-c]", b"abc"),
        ("[^\\x01-\\xff]", b"\x00"),
        ("\\d", b"0123456789"),
        ("\\s", b"\t\n\f\r "),
    ],
)
def test_sets(pattern: str, taken: bytes) -> None:
    ((operation, argument),), flags = parsed(pattern)
    assert set_of(operation, argument, flags) == sum(1 << byte for byte in taken)


def test_a_dot_leaves_the_newline_out_unless_told() -> None:
    ((operation, argument),), flags = parsed(".")
    assert set_of(operation, argument, flags) == EVERY & ~(1 << NEWLINE)
    ((operation, argument),), flags = parsed("(?s).")
    assert set_of(operation, argument, flags) == EVERY


def test_letters_beyond_ascii_have_no_case_here() -> None:
    ((operation, argument),), flags = parsed("(?i)\\xe4")
    with pytest.raises(UnsupportedError):
        set_of(operation, argument, flags)
