"""What a condition fixes of a message, in bits."""

from __future__ import annotations

import math

import pytest

from flowsonar.signatures.language import Condition, FieldCheck, Rest
from flowsonar.signatures.strength import bits


@pytest.mark.parametrize(
    ("pattern", "held"),
    [
        ("^abc", 24),
        ("(?i)^abc", 21),
        ("(?s)^.\\x01", 8),
        ("^[\\x00-\\x0f][^a]", 4),
        ("^(?:ab|cd)", 15),
        ("^(?:ab|[\\x00-\\x7f])", 1),
        ("^(?P<version>[0-9]{3,5})", 3 * (8 - math.log2(10))),
        ("^a*b?c", 8),
        ("(?s)^\\x05.{6}$", 8 + 6),
        ("(?s)^\\x05.{1,6}$", 8),
        ("(?s)^\\x05(?:\\x01$|\\x02.$)", 16 + 6 - 1),
        ("(?s)^\\x05(?:ab)?$", 8),
        ("\\pL", math.inf),
    ],
)
def test_expressions(pattern: str, held: float) -> None:
    assert bits(Condition(pattern=pattern)) == pytest.approx(held, abs=0.01)


@pytest.mark.parametrize(
    ("check", "held"),
    [
        (FieldCheck(at=0, equals=b"ab"), 16),
        (FieldCheck(at=0, any=(1, 2, 3, 4)), 6),
        (FieldCheck(at=0, any=(1, 2), mask=0x0F), 3),
        (FieldCheck(at=0, between=(0, 15), size=2), 12),
        (FieldCheck(at=0, echo="id", size=4), 32),
        (FieldCheck(at=0, length_size=2), 16),
        (FieldCheck(at=0, length_size=2, length_rest=Rest.MORE), 6),
        (FieldCheck(at=0, capture="x"), 0),
    ],
)
def test_fields(check: FieldCheck, held: float) -> None:
    assert bits(Condition(fields=(check,))) == pytest.approx(held)


def test_lengths_and_words() -> None:
    assert bits(Condition(length=(48, 48))) == 6
    assert bits(Condition(length=(40, 48))) == 3
    assert bits(Condition(length=(0, 500))) == 0
    assert bits(Condition(contains=("HTTP/1",))) == 38
    assert bits(Condition()) == 0
