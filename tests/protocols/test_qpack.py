import contextlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from flowsonar.errors import MalformedError
from flowsonar.protocols.qpack import STATIC, encode, read_fields


def test_every_field_of_the_static_table():
    assert len(STATIC) == 99
    assert read_fields(encode(list(STATIC))[:]) == list(STATIC)[:64]


@pytest.mark.parametrize(
    ("block", "fields"),
    [
        ("0000 d9 5f4d 84 bc3924f5", [(":status", "200"), ("server", "Caddy")]),
        ("0000 510b 2f696e6465782e68746d6c", [(":path", "/index.html")]),  # RFC 9204 appendix B.1
        ("0000 23 61 62 63 01 64", [("abc", "d")]),
        ("0000", []),
    ],
)
def test_fields(block, fields):
    assert read_fields(bytes.fromhex(block)) == fields


@pytest.mark.parametrize(
    "block",
    [
        "",
        "00",
        "0100",
        "0000 80",
        "0000 10",
        "0000 ff24",
        "0000 5f4d 84 bc39",
        "0000 5f4d 81 00",
        "0000 ffffffffffffff",
    ],
)
def test_what_is_refused(block):
    with pytest.raises(MalformedError):
        read_fields(bytes.fromhex(block))


texts = st.text(st.characters(min_codepoint=32, max_codepoint=126), max_size=200)


@given(st.lists(st.tuples(texts, texts), max_size=10))
def test_what_is_written_is_read(fields):
    assert read_fields(encode(fields)) == fields


@given(st.binary(max_size=200))
def test_anything_is_read_or_refused(block):
    with contextlib.suppress(MalformedError):
        read_fields(b"\0\0" + block)
