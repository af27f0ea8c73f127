import pytest

from flowsonar.signatures.engines import compile_regex
from flowsonar.signatures.parsing import pattern_problem
from flowsonar.signatures.ruby import UntranslatableError, to_re2


@pytest.mark.parametrize(
    ("source", "flags", "text", "matches"),
    [
        ("^b$", {}, "a\nb\nc", True),
        (r"\Ab\z", {}, "a\nb", False),
        (r"b\Z", {}, "ab\n", True),
        (r"b\z", {}, "ab\n", False),
        ("a.b", {}, "a\nb", False),
        ("a.b", {"dot_all": True}, "a\nb", True),
        ("(?m)a.b", {}, "a\nb", True),
        ("x(?im:A.b)", {}, "xa\nB", True),
        ("ABC", {}, "abc", False),
        ("ABC", {"ignore_case": True}, "abc", True),
        ("^(?i)ABC", {}, "abc", True),
        (r"^\h+$", {}, "09afAF", True),
        (r"^[\h.]+$", {}, "a.b", True),
        (r"^[[:digit:]x]+$", {}, "1x2", True),
        (r"^[]a]+$", {}, "]a", True),
        (r"^[^]a]+$", {}, "b]", False),
        (r"^[a[]$", {}, "[", True),
        (r"(?<v>\d+)", {}, "v12", True),
        ("^hôte$", {}, "hôte", True),
        ("^h[ôo]+te$", {}, "hôte", True),
        ("^a.b$", {}, "a·b", True),
        (r"^a\u00b7b$", {}, "a·b", True),
        (r"^\x41$", {}, "A", True),
        (r"^\x9$", {}, "\t", True),
        (r"^a\.b\-c\/d$", {}, "a.b-c/d", True),
        (r"^ü\+$", {}, "ü+", True),
    ],
)
def test_what_ruby_says(source: str, flags: dict[str, bool], text: str, matches: bool) -> None:
    pattern = to_re2(source, **flags)
    assert pattern.isascii()
    assert pattern_problem(pattern) is None
    assert (compile_regex(pattern).search(text.encode()) is not None) is matches


@pytest.mark.parametrize("source", [r"(a)\1", r"\k<a>", r"(?x) a b", r"[\R]", r"[\Z]"])
def test_what_re2_has_no_words_for(source: str) -> None:
    with pytest.raises(UntranslatableError):
        to_re2(source)
