"""FTP's dialogue: what proves it, what it announces, when it ends."""

import pytest

from flowsonar.model import Confidence, Layer, Side
from flowsonar.passive.follow import FOLLOW_FTP
from flowsonar.passive.ftp import could_be_control

from .fakes import CLIENT, SERVER, Conversation, opened

V6_CLIENT = bytes.fromhex("20010db8000000000000000000000001")
V6_SERVER = bytes.fromhex("20010db8000000000000000000000002")


def _greeted(reader, **where):
    return Conversation(reader, server_port=2121, **where).answer(b"220 files FTP ready\r\n")


def _told(talk):
    return [
        (one.responder_address, one.responder_port, one.initiator_address, one.evidence.confidence)
        for one in talk.announcements
    ]


def test_passive_mode(reader):
    talk = _greeted(reader).send(b"PASV\r\n").answer(b"227 Entering Passive Mode (198,51,100,9,195,80).\r\n")
    assert _told(talk) == [("198.51.100.9", 50000, "192.0.2.1", Confidence.CONFIRMED)]
    assert talk.announcements[0].evidence.detail == "data connection announced by PASV"
    assert talk.best == ("ftp", "confirmed")


def test_active_mode(reader):
    talk = _greeted(reader).send(b"PORT 192,0,2,1,195,80\r\n")
    assert _told(talk) == [("192.0.2.1", 50000, "198.51.100.9", Confidence.CONFIRMED)]


def test_extended_modes_over_ipv6(reader):
    talk = _greeted(reader, client=V6_CLIENT, server=V6_SERVER)
    talk.send(b"EPSV\r\n").answer(b"229 Extended Passive Mode (|||50001|)\r\n")
    talk.send(b"EPRT |2|2001:db8::1|50002|\r\n")
    assert _told(talk) == [
        ("2001:db8::2", 50001, "2001:db8::1", Confidence.CONFIRMED),
        ("2001:db8::1", 50002, "2001:db8::2", Confidence.CONFIRMED),
    ]


def test_a_server_behind_nat_or_a_lie(reader):
    talk = _greeted(reader).send(b"PASV\r\n").answer(b"227 ok (10,0,0,5,195,80)\r\n")
    assert _told(talk) == [
        ("10.0.0.5", 50000, None, Confidence.LIKELY),
        ("198.51.100.9", 50000, "192.0.2.1", Confidence.CONFIRMED),
    ]


def test_only_the_server_s_direction(reader):
    talk = Conversation(reader, start=opened(midstream=True)).answer(b"227 ok (198,51,100,9,195,80)\r\n")
    assert _told(talk) == [("198.51.100.9", 50000, "192.0.2.1", Confidence.CONFIRMED)]
    assert talk.best == ("ftp", "confirmed")


def test_only_the_client_s_direction(reader):
    talk = Conversation(reader, start=opened(midstream=True)).send(b"PORT 192,0,2,1,195,80\r\n")
    assert _told(talk) == [("192.0.2.1", 50000, "198.51.100.9", Confidence.CONFIRMED)]
    assert talk.followed


def test_the_server_seen_first_in_the_middle(reader):
    start = opened(midstream=True, client=SERVER, server=CLIENT)
    talk = Conversation(reader, start=start).send(b"227 ok (198,51,100,9,195,80)\r\n")
    assert _told(talk) == [("198.51.100.9", 50000, "192.0.2.1", Confidence.CONFIRMED)]


def test_auth_tls(reader):
    talk = _greeted(reader).send(b"AUTH TLS\r\n").answer(b"234 go\r\n")
    assert talk.evidence[-1].over is Layer.TLS
    assert talk.evidence[-1].confidence is Confidence.CONFIRMED
    assert talk.done


HELLO = bytes.fromhex("160303007a020000760303") + bytes(range(112))


