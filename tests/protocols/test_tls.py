"""TLS: hellos whole, in pieces, truncated at every length, with a tail, and with damage."""

import contextlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from flowsonar.errors import MalformedError
from flowsonar.protocols import tls

from .hellos import client_hello, record, server_hello

HELLO = client_hello(name="files.example", alpn=("h2", "http/1.1"), versions=(0x0A0A, 0x0304, 0x0303))


def test_client_hello_gives_names_and_versions():
    hello = tls.read_first_flight(HELLO)
    assert isinstance(hello, tls.ClientHello)
    assert hello.server_name == "files.example"
    assert hello.alpn == ("h2", "http/1.1")
    assert hello.complete
    assert tls.chosen_version(hello) == 0x0304


def test_client_hello_with_a_tail_is_the_same():
    assert tls.read_first_flight(HELLO + b"\x14\x03\x03\x00\x01\x01") == tls.read_first_flight(HELLO)


def test_client_hello_over_several_records():
    body = HELLO[5:]
    split = record(0x16, body[:50]) + record(0x16, body[50:51]) + record(0x16, body[51:])
    assert tls.read_first_flight(split) == tls.read_first_flight(HELLO)


def test_truncated_at_every_length_waits_or_reads_what_is_there():
    for length in range(len(HELLO)):
        cut = HELLO[:length]
        assert tls.read_first_flight(cut) is None
        try:
            hello = tls.read_first_flight(cut, final=True)
        except MalformedError:
            continue
        assert isinstance(hello, tls.ClientHello)
        assert not hello.complete
        assert hello.server_name in {None, "files.example"}


def test_server_hello_gives_the_choice():
    hello = tls.read_first_flight(server_hello(version=0x0304, alpn="h2"))
    assert hello == tls.ServerHello(0x0304, 0x1301, "h2", False)


def test_server_hello_of_tls_1_2_before_its_certificate():
    hello = tls.read_first_flight(server_hello(version=None) + record(0x16, b"\x0b\x00\x10\x00"))
    assert isinstance(hello, tls.ServerHello)
    assert hello.version == 0x0303


def test_alert():
    assert tls.read_first_flight(bytes.fromhex("15030100020228")) == tls.Alert(2, 40)


@pytest.mark.parametrize(
    "data",
    [
        b"GET / HTTP/1.1\r\n\r\n",
        bytes.fromhex("1603010000"),  # empty record: Skype's
        bytes.fromhex("15030100020928"),  # no such level
        bytes.fromhex("1503010003022800"),  # alert of three bytes
        HELLO[:5] + b"\x05" + HELLO[6:],  # another handshake message
        HELLO[:9] + b"\x04\x00" + HELLO[11:],  # unknown version
        HELLO[:43] + b"\xff" + HELLO[44:],  # session identifier too long
        record(0x16, b"\x01" + (len(HELLO) - 8).to_bytes(3, "big") + HELLO[9:] + b"\x00"),  # a byte too many
    ],
)
def test_not_a_hello(data):
    with pytest.raises(MalformedError):
        tls.read_first_flight(data)


@given(st.binary(max_size=300), st.integers(0, 300), st.booleans())
def test_a_valid_start_with_random_rest_never_breaks(rest, keep, final):
    with contextlib.suppress(MalformedError):
        tls.read_first_flight(HELLO[:keep] + rest, final=final)


@pytest.mark.parametrize(
    ("data", "chain"),
    [
        (record(0x17, b"x" * 30), True),
        (record(0x17, b"x" * 30) + record(0x17, b"y" * 100)[:40], True),
        (record(0x17, b"x" * 30)[:20], False),
        (record(0x17, b"x" * 30) + b"\x17\x03\x01\x00\x05abcde", False),  # another version
        (record(0x17, b"x" * 30) + b"zz", True),
        (bytes.fromhex("1703010000"), False),
        (b"", False),
    ],
)
def test_record_chain(data, chain):
    assert tls.is_record_chain(data) is chain


def test_sslv2_hello():
    hello = bytes.fromhex("802b 01 0301 0012 0000 0010") + b"\x00\x00\x05" * 6 + b"r" * 16
    assert tls.is_sslv2_hello(hello)
    assert not tls.is_sslv2_hello(hello[:-1])
    assert not tls.is_sslv2_hello(b"\x80" * 40)
