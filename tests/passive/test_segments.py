"""Both sides' words, who may be believed alone, pieces, middles of flows."""

import pytest

from flowsonar.model import Side

from .fakes import GET, SSH, Conversation, opened


def test_the_answer_to_hello_confirms_smtp_after_a_greeting_that_tells_nothing(real):
    talk = Conversation(real).answer(b"220 x\r\n").send(b"EHLO client.example\r\n")
    assert talk.best == ("smtp", "likely")
    assert not talk.done
    talk.answer(b"250-x\r\n250 SIZE\r\n")
    assert talk.best == ("smtp", "confirmed")
    assert talk.done


def test_an_answer_that_comes_line_by_line_is_read_on(real):
    talk = Conversation(real).send(b"OPTIONS * RTSP/1.0\r\nCSeq: 1\r\n\r\n").answer(b"RTSP/1.0 200 OK\r\n")
    assert talk.best == ("rtsp", "likely")
    talk.answer(b"Public: OPTIONS, DESCRIBE\r\n")
    assert talk.best == ("rtsp", "confirmed")


def test_a_plain_value_confirms_a_command_of_redis(real):
    talk = Conversation(real).send(b"*3\r\n$3\r\nset\r\n$1\r\na\r\n$1\r\nb\r\n").answer(b"+OK\r\n")
    assert talk.best == ("redis", "confirmed")


def test_a_plain_value_alone_is_a_guess(real):
    assert Conversation(real).answer(b"+OK\r\n").best == ("redis", "guess")


def test_a_node_of_skype_answers_a_get_but_is_no_web_server(reader):
    talk = Conversation(reader).send(GET).answer(b"HTTP/1.0 404 Not Found\r\n\r\n").close()
    assert talk.best == ("http", "likely")


def test_a_server_that_speaks_first_is_believed_when_the_client_goes_along(reader):
    talk = Conversation(reader).answer(SSH)
    assert talk.best == ("ssh", "likely")
    assert talk.evidence[0].product == "OpenSSH_9.2p1"
    assert talk.flow.hints().first_speaker is Side.RESPONDER
    talk.send(b"\x01\x02\x03\x04 words that nobody knows")
    assert talk.best == ("ssh", "confirmed")
    assert talk.done


def test_a_server_that_speaks_first_is_not_believed_when_the_client_speaks_another_language(reader):
    talk = Conversation(reader).answer(SSH).send(GET).close()
    assert {one.confidence.value for one in talk.evidence} == {"likely"}


@pytest.mark.parametrize("client", [b"", b"GREETS you too\n", b"\x01\x02 something else"])
def test_a_greeting_proves_nothing_whatever_the_client_says(reader, client):
    talk = Conversation(reader).answer(b"GREETS you\n").send(client).answer(b"rubbish").close()
    assert talk.best == ("greets", "likely")


@pytest.mark.parametrize("client", [b"", b"GREETS you too\n", b"GREETS you\n"])
def test_what_comes_after_a_greeting_proves_it(reader, client):
    talk = Conversation(reader).answer(b"GREETS you\n").send(client).send(b"PROVE IT").answer(b"PROOF")
    assert talk.best == ("greets", "confirmed")
    assert talk.done
    for word in (b"yes", b"GREETS you too\n"):
        assert Conversation(reader).answer(b"GREETS you\nPROOF").send(word).best == ("greets", "confirmed")


def test_a_message_in_pieces(reader):
    talk = Conversation(reader).send(GET[:3]).send(GET[3:])
    assert talk.best == ("http", "likely")


def test_what_is_inside_another_protocol_is_not_meant(reader):
    talk = Conversation(reader, server_port=1080).send(b"\x05\x01\x00").answer(b"\x05\x00").send(GET).close()
    assert talk.best is None


def test_zeros_that_pad_a_short_frame_are_not_payload(reader):
    talk = Conversation(reader).send(b"\x00\x00").answer(b"\x00" * 6).send(GET)
    assert talk.best == ("http", "likely")


def test_a_server_seen_first_in_the_middle(reader):
    talk = Conversation(reader, start=opened(midstream=True)).send(b"HTTP/1.1 200 OK\r\nServer: x\r\n\r\n")
    assert talk.best == ("http", "likely")
    assert talk.evidence[0].side is Side.INITIATOR
    assert talk.flow.hints().first_speaker is None
    talk.answer(GET)
    assert talk.best == ("http", "confirmed")


def test_a_client_seen_first_in_the_middle_is_not_believed_alone(reader):
    assert Conversation(reader, start=opened(midstream=True)).send(SSH).best == ("ssh", "confirmed")
    assert Conversation(reader, start=opened(midstream=True)).send(GET).best == ("http", "likely")


def test_http2_settings_answer_the_preface(reader):
    preface = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + bytes.fromhex("000000 04 00 00000000")
    talk = Conversation(reader).send(preface).answer(bytes.fromhex("000006 04 00 00000000 0003 00000080"))
    assert talk.best == ("http", "confirmed")


def test_smtp_and_ftp_are_told_apart_after_220(reader):
    smtp = Conversation(reader).answer(b"220 mx.example ESMTP\r\n")
    assert smtp.followed
    assert smtp.send(b"EHLO x\r\n").best == ("smtp", "confirmed")
    assert smtp.done
    ftp = Conversation(reader).answer(b"220 files FTP ready\r\n").send(b"USER anonymous\r\n")
    assert ftp.best == ("ftp", "likely")
    assert ftp.answer(b"331 password?\r\n").best == ("ftp", "confirmed")
    assert not ftp.done
