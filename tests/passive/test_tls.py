"""Flows in TLS: what a hello alone is worth, what makes it sure, hellos over segments, connections in the middle."""

from flowsonar.model import EvidenceKind, Layer

from ..protocols.hellos import client_hello, record, server_hello  # noqa: TID252 - builders shared by two mirrored folders
from .fakes import Conversation, opened

HELLO = client_hello(name="files.example", alpn=("h2",), versions=(0x0304,))


def test_a_hello_alone_is_likely_and_names(reader):
    talk = Conversation(reader).send(HELLO).close()
    assert talk.best == ("tls", "likely")
    assert talk.flow.name == "files.example"
    assert talk.flow.hints().server_name == "files.example"
    assert talk.flow.hints().alpn == ("h2",)
    assert "JA4 t13d" in talk.evidence[0].detail
    offered = [one for one in talk.evidence if one.kind is EvidenceKind.NAME]
    assert [(one.service, one.over, one.confidence.value) for one in offered] == [("http", Layer.TLS, "guess")]


def test_a_server_hello_confirms(reader):
    talk = Conversation(reader).send(HELLO).answer(server_hello())
    assert talk.best == ("tls", "confirmed")
    assert talk.done


def test_the_server_s_choice_of_alpn_is_likely(reader):
    talk = Conversation(reader).send(HELLO).answer(server_hello(version=None, alpn="h2"))
    assert ("http", "likely") in {(one.service, one.confidence.value) for one in talk.evidence}


def test_an_alert_in_answer_confirms_and_alone_is_likely(reader):
    alert = bytes.fromhex("15030300020228")
    assert Conversation(reader).send(HELLO).answer(alert).best == ("tls", "confirmed")
    assert Conversation(reader).answer(alert).best == ("tls", "likely")


def test_only_the_client_s_direction(reader):
    more = record(0x14, b"\x01") + record(0x17, b"x" * 60)
    assert Conversation(reader).send(HELLO).send(more).best == ("tls", "confirmed")
    assert Conversation(reader).send(HELLO).send(HELLO).close().best == ("tls", "likely")
    assert Conversation(reader).send(HELLO).send(b"x" * 40).close().best == ("tls", "likely")


def test_only_the_server_s_direction(reader):
    assert Conversation(reader).answer(server_hello()).best == ("tls", "confirmed")


def test_a_hello_echoed_is_no_tls_server(reader):
    talk = Conversation(reader).send(HELLO).answer(HELLO).close()
    assert ("tls", "confirmed") not in {(one.service, one.confidence.value) for one in talk.evidence}
    assert "echo" in talk.flow.services


def test_a_long_hello_over_segments(reader):
    long = client_hello(name="files.example", versions=(0x0304,), padding=1800)
    talk = Conversation(reader).send(long[:1400])
    assert not talk.evidence
    talk.send(long[1400:])
    assert talk.flow.name == "files.example"
    assert "JA4" in talk.evidence[0].detail


def test_a_long_hello_whose_end_never_comes(reader):
    long = client_hello(name="files.example", versions=(0x0304,), padding=1800)
    talk = Conversation(reader).send(long[:1400]).close()
    assert talk.best == ("tls", "likely")
    assert talk.flow.name == "files.example"
    assert "JA4" not in talk.evidence[0].detail


def test_the_middle_of_a_connection(reader):
    whole = record(0x17, b"x" * 60)
    assert Conversation(reader, start=opened(midstream=True)).send(whole).best == ("tls", "likely")
    big, other = record(0x17, b"x" * 3000)[:1400], record(0x17, b"y" * 4000)[:1400]
    talk = Conversation(reader, start=opened(midstream=True)).send(big)
    assert talk.best is None
    assert talk.answer(other).best == ("tls", "likely")


def test_sslv2_framing(reader):
    hello = bytes.fromhex("802b 01 0301 0012 0000 0010") + b"\x00\x00\x05" * 6 + b"r" * 16
    assert Conversation(reader).send(hello).best == ("tls", "likely")
