"""The lies: every kind is told, and each server says what its kind says."""

import pytest
from lab.catalogue.liars import lies
from lab.peers.liar import KINDS, Liar, reply
from lab.truth import Kind


def test_every_kind_is_there_and_names_are_unique() -> None:
    told = list(lies())
    assert {liar.kind for _, _, liar in told} == set(KINDS)
    names = [name for name, _, _ in told]
    assert len(names) == len(set(names))


def test_only_pages_are_a_service() -> None:
    for _, truth, liar in lies():
        assert (truth.service == "http") == (liar.kind == "http")
        assert truth.service or truth.kind is Kind.BANNER


@pytest.mark.parametrize(
    ("kind", "heard", "said"),
    [
        ("banner", b"hello\r\n", b""),
        ("banner-again", b"hello\r\n", b"x"),
        ("answer", b"hello\r\n", b"x"),
        ("mixed", b"hello\r\n", b"hello\r\nx"),
        ("http", b"GET / HTTP/1.0\r\n", b""),
    ],
)
def test_what_a_kind_says(kind: str, heard: bytes, said: bytes) -> None:
    assert reply(kind, b"x", heard) == said


def test_garbage_and_pages() -> None:
    assert len(reply("banner-garbage", b"x", b"hello")) == 40
    assert reply("http", b"x", b"GET / HTTP/1.0\r\n\r\n").endswith(b"\r\n\r\nx")


def test_a_line_of_the_file_makes_the_liar_again() -> None:
    liar = Liar(port=7, kind="answer", data=b"\xff", transport="udp")
    line = liar.line()
    assert Liar(**{**line, "data": bytes.fromhex(str(line["data"]))}) == liar  # type: ignore[arg-type]
