"""Skype over UDP: each rule of the table alone, inheritance over a port, and what must not be Skype."""

import random

import pytest

from flowsonar.passive import skype_udp
from flowsonar.passive.skype_udp import SkypePorts

from .fakes import CLIENT, SERVER, Conversation

PORT = 35990
PROBE = bytes.fromhex("15f202e2b459e6644a654d81763ac9dbf536")
NACK_NAT = bytes.fromhex("15f2775680f57324499eb8")
PAYLOAD = bytes.fromhex("949102f2d4ed783d8a20a7") + bytes(range(40))


def _probe(number, size=18, seed=None):
    noise = random.Random(number if seed is None else seed)
    return number.to_bytes(2, "big") + b"\x02" + noise.randbytes(size - 3)


def _flow(reader, peer=1, port=PORT, **where):
    return Conversation(
        reader, protocol=17, client_port=port, server=bytes([203, 0, 113, peer]), server_port=20000 + peer, **where
    )


def test_a_lone_datagram_is_not_skype(reader):
    assert _flow(reader).send(PROBE).close().best is None


def test_a_reply_with_the_requester_s_address_confirms(reader):
    talk = _flow(reader).send(PROBE).answer(PROBE[:2] + b"\x25" + CLIENT + b"tokn")
    assert talk.best == ("skype", "confirmed")
    assert "192.0.2.1" in talk.evidence[-1].detail


def test_a_reply_behind_nat_is_likely_and_two_peers_confirm(reader):
    first = _flow(reader, 1).send(PROBE).answer(NACK_NAT)
    assert first.best == ("skype", "likely")
    second = _flow(reader, 2).send(_probe(0x15F4)).answer(b"\x15\xf4" + NACK_NAT[2:])
    assert second.best == ("skype", "confirmed")
    assert first.close().best == ("skype", "confirmed")


def test_two_replies_of_one_peer_do_not_confirm(reader):
    talk = _flow(reader).send(PROBE).answer(NACK_NAT).send(_probe(0x15F4)).answer(b"\x15\xf4" + NACK_NAT[2:])
    assert talk.close().best == ("skype", "likely")


def test_sent_again_confirms(reader):
    target = bytes([203, 0, 113, 1])
    again = PROBE[:2] + b"\x03\x01" + NACK_NAT[7:] + target + PROBE[7:]
    assert _flow(reader).send(PROBE).send(again).best == ("skype", "confirmed")
    other = PROBE[:2] + b"\x03\x01" + b"toke" + bytes(4) + PROBE[7:]
    assert _flow(reader, port=1234).send(PROBE).send(other).best == ("skype", "likely")


def test_the_whole_probe_is_told_at_the_end(reader):
    again = PROBE[:2] + b"\x03\x01" + NACK_NAT[7:] + bytes([203, 0, 113, 1]) + PROBE[7:]
    talk = _flow(reader).send(PROBE).answer(NACK_NAT).send(again).answer(PAYLOAD).close()
    detail = talk.evidence[-1].detail
    assert [part in detail for part in ("UDP probe of 18 bytes", "negative", "sent again", "both ways")] == [True] * 4


def test_repeated_under_new_ivs_is_likely(reader):
    one = _probe(0x1627, 30)
    two = one[:3] + b"\x25\x26\xa0\xfb" + one[7:11] + bytes(range(200, 219))
    assert _flow(reader).send(one).send(two).best == ("skype", "likely")


def test_fragments(reader):
    talk = _flow(reader).send(_probe(0x1672, 47))
    noise = random.Random(1).randbytes(1300)
    talk.answer(b"\xe9\x1e\x1f\x16\x72\x00\x02" + noise)
    assert talk.best == ("skype", "likely")
    assert talk.answer(b"\xe9\x1e\x2f\x16\x72\x01\x02" + noise).best == ("skype", "confirmed")


def test_media_after_a_payload_is_likely(reader):
    talk = _flow(reader).send(PROBE)
    for number in range(3):
        talk.send(bytes([1, number, 0x4D]) + random.Random(number).randbytes(60))
        if number < 2:
            assert talk.best is None
    assert talk.best == ("skype", "likely")
    assert "voice, video or a file" in talk.evidence[-1].detail
    lone = _flow(reader, port=4321).send(bytes([1, 2, 0x4D]) + bytes(60))
    assert lone.close().best is None


