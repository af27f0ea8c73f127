"""Skype over TCP: constants, version check, ports that UDP has proven, and what must not be Skype."""

import random

import pytest

from flowsonar.model import Confidence
from flowsonar.passive import skype_tcp
from flowsonar.passive.skype_tcp import SkypeServers
from flowsonar.protocols import skype

from .fakes import CLIENT, Conversation, opened
from .test_skype_udp import PORT, PROBE, _flow

NOISE = random.Random(3).randbytes(400)
LOGIN_REQUEST = bytes.fromhex("16030100cd4103000980") + NOISE[:100]


@pytest.fixture
def proven(reader):
    """A reader that knows 192.0.2.1:35990/udp as Skype's, and its peer 203.0.113.1:20001."""
    talk = _flow(reader).send(PROBE).answer(PROBE[:2] + b"\x25" + CLIENT + b"tokn")
    assert talk.best == ("skype", "confirmed")
    return reader


def test_login_dialogue(reader):
    talk = Conversation(reader, server_port=33033).send(skype.LOGIN_HELLO)
    assert talk.best == ("skype", "likely")
    assert talk.answer(skype.LOGIN_ANSWER).best == ("skype", "confirmed")
    assert "login server" in talk.evidence[-1].detail
    assert talk.done


def test_login_dialogue_in_one_direction(reader):
    talk = Conversation(reader, server_port=12350).send(skype.LOGIN_HELLO).send(LOGIN_REQUEST)
    assert talk.best == ("skype", "confirmed")
    assert Conversation(reader).answer(skype.LOGIN_ANSWER).best == ("skype", "likely")


def test_imitated_tls(reader):
    hello = skype.TLS_CLIENT_HELLO + NOISE[:16]
    talk = Conversation(reader, server_port=443).send(hello)
    assert talk.best == ("skype", "likely")
    assert talk.answer(skype.TLS_SERVER_HELLO + NOISE[:14]).best == ("skype", "confirmed")
    assert Conversation(reader, server_port=443).send(hello).send(NOISE[:40]).best == ("skype", "confirmed")
    assert "tls" not in talk.flow.services


def test_version_check_wins_over_http(reader):
    request = (
        b"GET http://ui.skype.com/ui/2/1.2.0.18/en/getlatestversion?ver=1.2.0.18&uhash=1 HTTP/1.1\r\n"
        b"User-Agent: Skype 1.2\r\nHost: ui.skype.com\r\n\r\n"
    )
    talk = Conversation(reader, server_port=80).send(request).answer(b"HTTP/1.1 200 OK\r\n\r\n1").close()
    assert talk.flow.services == {"skype": Confidence.CONFIRMED.rank}
    assert "version check" in talk.evidence[0].detail
    assert talk.flow.name == "ui.skype.com"


def test_tcp_to_the_port_of_a_node(proven):
    talk = Conversation(proven, client=bytes([203, 0, 113, 77]), server=CLIENT, server_port=PORT)
    talk.send(NOISE[:29]).answer(bytes.fromhex("b980743e5c0f8634e36e1cc28034"))
    talk.send(NOISE[40:52])
    assert talk.best == ("skype", "likely")
    assert talk.answer(bytes.fromhex("5b0fb32c")).best == ("skype", "confirmed")


def test_tcp_to_a_super_node(proven):
    talk = Conversation(proven, server=bytes([203, 0, 113, 1]), server_port=20001).send(NOISE[:29]).answer(NOISE[50:90])
    assert talk.close().best == ("skype", "likely")
    assert "super node" in talk.evidence[-1].detail


def test_what_was_seen_before_the_port_was_proven_is_judged_at_the_end(reader):
    talk = Conversation(reader, server=bytes([203, 0, 113, 1]), server_port=20001).send(NOISE[:29]).answer(NOISE[50:90])
    assert talk.best is None
    _flow(reader).send(PROBE).answer(PROBE[:2] + b"\x25" + CLIENT + b"tokn")
    assert talk.close().best == ("skype", "likely")