def test_auth_tls_in_one_direction(reader):
    asked = Conversation(reader, server_port=2121).send(b"FEAT\r\n").send(b"AUTH TLS\r\n").send(HELLO)
    answered = _greeted(reader).answer(b"234 Proceed with negotiation.\r\n").answer(HELLO)
    for talk, side in ((asked, Side.INITIATOR), (answered, Side.RESPONDER)):
        assert (talk.best, talk.evidence[-1].over, talk.evidence[-1].side) == (("ftp", "confirmed"), Layer.TLS, side)
        assert talk.done


def test_a_234_without_tls_after_it_proves_nothing(reader):
    talk = _greeted(reader).answer(b"234 apples\r\n").answer(b"221 bye\r\n")
    assert talk.best == ("ftp", "likely")


LONG = b"211-Features:\r\n EPRT\r\n EPSV\r\n PASV\r\nTVFS\r\nHELO\r\n211 End\r\n"


def test_lines_within_a_long_reply_are_no_commands(reader):
    known = _greeted(reader).answer(LONG).answer(b"227 ok (198,51,100,9,195,80)\r\n")
    assert _told(known) == [("198.51.100.9", 50000, "192.0.2.1", Confidence.CONFIRMED)]
    middle = Conversation(reader, start=opened(midstream=True)).answer(b"220 FTP\r\n").answer(LONG)
    assert len(_told(middle.answer(b"229 ok (|||50001|)\r\n"))) == 1


def test_a_client_that_asks_for_features_first(reader):
    talk = Conversation(reader, server_port=2121).send(b"FEAT\r\n").send(b"OPTS UTF8 ON\r\n").send(b"USER ftp\r\n")
    assert _told(talk.send(b"PORT 192,0,2,1,195,80\r\n")) == [
        ("192.0.2.1", 50000, "198.51.100.9", Confidence.CONFIRMED)
    ]
    assert talk.followed


def test_who_connects_is_the_client(reader):
    talk = Conversation(reader).send(b"220 FTP\r\n").send(b"227 ok (192,0,2,1,195,80)\r\n")
    assert not talk.announcements


def test_lines_in_pieces_and_many_at_once(reader):
    talk = Conversation(reader).answer(b"220-wel").answer(b"come\r\n220 FTP\r\n")
    talk = (
        _greeted(reader)
        .send(b"PA")
        .send(b"SV\r\nLIST\r\n")
        .answer(b"227 ok (198,51,")
        .answer(b"100,9,195,80)\r\n150 x\r\n")
    )
    assert len(talk.announcements) == 1


def test_a_command_that_no_reply_fits_proves_nothing(reader):
    talk = _greeted(reader).send(b"USER x\r\n").answer(b"999 what\r\n").answer(b"250 what\r\n")
    assert talk.best == ("ftp", "likely")


def test_long_lines_end_it(reader):
    talk = _greeted(reader)
    for _ in range(30):
        talk.send(b"x" * 400)
    assert talk.flow.ftp is None


def test_announcements_are_bounded(reader):
    talk = _greeted(reader)
    for port in range(6000):
        talk.send(b"PORT 192,0,2,1,%d,%d\r\n" % (4 + port // 256, port % 256))
    assert len(talk.announcements) == 4096


def test_follow_prefixes_are_what_the_reader_follows():
    assert all(could_be_control(prefix) for prefix in FOLLOW_FTP)
    assert not could_be_control(b"HTTP/1.1 200 OK")


@pytest.mark.parametrize(
    ("command", "reply"),
    [
        (b"AUTH LOGIN\r\n", b"334 VXNlcm5hbWU6\r\n"),  # mail
        (b"AUTH GSSAPI\r\n", b"334 \r\n"),
        (b"AUTH TLS\r\n", b"502 Command not implemented\r\n"),
        (b"FEAT\r\n", b"500 5.5.1 Command unrecognized\r\n"),
    ],
)
def test_what_a_mail_server_says_as_well(reader, command, reply):
    talk = Conversation(reader, opened(midstream=True, server_port=2525)).send(command).answer(reply)
    assert not [one for one in talk.evidence if one.signature == "ftp/dialogue"]
