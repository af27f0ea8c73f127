from pathlib import Path

import pytest

from flowsonar.signatures.compiling import MANY, Part, parted, to_hyperscan
from flowsonar.signatures.engines import HyperscanEngine, available

pytestmark = pytest.mark.skipif("hyperscan" not in available(), reason="needs hyperscan")

WORDS = [f"^word{number}$" for number in range(MANY)]


@pytest.mark.parametrize(
    ("ours", "theirs"),
    [
        (r"^a$", r"^a\z"),
        (r"[$]", r"[$]"),
        (r"\$", r"\$"),
        (r"(?m)^a$", r"(?m)^a$"),
        (r"\s", r"[\t\n\f\r\x20]"),
        (r"[\sx]", r"[\t\n\f\r\x20x]"),
        (r"\S", r"[^\t\n\f\r\x20]"),
        (r"\\s", r"\\s"),
        (r"\x5c", r"\x5c"),
        (r"a\vb", r"a\x0bb"),
        (r"[[:alpha:]]", r"[[:alpha:]]"),
        (r"[a[b]", r"[a\[b]"),
    ],
)
def test_translation(ours: str, theirs: str) -> None:
    assert to_hyperscan(ours) == theirs


def test_many_are_parted_in_order() -> None:
    many = [*WORDS, "^a", "^b", "^c"]
    assert parted(many, 3) == [range(34), range(34, 68), range(68, MANY + 3)]
    assert parted(many, 1) == [range(MANY + 3)]
    assert parted(["^a.{0,16}b", "^c"], 4) == [range(2)]
    assert parted([], 4) == []


def test_parts_keep_the_numbers_of_their_expressions(tmp_path: Path) -> None:
    many = ["^a.{0,16}b", *WORDS, "^a[x]{20}b", r"^(?P<a>x)\pN"]
    for _ in range(2):  # compiled, then kept
        engine = HyperscanEngine(many, tmp_path, parts=2)
        assert set(engine.candidates(b"word7")) - {MANY + 2} == {8}
        assert set(engine.candidates(b"a" + b"x" * 20 + b"b")) - {MANY + 2} == {MANY + 1}
        assert set(engine.candidates(b"axb")) - {MANY + 2} == {0}
    assert len(list(tmp_path.iterdir())) == 2


def test_what_was_kept_of_an_ended_start_is_used(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    many = [*WORDS, "^a.{0,16}b"]
    first, second = parted(many, 2)
    Part(many, first, tmp_path, quiet=True).finish()  # the other one was not reached
    built: list[int] = []
    build = Part._build
    monkeypatch.setattr(Part, "_build", lambda part: (built.append(len(part.ids)), build(part)))
    assert HyperscanEngine(many, tmp_path, parts=2).candidates(b"word3") == {3: 5}
    assert built == [len(second)]


def test_what_goes_wrong_in_the_background_is_told_who_waits(monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(_: Part) -> None:
        raise MemoryError

    monkeypatch.setattr(Part, "_build", broken)
    with pytest.raises(MemoryError):
        HyperscanEngine(["^a"]).candidates(b"a")
