import pytest
from hypothesis import given
from hypothesis import strategies as st

from flowsonar.verdicts.visible import hexdump, visible

CASES = [
    ("plain", "nginx/1.22 [ok]", "nginx/1.22 [ok]"),
    ("empty", "", ""),
    ("escape sequence", "\x1b[31mred\x1b[0m", "\\x1b[31mred\\x1b[0m"),
    ("terminal title", "\x1b]0;x\x07", "\\x1b]0;x\\x07"),
    ("one-byte CSI", "\x9b2J", "\\x9b2J"),
    ("line ends", "a\r\nb\tc", "a\\r\\nb\\tc"),
    ("delete", "\x7f", "\\x7f"),
    ("bidirectional override", "a\u202eb", "a\\u202eb"),
    ("isolate", "\u2066x\u2069", "\\u2066x\\u2069"),
    ("zero width", "a\u200bb", "a\\u200bb"),
    ("right-to-left letters", "שלום", "\\u05e9\\u05dc\\u05d5\\u05dd"),
    ("combining", "e\u0301", "e\\u0301"),
    ("surrogate", "\udc80", "\\udc80"),
    ("tag characters", "\U000e0041", "\\U000e0041"),
    ("line separator", "a\u2028b", "a\\u2028b"),
    ("letters of the world", "Grüße 世界 Ж", "Grüße 世界 Ж"),
]


@pytest.mark.parametrize(("text", "expected"), [case[1:] for case in CASES], ids=[case[0] for case in CASES])
def test_visible(text, expected):
    assert visible(text) == expected


def test_long_text_is_cut():
    assert visible("x" * 100, 10) == "x" * 9 + "…"
    assert visible("x" * 10, 10) == "x" * 10


@given(st.text(st.characters(codec=None), max_size=60))
def test_what_comes_out_is_one_printable_line(text):
    assert visible(text).isprintable()


def test_hexdump():
    assert hexdump(b"") == []
    assert hexdump(b"SSH-2.0\r\n\x1b\xff") == ["0000  53 53 48 2d 32 2e 30 0d 0a 1b ff                 |SSH-2.0....|"]
    assert [line[:4] for line in hexdump(bytes(40))] == ["0000", "0010", "0020"]