def test_event_servers_of_a_proven_host(proven):
    assert Conversation(proven, server_port=12350).send(NOISE[:60]).close().best == ("skype", "likely")
    stranger = Conversation(proven, client=bytes([192, 0, 2, 99]), server_port=12350)
    assert stranger.send(NOISE[:60]).close().best is None


def test_the_same_server_in_another_flow(reader):
    Conversation(reader, server_port=40001).send(skype.LOGIN_HELLO).answer(skype.LOGIN_ANSWER)
    assert Conversation(reader, server_port=40001).send(NOISE[:60]).close().best == ("skype", "likely")
    assert Conversation(reader, server_port=40002).send(NOISE[:60]).close().best == ("skype", "likely")


def test_handshake_lengths_of_a_proven_host(proven):
    talk = Conversation(proven, server_port=18767).send(NOISE[:57]).answer(NOISE[60:95]).send(NOISE[100:117])
    assert talk.close().best == ("skype", "likely")


@pytest.mark.parametrize(
    ("first", "answer", "second"),
    [
        (NOISE[:12], NOISE[60:74], NOISE[100:106]),  # FastTrack's lengths
        (b"\x03\x00Z\x06\x06\x05", NOISE[60:100], NOISE[100:110]),  # Ares
        (NOISE[:57], b"", NOISE[100:117]),  # nobody answered
        (b"LOGIN some user name please\n", b"OK you are in now, welcome\n", b"LIST all of it\n"),
        (b"\x00\x01" * 12, b"\x00\x02" * 12, b"\x00\x03" * 6),
        (b"good morning\r\n", NOISE[60:124], b"good morning\r\n"),  # lines answered with random bytes
        (b"good morning\r\n", NOISE[60:124], NOISE[100:114]),
        (NOISE[:57], b"welcome to this server\r\n", NOISE[100:114]),
        (NOISE[:57], NOISE[60:124], b"good morning\r\n"),
        (NOISE[:57], NOISE[60:124], b"\x00\x01" * 5),
        (NOISE[:14], NOISE[60:124], NOISE[:14]),  # says it again
    ],
)
def test_other_protocols_of_a_host_that_runs_skype(proven, first, answer, second):
    talk = Conversation(proven, server_port=1214).send(first)
    if answer:
        talk.answer(answer)
    assert talk.send(second).close().best is None


@pytest.mark.parametrize("second", [NOISE[100:117], b"good morning\r\n"])
def test_lengths_and_random_bytes_of_unknown_hosts_are_nothing(reader, second):
    talk = Conversation(reader, server_port=18767).send(NOISE[:14]).answer(NOISE[60:124]).send(second)
    assert talk.close().best is None


def test_lengths_and_random_bytes_need_a_confirmed_port(reader):
    port = _flow(reader).send(PROBE).answer(PROBE[:2] + b"\x25" + bytes([10, 1, 2, 3]) + b"tokn")
    assert port.best == ("skype", "likely")
    talk = Conversation(reader, server_port=18767).send(NOISE[:57]).answer(NOISE[60:95]).send(NOISE[100:117])
    assert talk.close().best is None


def test_text_to_the_port_of_a_node_is_not_skype(proven):
    talk = Conversation(proven, server=CLIENT, server_port=PORT).send(b"good morning\r\n").answer(NOISE[60:124])
    assert talk.close().best is None


def test_a_known_service_stays_what_it_is(proven):
    talk = Conversation(proven, server=bytes([203, 0, 113, 1]), server_port=20001)
    assert talk.answer(b"SSH-2.0-OpenSSH_9\r\n").close().best == ("ssh", "likely")


def test_a_flow_without_payload_stays_unknown(proven):
    assert Conversation(proven, server=bytes([203, 0, 113, 1]), server_port=20001).close().best is None


def test_servers_are_bounded(monkeypatch):
    monkeypatch.setattr(skype_tcp, "MAX_PORTS", 5)
    servers = SkypeServers()
    assert not servers.is_client(CLIENT)
    for port in range(1, 40):
        servers.add(opened(server_port=port))
        assert (opened().responder, port) in servers
    assert sum((opened().responder, port) in servers for port in range(40)) <= 5
    assert servers.is_client(CLIENT)
    assert servers.is_address(opened().responder)
