import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from flowsonar.probes.special import h3
from flowsonar.probes.special.quic import NO_APPLICATION_PROTOCOL, RESERVED_NAME, QuicClient
from tests.probes.special.peer import certificate_der
from tests.probes.special.quicpeer import QuicServer

NAMES = (RESERVED_NAME, b"h3", b"doq")


def client(name: str | None = "lab.example", **values: object) -> QuicClient:
    return QuicClient(name, NAMES, random.Random(7), says=lambda _alpn: h3.request("lab.example", "us"), **values)


def shake(one: QuicClient, server: QuicServer) -> None:
    for _ in range(6):
        for datagram in one.outgoing():
            server.feed(datagram)
        said, server.out = server.out, []
        for datagram in said:
            one.feed(datagram)


@pytest.mark.parametrize(
    "values",
    [
        {}, {"suite": 0x1302}, {"suite": 0x1303}, {"group": 0x0017}, {"version": 0x6B3343CF}, {"version": 0xFF00001D},
        {"retry": True}, {"wants_certificate": True}, {"cut": 100},
    ],
)  # fmt: skip
def test_a_handshake_and_an_answer(values):
    certificate = certificate_der()
    server = QuicServer(certificate=certificate, **values)
    one = client(version=values.get("version", 1))
    shake(one, server)
    assert (one.problem, one.ended, one.done) == ("", False, True)
    assert (one.tls.alpn, one.tls.certificate) == (b"h3", certificate)
    assert server.finished
    assert one.retried is bool(values.get("retry"))
    assert h3.has_settings(one.streams())
    assert h3.answer(one.streams()[0]) == b"HTTP/1.1 200 \r\nserver: Testing/1.2\r\ncontent-type: text/plain\r\n\r\nhi"
    assert set(server.said) == {0, 2}
    server.feed(one.close())
    assert server.closed == 0x100


def test_the_first_datagram_fills_what_a_server_demands():
    (first,) = client().outgoing()
    assert len(first) == 1200


def test_no_common_name_is_told_with_its_code():
    one = client()
    shake(one, QuicServer(alpn=(b"other",)))
    assert one.heard
    assert one.ended
    assert (one.closed, one.reason) == (NO_APPLICATION_PROTOCOL, "no")
    assert one.close() == b""


def test_another_version_is_told_and_nothing_else_believed():
    one = client()
    shake(one, QuicServer(version=0x6B3343CF))
    assert one.versions == (0x6B3343CF,)
    assert one.ended
    one = client()
    one.feed(bytes.fromhex("80 00000000 08 0102030405060708 08 1112131415161718 00000001"))
    assert not one.heard


def test_a_lost_datagram_is_said_again_and_what_came_is_acknowledged():
    one, server = client(), QuicServer(certificate=certificate_der(), cut=100)
    one.outgoing()
    one.again()
    server.feed(one.outgoing()[0])
    one.feed(server.out[0])
    assert not one.done
    one.again()
    (acknowledged,) = one.outgoing()
    assert len(acknowledged) < 100
    server.feed(acknowledged)
    for datagram in server.out[1:]:
        one.feed(datagram)
    assert one.done
    assert len(one.outgoing()) == 1
    one.again()
    assert len(one.outgoing()) == 1


def test_packets_in_any_order():
    one, server = client(), QuicServer(certificate=certificate_der(), cut=100)
    server.feed(one.outgoing()[0])
    for datagram in reversed(server.out):
        one.feed(datagram)
    assert one.done


@given(st.binary(max_size=1500))
def test_nobody_breaks_it(data):
    one = client()
    one.feed(data)
    assert not one.heard
    assert not one.done


@given(st.integers(0, 3), st.integers(0, 1400), st.integers(0, 255))
def test_a_changed_byte_changes_nothing_but_the_result(which, at, value):
    one, server = client(), QuicServer(cut=300)
    server.feed(one.outgoing()[0])
    for number, datagram in enumerate(server.out):
        if number == which and at < len(datagram):
            datagram = datagram[:at] + bytes([value]) + datagram[at + 1 :]  # noqa: PLW2901
        one.feed(datagram)
    assert not one.problem or not one.done


def test_a_name_that_is_none_is_not_said():
    assert b"\xff" not in client("b\xffd").tls.hello[:0]
    assert b"two words" not in client("two words").tls.hello
