"""DNS: names without loops, sanity of messages, agreement of query and response."""

import contextlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from flowsonar.errors import MalformedError
from flowsonar.protocols import dns

QUERY = bytes.fromhex("1234 0100 0001 0000 0000 0000") + b"\x03www\x07example\x03org\x00\x00\x01\x00\x01"
ANSWER = (
    bytes.fromhex("1234 8180 0001 0002 0000 0000")
    + QUERY[12:]
    + bytes.fromhex("c00c 0005 0001 0000003c 0004")
    + b"\x01a\xc0\x10"
    + bytes.fromhex("c02d 0001 0001 0000003c 0004 c0000201")
)


def test_query_and_answer_agree():
    end = dns.question_end(QUERY)
    assert end == len(QUERY)
    assert dns.question_end(ANSWER) == end
    assert dns.agrees(QUERY, ANSWER, end)
    assert dns.agrees(QUERY, ANSWER.replace(b"www", b"wWw"), end)


@pytest.mark.parametrize(
    "other",
    [b"\x12\x35" + ANSWER[2:], QUERY, ANSWER.replace(b"www", b"ww2"), ANSWER[:12], b"\x12\x34\x81"],
)
def test_what_does_not_agree(other):
    assert not dns.agrees(QUERY, other, len(QUERY))


def test_an_error_without_question_agrees():
    assert dns.agrees(QUERY, bytes.fromhex("1234 8181 0000 0000 0000 0000"), len(QUERY))


def test_addresses_of_an_answer():
    message = dns.read_message(ANSWER)
    assert message.question == dns.Question("www.example.org", 1, 1)
    assert message.addresses == (("a.example.org", b"\xc0\x00\x02\x01"),)
    assert message.response
    assert message.complete
    assert not dns.read_message(ANSWER + b"x").complete


def test_truncated_at_every_length():
    for length in range(len(ANSWER)):
        with pytest.raises(MalformedError):
            dns.read_message(ANSWER[:length])
        dns.question_end(ANSWER[:length])


@pytest.mark.parametrize(
    "data",
    [
        b"",
        QUERY[:16],
        QUERY[:2] + b"\x01\x03" + QUERY[4:],  # a query with an error code
        QUERY[:2] + b"\x38\x00" + QUERY[4:],  # no such opcode
        QUERY[:7] + b"\x09" + QUERY[8:],  # a query with answers
        QUERY[:12] + b"\x41" + QUERY[13:],  # a label of 65 bytes
        QUERY[:-2] + b"\x00\x77",  # no such class
        QUERY[:-4] + b"\x00\x00\x00\x01",  # type 0
        ANSWER[:7] + b"\xff" + ANSWER[8:],  # more answers than fit
        b"\x00" * 40,
        b"\xff" * 40,
    ],
)
def test_not_sane(data):
    assert dns.question_end(data) == 0


@pytest.mark.parametrize("name", [b"\xc0\x0c", b"\x01a\xc0\x0c", b"\xc0\x0e\xc0\x0c", b"\xc0", b"\x40", b"\x05ab", b""])
def test_names_that_loop_or_end(name):
    with pytest.raises(MalformedError):
        dns.read_name(bytes(12) + name, 12)


def test_a_name_is_at_most_255_bytes():
    with pytest.raises(MalformedError):
        dns.read_name(b"\x3f" + b"a" * 63 + (b"\x3f" + b"b" * 63) * 3 + b"\x01c\x00", 0)


@given(st.binary(max_size=200))
def test_random_bytes_never_break(data):
    dns.question_end(data)
    dns.agrees(QUERY, data, len(QUERY))
    dns.tcp_message(data)
    with contextlib.suppress(MalformedError):
        dns.read_message(data)


def test_over_tcp():
    assert dns.tcp_message(len(QUERY).to_bytes(2, "big") + QUERY) == QUERY
    assert dns.tcp_message(b"\x00\x30" + QUERY) == QUERY  # goes on in the next segment
    assert dns.tcp_message(b"\x00\x05" + QUERY) is None
    assert dns.tcp_message(QUERY[:10]) is None
