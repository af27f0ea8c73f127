"""Words to parameters: types, defaults, what is wrong and how it is said; nothing is imported before it runs."""

from enum import StrEnum
from pathlib import Path
from typing import Annotated

import pytest

from flowsonar.cli.arguments import Argument, Command, Group, Option, invoke


class Form(StrEnum):
    ROUND = "round"
    SQUARE = "square"


SEEN: list[object] = []


def draw(
    what: Annotated[list[str], Argument(metavar="WHAT...", help="100% of it.")],
    form: Annotated[Form | None, Option("--form", help="Its form.")] = None,
    size: Annotated[float, Option("-s", "--size", metavar="N", min=1)] = 2.0,
    into: Annotated[list[Path] | None, Option("--into", metavar="FILE")] = None,
    loud: Annotated[bool, Option("--loud")] = False,
    verbose: Annotated[int, Option("-v", "--verbose", count=True)] = 0,
) -> int:
    """Draw things.

    All of them.
    """
    SEEN[:] = [what, form, size, into, loud, verbose]
    return 7


def erase(what: Annotated[str, Argument(metavar="[WHAT[/PART]]")] = "everything") -> int:
    """Erase it."""
    SEEN[:] = [what]
    return 0


ROOT = Group(
    "Pictures.",
    {
        "draw": Command(f"{__name__}:draw", "Draw things.", "pictures draw a"),
        "more": Group("More.", {"erase": Command(f"{__name__}:erase", "Erase it.", "pictures more erase a")}),
        "lost": Command("flowsonar.no_such_module:run", "Never imported here.", "pictures lost"),
    },
    epilog="Begin with: pictures draw",
)


@pytest.fixture(autouse=True)
def here(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Command, "function", lambda self: {"draw": draw, "erase": erase}[self.target.split(":")[1]])


def run(*words: str) -> int:
    SEEN.clear()
    return invoke(ROOT, words, "pictures", version=lambda: "1.2")


@pytest.mark.parametrize(
    ("words", "seen"),
    [
        (("draw", "a"), [["a"], None, 2.0, None, False, 0]),
        (("draw", "a", "--loud", "b", "-vv"), [["a", "b"], None, 2.0, None, True, 2]),
        (("draw", "-", "--form", "round", "-s", "3"), [["-"], Form.ROUND, 3.0, None, False, 0]),
        (("draw", "--into=x", "--into", "y", "a"), [["a"], None, 2.0, [Path("x"), Path("y")], False, 0]),
        (("more", "erase"), ["everything"]),
        (("more", "erase", "it"), ["it"]),
    ],
)
def test_words_become_parameters(words: tuple[str, ...], seen: list[object]) -> None:
    assert run(*words) == (7 if words[0] == "draw" else 0)
    assert seen == SEEN


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ((), "Usage: pictures"),
        (("more",), "Erase it."),
        (("drow",), "No such command 'drow': did you mean 'draw'?"),
        (("--loud",), "No such option '--loud'"),
        (("draw",), "Missing argument 'WHAT...'"),
        (("draw", "a", "--lo"), "--lo"),
        (("draw", "a", "--form", "flat"), "'flat' is not one of round, square"),
        (("draw", "a", "--size", "big"), "'big' is not a number"),
        (("draw", "a", "--size", "0.5"), "0.5 is less than 1"),
        (("draw", "a", "--size", "nan"), "nan is less than 1"),
    ],
)
def test_wrong_usage_says_what_is_wrong(words: tuple[str, ...], said: str, capsys: pytest.CaptureFixture[str]) -> None:
    try:
        code: object = run(*words)
    except SystemExit as ended:
        code = ended.code
    assert code == 2
    assert said in capsys.readouterr().err
    assert not SEEN


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("--help",), "Begin with: pictures draw"),
        (("-h",), "lost"),
        (("more", "-h"), "Usage: pictures more"),
        (("draw", "--help"), "100% of it."),
        (("draw", "-h"), "Example: pictures draw a"),
        (("more", "erase", "-h"), "Arguments:\n  WHAT[/PART]\n"),
        (("--version",), "pictures 1.2"),
    ],
)
def test_help(words: tuple[str, ...], said: str, capsys: pytest.CaptureFixture[str]) -> None:
    try:
        code: object = run(*words)
    except SystemExit as ended:
        code = ended.code
    assert code == 0
    assert said in capsys.readouterr().out
