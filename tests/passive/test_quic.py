"""QUIC flows: who is asked, what answers, and what only looks like it."""

import pytest

from flowsonar.model import Layer
from tests.protocols.hellos import client_hello, server_hello
from tests.protocols.initials import CLIENT_ID, SERVER_ID, client_initial, google, server_initial, tags

from .fakes import Conversation

OWN_ID = b"client-1"
HELLO = client_hello(name="video.example", alpn=("h2",), versions=(0x0304,))[5:]
ANSWER = server_hello()[5:]


def crypto(message):
    return b"\x06\x00" + (0x4000 | len(message)).to_bytes(2, "big") + message


def answer(destination=OWN_ID, frames=None, version=1, first=CLIENT_ID):
    return server_initial(version, first, destination, SERVER_ID, crypto(ANSWER) if frames is None else frames)


@pytest.fixture
def talk(reader):
    return Conversation(reader, protocol=17, server_port=443)


def named(talk, name):
    return [one for one in talk.evidence if one.signature == f"quic/{name}"]


def test_the_client_alone_is_likely(talk):
    talk.send(client_initial(HELLO))
    assert talk.best == ("quic", "likely")
    assert (talk.flow.name, talk.flow.alpn) == ("video.example", ("h2",))
    detail = named(talk, "client-hello")[0].detail
    assert detail.startswith("ClientHello, version 1, SNI video.example, ALPN h2, JA4 q13d0")
    assert not talk.done


def test_the_server_opens_with_the_connections_keys(talk):
    talk.send(client_initial(HELLO)).answer(answer(destination=b""))
    assert talk.best == ("quic", "confirmed")
    assert "ServerHello, cipher 1301" in named(talk, "server-initial")[0].detail
    inside = named(talk, "alpn")[0]
    assert (inside.service, inside.over, inside.confidence.value) == ("http", Layer.QUIC, "likely")
    assert talk.done


def test_what_is_inside_is_not_told_where_two_services_are_offered(talk):
    hello = client_hello(alpn=("h2", "other"), versions=(0x0304,))[5:]
    talk.send(client_initial(hello)).answer(answer())
    assert talk.best == ("quic", "confirmed")
    assert not named(talk, "alpn")


def test_an_acknowledgement_first_and_the_hello_later(talk):
    talk.send(client_initial(HELLO)).answer(answer(frames=b"\x02\x00\x00\x00\x00"))
    assert talk.best == ("quic", "confirmed")
    assert not talk.done
    talk.answer(answer())
    assert named(talk, "alpn")
    assert talk.done


def test_a_hello_in_two_datagrams(talk):
    talk.send(client_initial(HELLO[60:], offset=60))
    assert named(talk, "initial")
    assert talk.flow.name is None
    talk.send(client_initial(HELLO[:60], number=1))
    assert talk.flow.name == "video.example"


def test_a_header_that_repeats_the_clients_id(talk):
    talk.send(client_initial(HELLO, source=OWN_ID))
    handshake = b"\xe0\0\0\0\x01\x08" + OWN_ID + b"\x08" + SERVER_ID + b"\x40\x20" + bytes(32)
    talk.answer(handshake)
    assert talk.best == ("quic", "confirmed")


def test_a_header_with_another_id_proves_nothing(talk):
    talk.send(client_initial(HELLO, source=OWN_ID))
    talk.answer(b"\xe0\0\0\0\x01\x08" + b"somebody" + b"\x08" + SERVER_ID + b"\x40\x20" + bytes(32))
    assert talk.best == ("quic", "likely")


def test_an_id_of_no_bytes_proves_nothing(talk):
    talk.send(client_initial(HELLO))
    talk.answer(b"\xe0\0\0\0\x01\x00\x08" + SERVER_ID + b"\x40\x20" + bytes(32))
    assert talk.best == ("quic", "likely")


def test_a_server_of_another_connection(talk):
    talk.send(client_initial(HELLO)).answer(answer(destination=b"", first=b"another!"))
    assert talk.best == ("quic", "likely")


