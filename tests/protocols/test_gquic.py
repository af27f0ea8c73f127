"""Google's older QUIC: headers, hellos in clear, bad bytes."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from flowsonar.errors import MalformedError
from flowsonar.protocols import gquic

from .initials import google, tags

CHLO = tags(b"CHLO", SNI=b"video.example", VER=b"Q043", UAID=b"Chrome/62.0 Windows NT 10.0")
ID = bytes(range(1, 9))


@pytest.mark.parametrize("version", ["Q024", "Q025", "Q033", "Q039", "Q043"])
def test_a_clients_hello(version):
    data = google(version, CHLO)
    assert gquic.is_header(data)
    header = gquic.read_header(data)
    assert header == (version, ID, False, (), 13)
    assert gquic.find_hello(data, header.at) == ("CHLO", "video.example", "Chrome/62.0 Windows NT 10.0")


def test_the_long_header_of_q046():
    data = b"\xc3Q046\x50" + ID + bytes(4) + bytes(12) + b"\xa0\x01\0\x04" + CHLO
    assert gquic.is_header(data)
    header = gquic.read_header(data)
    assert header == ("Q046", ID, True, (), 14)
    assert gquic.find_hello(data, header.at).server_name == "video.example"


def test_a_servers_rejection():
    data = google("", tags(b"REJ", STK=b"token"), flags=0x08)
    assert not gquic.is_header(data)
    header = gquic.read_header(data)
    assert header == (None, ID, False, (), 9)
    assert gquic.find_hello(data, header.at) == ("REJ", None, None)


def test_a_servers_list_of_versions():
    data = b"\x09" + ID + b"Q043Q046T051"
    assert gquic.read_header(data).versions == ("Q043", "Q046", "T051")


@pytest.mark.parametrize(
    "data",
    [
        b"",
        google("Q043", CHLO)[:9],
        google("Q099", CHLO),
        google("X043", CHLO),
        b"\xc3Q050\x50" + ID + bytes(20),
        b"\xc3Q046\x88" + ID + bytes(20),
        b"\x01" + ID + b"Q043",
    ],
)
def test_what_is_no_header(data):
    assert not gquic.is_header(data)
    with pytest.raises(MalformedError):
        gquic.read_header(data)


@pytest.mark.parametrize(
    "data",
    [
        b"CHLO",
        b"HELO" + CHLO[4:],
        b"CHLO\x00\x00\x00\x00",
        b"CHLO\xff\x00\x00\x00" + bytes(3000),
        b"CHLO\x02\x00\x00\x00SNI\0\x05\0\0\0UAID\x04\0\0\0abcde",
    ],
)
def test_bad_tables(data):
    with pytest.raises(MalformedError):
        gquic.read_hello(data)
    assert gquic.find_hello(bytes(9) + data, 9) is None


def test_names_that_no_host_has_are_left_out():
    for name in (b"a b", b"a\nb", b"a\x00", b"x" * 256, b""):
        assert gquic.read_hello(tags(b"CHLO", SNI=name)).server_name is None


@pytest.mark.parametrize("cut", range(len(CHLO)))
def test_a_cut_hello_gives_what_is_there(cut):
    try:
        hello = gquic.read_hello(CHLO[:cut])
    except MalformedError:
        return
    assert hello.server_name in (None, "video.example")


@given(st.binary(max_size=200))
def test_any_bytes(data):
    for begin in (b"", b"\x0d" + ID + b"Q043", b"\xc3Q046\x50"):
        try:
            header = gquic.read_header(begin + data)
        except MalformedError:
            continue
        gquic.find_hello(begin + data, header.at)
