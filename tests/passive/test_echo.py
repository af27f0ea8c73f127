"""Servers that give back what they get, and programs of one kind that greet each other."""

import pytest

from .fakes import GET, SSH, Conversation


@pytest.mark.parametrize("order", [(0, 1), (1, 0)])
def test_equal_greetings_with_a_proof_after_them(reader, order):
    talk = Conversation(reader).answer(b"GREETS you\n").send(b"GREETS you\n")
    for direction in order:
        talk.send((b"PROVE IT", b"PROOF")[direction], direction)
    assert talk.best == ("greets", "confirmed")


def test_an_echo_server_is_never_what_the_client_speaks(reader):
    talk = Conversation(reader).send(GET).answer(GET).close()
    assert talk.best in {("http", "likely"), ("echo", "likely")}
    assert ("echo", "likely") in {(one.service, one.confidence.value) for one in talk.evidence}


def test_equal_greetings_are_no_echo_when_the_next_messages_differ(reader):
    talk = Conversation(reader).send(SSH).answer(SSH)
    assert talk.best == ("ssh", "likely")
    talk.send(b"\x00\x00\x05\xdcclient").answer(b"\x00\x00\x04\x00server")
    assert talk.best == ("ssh", "confirmed")
    assert "echo" not in talk.flow.services


def test_equal_greetings_are_an_echo_when_the_next_messages_are_equal(reader):
    talk = Conversation(reader).send(SSH).answer(SSH).send(b"\x00\x00\x05\xdcclient").answer(b"\x00\x00\x05\xdcclient")
    assert talk.best == ("echo", "likely")


def test_the_echo_port_needs_no_second_message(reader):
    assert Conversation(reader, server_port=7).send(b"hello world").answer(b"hello world").best == ("echo", "likely")


@pytest.mark.parametrize(("midstream", "best"), [(False, ("echo", "likely")), (True, None)])
def test_in_the_middle_one_long_message_that_comes_back_may_be_a_handshakes(reader, midstream, best):
    block = bytes(range(1, 129)) * 12  # RTMP's sides give back what the other made up
    talk = Conversation(reader, midstream=midstream).answer(block).send(block)
    assert talk.best == best
    if midstream:
        talk.answer(block[:88]).send(block[:88])  # the rest of that message
        talk.send(b"\x02\x00\x00\x00connect").answer(b"\x02\x00\x00\x00\x00\x00result")
        assert talk.best is None


def test_in_the_middle_an_echo_shows_by_its_second_message(reader):
    block = bytes(range(1, 129))
    talk = Conversation(reader, midstream=True).send(block).answer(block).send(block[5:]).answer(block[5:])
    assert talk.best == ("echo", "likely")
