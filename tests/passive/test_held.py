"""First messages of all flows together keep to a bound."""

from flowsonar.flows.events import Payload
from flowsonar.model import Confidence
from flowsonar.passive.held import FULL, Held
from tests.protocols.hellos import client_hello

from .fakes import Conversation

HELLO = client_hello(name="held.example", versions=(0x0304,), padding=1800)


def test_what_is_kept_is_given_back():
    held = Held(100)
    first = held.keep(None, 60)
    second = held.keep(None, 40)
    assert first is not None
    assert second is not None
    assert held.bytes == 100
    assert held.keep(first, 61) is None
    assert held.keep(None, 1) is None
    assert held.counts[FULL] == 2
    assert held.keep(second, 0) is second
    assert held.bytes == 60
    del first
    assert held.bytes == 0


def test_a_hello_in_pieces_is_kept_until_it_is_whole(reader):
    talk = Conversation(reader)
    talk.send(HELLO[:700])
    assert reader.held.bytes == 700
    talk.send(HELLO[700:])
    assert reader.held.bytes == 0
    assert talk.flow.name == "held.example"


def test_a_flow_that_is_forgotten_keeps_nothing(reader):
    talk = Conversation(reader)
    talk.send(HELLO[:700])
    del talk
    assert reader.held.bytes == 0


def test_without_room_what_is_there_is_read(reader):
    reader.held._most = 1000
    talks = [Conversation(reader) for _ in range(3)]
    for talk in talks:
        talk.send(HELLO[:700])
    assert reader.held.bytes == 700
    assert reader.held.counts[FULL] == 2
    assert [talk.flow.done for talk in talks] == [False, True, True]
    assert talks[1].flow.services["tls"] >= Confidence.LIKELY.rank


def test_segments_without_their_beginning_count(reader):
    talk = Conversation(reader)
    for offset, data, kept in ((9, b"x" * 50, 50), (0, b"y" * 9, 0)):
        reader.payload(talk.flow, Payload(1, 0, 0, 0, offset, data, len(data), 0))
        assert reader.held.bytes == kept
