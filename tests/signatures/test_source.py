import tomllib
from enum import StrEnum

import pytest

from flowsonar.errors import SignatureError
from flowsonar.signatures.source import File, Table

TEXT = """name = "x"
count = 3
wrong = 1.5

[[reply]]
name = "a"
[[reply]]
# a comment with nmae = 1
nmae = "b"
inner = { deep = 1 }
"""


class Colour(StrEnum):
    RED = "red"
    BLUE = "blue"


def table(text: str = TEXT) -> Table:
    return Table(File("f.toml", text), tomllib.loads(text))


def test_values() -> None:
    top = table()
    assert top.text("name") == "x"
    assert top.number("count", 0, 5) == 3
    assert top.text("none", "d") == "d"
    assert top.number("none", 0, 1) is None
    assert top.texts("name") == ("x",)


def test_unknown_keys_are_named_with_line_and_suggestion() -> None:
    reply = table().tables("reply")[1]
    reply.text("name")
    reply.has("inner")
    with pytest.raises(SignatureError, match=r"^f\.toml:9: unknown key 'nmae': did you mean 'name'\?$"):
        reply.done()


def test_inner_tables_know_their_line() -> None:
    inner = table().tables("reply")[1].table("inner")
    assert inner is not None
    with pytest.raises(SignatureError, match=r"^f\.toml:10: unknown key 'deep'"):
        inner.done()


@pytest.mark.parametrize(
    ("call", "error"),
    [
        (lambda t: t.text("count"), r"f\.toml:2: count: a string"),
        (lambda t: t.number("name", 0, 9), r"f\.toml:1: name: a number"),
        (lambda t: t.number("count", 5, 9), r"f\.toml:2: count = 3: must be 5 to 9"),
        (lambda t: t.number("wrong", 0, 9), r"f\.toml:3: wrong: a number"),
        (lambda t: t.flag("count"), r"true or false"),
        (lambda t: t.required("nothing"), r"nothing is missing: add nothing"),
        (lambda t: t.choice("name", Colour), r"must be one of red, blue"),
        (lambda t: t.table("name"), r"a table"),
        (lambda t: t.tables("name"), r"a list of tables"),
        (lambda t: t.texts("count"), r"list of strings"),
        (lambda t: t.numbers("name", 0, 1), r"list of numbers"),
    ],
)
def test_errors(call, error: str) -> None:
    with pytest.raises(SignatureError, match=error):
        call(table())


def test_a_choice_that_is_close_is_suggested() -> None:
    with pytest.raises(SignatureError, match="did you mean 'red'"):
        table('name = "rd"').choice("name", Colour)


def test_true_is_no_number() -> None:
    with pytest.raises(SignatureError, match="a number"):
        table("count = true").number("count", 0, 1)