def test_payloads_both_ways_are_a_guess_and_likely_when_they_go_on(reader):
    talk = _flow(reader).send(_probe(0x1611)).answer(_probe(0x08DA, 30))
    assert talk.best == ("skype", "guess")
    for step in range(1, 3):
        talk.send(_probe(0x1611 + 4 * step)).answer(_probe(0x08DA + step, 30))
    assert talk.best == ("skype", "likely")


@pytest.mark.parametrize("length", [18, 26, 51, 53])
def test_an_answer_of_a_probe_s_usual_length_is_likely(reader, length):
    talk = _flow(reader).send(_probe(0x1611)).answer(_probe(0x08DA, length))
    assert talk.best == ("skype", "likely")


def test_identifiers_going_on_over_many_flows(reader):
    flows = [_flow(reader, peer).send(_probe(0x9B90 + 2 * peer, 20 + peer)) for peer in range(1, 21)]
    assert flows[3].best is None
    assert flows[4].best == ("skype", "likely")
    assert flows[19].best == ("skype", "confirmed")
    assert flows[0].close().best == ("skype", "confirmed")


@pytest.mark.parametrize(
    "datagrams",
    [
        [b"\x00\x07\x02" + bytes(20)] * 20,  # a constant header
        [bytes([0x15, n, 2]) + b"\x00\x00\x00" + bytes([n]) + b"same body here" for n in range(0, 40, 2)],  # a counter
        [_probe(random.Random(n).randrange(65536)) for n in range(20)],  # identifiers at random
        [b"\x30\x1a\x02\x01\x00" + random.Random(n).randbytes(23) for n in range(20)],  # SNMP
    ],
)
def test_what_only_has_the_byte_is_not_skype(reader, datagrams):
    flows = [_flow(reader, peer + 1).send(data) for peer, data in enumerate(datagrams)]
    assert {flow.close().best for flow in flows} == {None}


@pytest.mark.parametrize(
    "where",
    [
        {"server": bytes([224, 0, 0, 251])},
        {"server_port": 161},
        {"client": bytes(16), "server": bytes(15) + b"\x01"},
    ],
)
def test_where_skype_never_is(reader, where):
    talk = Conversation(reader, protocol=17, **where).send(PROBE).answer(PROBE[:2] + b"\x25" + CLIENT + b"tokn")
    assert talk.close().best is None


def test_look_alikes_of_the_reply(reader):
    reset = (
        PROBE[:4] + bytes(14) + b"\x03" + b"\x00\x01\x02\x03"
    )  # libutp's version 0 reset: 23 bytes, echoes the start
    assert _flow(reader, 1).send(PROBE).answer(reset).close().best is None
    assert _flow(reader, 2, port=1).send(PROBE).answer(PROBE).close().best is None  # an echo
    assert (
        _flow(reader, 3, port=2000).send(PROBE).answer(NACK_NAT[:3] + b"\xff\x00\x00\x01" + b"tokn").close().best
        is None
    )


def test_a_proven_port_is_known_for_whom_it_talked_to():
    ports = SkypePorts()
    port = ports.port(CLIENT, PORT)
    ports.talked(port, CLIENT, SERVER, 1000)
    assert ports.find(SERVER, 1000) is port
    assert ports.find(CLIENT, PORT) is port or ports.find(CLIENT, PORT) is None
    assert ports.host_rank(CLIENT) == 0
    port.prove(2, "because")
    assert ports.find(CLIENT, PORT) is port
    assert ports.host_rank(CLIENT) == 2
    assert ports.port_rank(CLIENT, PORT) == 2
    assert ports.port_rank(SERVER, 1000) == 0


def test_memory_is_bounded(monkeypatch):
    monkeypatch.setattr(skype_udp, "MAX_PORTS", 10)
    ports = SkypePorts()
    for number in range(100):
        port = ports.port(CLIENT, number)
        ports.talked(port, bytes([10, 0, 0, number]), SERVER, number)
    assert len(ports) == 10
    assert len(ports.hosts) == 10
    assert ports.find(SERVER, 0) is None


def test_an_answer_that_only_another_service_gives_counts(reader):
    talk = _flow(reader).send(PROBE).answer(b"SIP/2.0 200 OK\r\n")
    assert talk.best == ("sip", "confirmed")
