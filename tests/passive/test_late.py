"""Segments that come before the beginning of their direction, and readers that see them."""

from itertools import permutations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from flowsonar.flows.events import Payload
from flowsonar.passive.late import Late
from tests.protocols.hellos import client_hello

from .fakes import Conversation

HELLO = client_hello(name="late.example", alpn=("h2",), versions=(0x0304,), padding=600)


def event(offset, data, index=0, direction=0):
    return Payload(1, 0, direction, index, offset, data, len(data), 0)


def test_the_beginning_brings_the_rest():
    late = Late()
    assert late.hold(event(3, b"def")) == []
    assert late.waits(0)
    assert [(one.offset, one.data) for one in late.hold(event(0, b"abc"))] == [(0, b"abc"), (3, b"def")]
    assert not late.waits(0)


def test_what_is_repeated_is_left_out():
    late = Late()
    late.hold(event(3, b"def"))
    assert [(one.offset, one.data) for one in late.hold(event(0, b"abcde"))] == [(0, b"abcde"), (5, b"f")]
    late.hold(event(1, b"b"))
    assert [one.data for one in late.hold(event(0, b"abc"))] == [b"abc"]


def test_a_beginning_that_never_comes():
    late = Late()
    assert late.hold(event(6, b"g")) == []
    assert late.hold(event(3, b"d")) == []
    assert [one.offset for one in late.hold(event(9, b"j"))] == [3, 6, 9]


def test_directions_are_apart():
    late = Late()
    late.hold(event(3, b"d"))
    assert not late.waits(1)
    assert [one.data for one in late.hold(event(0, b"x", direction=1))] == [b"x"]
    assert late.waits(0)


@given(st.binary(min_size=3, max_size=60), st.integers(1, 30), st.integers(1, 30), st.permutations([0, 1, 2]))
def test_any_order_gives_the_stream(data, first, second, order):
    """The first piece may overlap the others; whatever comes last, each byte is given once and in its place."""
    cuts = sorted({0, first % len(data), second % len(data)})
    parts = [(start, data[start : end + 2]) for start, end in zip(cuts, [*cuts[1:], len(data)], strict=True)]
    late = Late()
    given_out = [one for at in order if at < len(parts) for one in late.hold(event(*parts[at]))] + late.rest(0)
    stream = {}
    for one in given_out:
        stream.update(enumerate(one.data, one.offset))
    assert bytes(stream[at] for at in sorted(stream)) == data
    assert all(data[at] == byte for at, byte in stream.items())


def send(talk, offset, data, index, direction=0):
    return talk._take(talk.reader.payload(talk.flow, event(offset, data, index, direction)))


@pytest.mark.parametrize("order", list(permutations(range(3))))
def test_a_hello_in_any_order(reader, order):
    talk = Conversation(reader)
    parts = [(0, HELLO[:200]), (200, HELLO[200:500]), (500, HELLO[500:])]
    for index, at in enumerate(order):
        send(talk, *parts[at], index)
    assert talk.flow.name == "late.example"
    assert talk.best == ("tls", "likely")


def test_a_hello_with_a_hole_is_read_as_far_as_it_goes(reader):
    talk = Conversation(reader)
    send(talk, 0, HELLO[:400], 0)
    send(talk, 600, HELLO[600:], 1)
    talk.close()
    assert talk.flow.name == "late.example"


def test_a_request_that_comes_late(reader):
    talk = Conversation(reader)
    send(talk, 14, b" HTTP/1.1\r\nHost: late.example\r\n\r\n", 0)
    assert talk.best is None
    send(talk, 0, b"GET /some/path", 1)
    assert talk.best == ("http", "likely")
    assert talk.flow.name == "late.example"


def test_what_was_held_is_read_at_the_end(reader):
    talk = Conversation(reader)
    send(talk, 5, b"SSH-2.0-late\r\n", 0)
    assert talk.best is None
    talk.close()
    assert talk.best[0] == "ssh"
