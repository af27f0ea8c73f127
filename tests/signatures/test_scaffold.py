from pathlib import Path

import pytest

from flowsonar.errors import ConfigError
from flowsonar.signatures import Matcher, check, load_signatures, render_scaffold
from flowsonar.signatures.scaffold import Seen


def test_the_scaffold_passes_the_check(tmp_path: Path) -> None:
    (tmp_path / "gopher2.toml").write_text(render_scaffold("gopher2"), encoding="utf-8")
    loaded = load_signatures([tmp_path], cache=tmp_path / "cache")
    assert "gopher2" in loaded.services
    assert check(loaded, Matcher(loaded, engine="re2")) == []


@pytest.mark.parametrize("name", ["", "Gopher", "go pher", "../x", "-x", "x-", "é"])
def test_names_that_are_none(name: str) -> None:
    with pytest.raises(ConfigError, match="no service name"):
        render_scaffold(name)


def record(*answers: tuple[str | None, bytes], service: str | None = None) -> dict[str, object]:
    evidence = [{"probe": probe, "data": data.hex()} for probe, data in answers]
    return {"proto": "TCP", "dest_port": 7070, "flowsonar": {"service": service, "evidence": evidence}}


@pytest.mark.parametrize(
    "answers",
    [
        [("http/get", b"WHAT? 'nope' {x} \\ \x00\xff\r\n")],
        [(None, b"Welcome to nobody's server 1.2\r\n"), ("http/get", b"?\r\n"), ("redis/info", b"?\r\n")],
        [("http/get", bytes(range(256)))],
    ],
)
def test_what_was_answered_becomes_a_signature(tmp_path: Path, answers: list[tuple[str | None, bytes]]) -> None:
    seen = Seen.of(record(*answers))
    assert seen is not None
    (tmp_path / "odd.toml").write_text(render_scaffold("odd", seen), encoding="utf-8")
    loaded = load_signatures([tmp_path], cache=tmp_path / "cache")
    assert [example.data for example in loaded.services["odd"].examples if example.matches] == [
        data for _, data in seen.answers
    ]
    assert check(loaded, Matcher(loaded, engine="re2")) == []


@pytest.mark.parametrize(
    "wrong",
    [None, 1, {}, [], record(), record(("x", b"y"), service="http"), record(("a\nb", b"y")), {"proto": "TCP"}],
)
def test_records_that_give_nothing(wrong: object) -> None:
    assert Seen.of(wrong) is None