def test_version_negotiation(talk):
    talk.send(b"\xc0\x1a\x2a\x3a\x4a\x08" + CLIENT_ID + b"\x08" + OWN_ID + bytes(1174))
    assert talk.best == ("quic", "guess")
    talk.answer(b"\x80\0\0\0\0\x08" + OWN_ID + b"\x08" + CLIENT_ID + b"\0\0\0\x01\xff\0\0\x1d")
    assert talk.best == ("quic", "confirmed")
    assert named(talk, "answer")[0].detail.endswith("speaks 1 draft-29")


def test_a_padded_packet_of_a_reserved_version_is_likely(talk):
    talk.send(b"\xc0\x1a\x2a\x3a\x4a\x08" + CLIENT_ID + b"\x08" + OWN_ID + bytes(1180))
    assert talk.best == ("quic", "likely")


def test_version_negotiation_with_wrong_ids(talk):
    talk.send(b"\xc0\x1a\x2a\x3a\x4a\x08" + CLIENT_ID + b"\x08" + OWN_ID + bytes(1174))
    talk.answer(b"\x80\0\0\0\0\x08" + OWN_ID + b"\x08" + b"somebody" + b"\0\0\0\x01\xff\0\0\x1d")
    assert talk.best == ("quic", "likely")


def test_an_echo_is_an_echo(talk):
    talk.send(client_initial(HELLO, source=CLIENT_ID)).answer(client_initial(HELLO, source=CLIENT_ID))
    assert talk.best[0] == "echo" or talk.best == ("quic", "likely")
    assert not [one for one in talk.evidence if one.confidence.value == "confirmed"]


def test_sides_are_known_by_their_keys(reader):
    """The server's packet came first: the flow is the wrong way round, the evidence is not."""
    talk = Conversation(reader, protocol=17, server_port=50000)
    talk.send(answer(destination=b"")).answer(client_initial(HELLO)).send(answer(destination=b""))
    assert talk.best == ("quic", "confirmed")
    assert named(talk, "server-initial")[0].side.value == "initiator"


def test_two_clients_on_one_flow_are_no_answer(talk):
    """A hole puncher or a spoofer: the other side's client hello is not this client's server."""
    talk.send(client_initial(HELLO)).answer(client_initial(HELLO, destination=b"another!"))
    assert talk.best == ("quic", "likely")


def test_google_quic(talk):
    hello = tags(b"CHLO", SNI=b"video.example", UAID=b"Chrome/62")
    talk.send(google("Q043", hello))
    assert talk.best == ("quic", "likely")
    assert talk.flow.name == "video.example"
    talk.answer(google("", tags(b"REJ", STK=b"t"), flags=0x08))
    assert talk.best == ("quic", "confirmed")
    assert named(talk, "answer")[0].detail == "the connection id comes back with REJ"
    assert talk.done


def test_google_quic_with_another_id(talk):
    talk.send(google("Q043", tags(b"CHLO", SNI=b"video.example")))
    talk.answer(google("", tags(b"REJ", STK=b"t"), connection=b"somebody", flags=0x08))
    assert talk.best == ("quic", "likely")


def test_q046(talk):
    own = bytes(range(1, 9))
    talk.send(b"\xc3Q046\x50" + own + bytes(16) + b"\xa0\x01\0\x04" + tags(b"CHLO", SNI=b"video.example"))
    talk.answer(b"\xc3Q046\x05" + own + bytes(40))
    assert talk.best == ("quic", "confirmed")


def test_q050_has_its_own_hello_inside(talk):
    talk.send(client_initial(tags(b"CHLO", SNI=b"video.example"), version=0x51303530))
    assert talk.flow.name == "video.example"
    assert "CHLO of Google QUIC" in named(talk, "client-hello")[0].detail


def test_a_cut_packet_is_left_to_the_patterns(talk):
    talk.send(client_initial(HELLO)[:600])
    assert talk.flow.quic is None


@pytest.mark.parametrize("size", [0, 1, 7, 30, 200, 1180])
def test_random_tails(talk, size):
    talk.send(client_initial(HELLO)[:18] + bytes(range(256)) * 5)
    talk.send(b"\xc0\0\0\0\x01" + bytes(range(200, 200 + min(size, 50))) + bytes(size))
    assert talk.best is None or talk.best[1] != "confirmed"
