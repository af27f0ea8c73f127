from pathlib import Path

import pytest

from flowsonar.errors import SignatureError
from flowsonar.signatures.parsing import parse_groups, pattern_problem
from tests.signatures.files import text


def test_later_folders_replace_what_earlier_ones_say() -> None:
    groups = [[("one.toml", text(""))], [("two.toml", text(""))]]
    (signature,) = parse_groups(groups, Path("nowhere"))
    assert signature.path == "two.toml"


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ("service = ", r"one\.toml:1: not TOML"),
        ("a = 1\nb = [", r"one\.toml:\d: not TOML"),
        ("x = " + "[" * 5000, "not TOML"),
    ],
)
def test_what_is_no_toml_is_told_with_its_line(content: str, said: str) -> None:
    with pytest.raises(SignatureError, match=said):
        parse_groups([[("one.toml", content)]], Path("nowhere"))


@pytest.mark.parametrize("pattern", ["^a(?=b)", "(", r"^(a)\1", "^(?:(?:a{500}){500}){500}"])
def test_patterns_that_are_not_linear_are_refused(pattern: str) -> None:
    assert pattern_problem(pattern) is not None


def test_patterns_that_are_fine() -> None:
    assert pattern_problem(r"(?is)^\x16\x03(?P<version>.)") is None
