"""FTP: commands, replies, and every way to announce a data connection."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from flowsonar.errors import MalformedError
from flowsonar.protocols import ftp

HOST = bytes([192, 0, 2, 7])
V6 = bytes.fromhex("20010db8000000000000000000000001")


@pytest.mark.parametrize(
    ("what", "argument", "address", "port"),
    [
        (b"PORT", b"192,0,2,7,195,80", HOST, 50000),
        (b"227", b"Entering Passive Mode (192,0,2,7,195,80).", HOST, 50000),
        (b"227", b"Entering Passive Mode 192,0,2,7,195,80", HOST, 50000),
        (b"227", b"=192,0,2,7,195,80", HOST, 50000),
        (b"EPRT", b"|1|192.0.2.7|50000|", HOST, 50000),
        (b"EPRT", b"|2|2001:db8::1|50000|", V6, 50000),
        (b"EPRT", b"!2!2001:db8:0:0:0:0:0:1!1!", V6, 1),
        (b"EPRT", b"|2|::ffff:192.0.2.7|21000|", bytes(10) + b"\xff\xff" + HOST, 21000),
        (b"229", b"Entering Extended Passive Mode (|||50000|)", None, 50000),
        (b"229", b"Extended (yes) mode (|||65535|)", None, 65535),
    ],
)
def test_announced(what, argument, address, port):
    assert ftp.read_data_endpoint(what, argument) == ftp.DataEndpoint(address, port)


@pytest.mark.parametrize(
    ("what", "argument"),
    [
        (b"PORT", b""),
        (b"PORT", b"192,0,2,7,195"),
        (b"PORT", b"192,0,2,256,195,80"),
        (b"PORT", b"192,0,2,7,0,0"),
        (b"PORT", b"a,b,c,d,e,f"),
        (b"227", b"Entering Passive Mode"),
        (b"EPRT", b"|3|192.0.2.7|50000|"),
        (b"EPRT", b"|1|192.0.2|50000|"),
        (b"EPRT", b"|2|2001:::1|50000|"),
        (b"EPRT", b"|2|1:2:3:4:5:6:7|50000|"),
        (b"EPRT", b"|2|1:2:3:4:5:6:7:8::|50000|"),
        (b"EPRT", b"|2|fe80::1%eth0|50000|"),
        (b"EPRT", b"|1|192.0.2.7|65536|"),
        (b"EPRT", b"1192.0.2.7150000"),
        (b"229", b"Entering Extended Passive Mode |||50000|"),
        (b"229", b"(|||0|)"),
        (b"200", b"PORT ok"),
    ],
)
def test_not_announced(what, argument):
    with pytest.raises(MalformedError):
        ftp.read_data_endpoint(what, argument)


@given(st.sampled_from([b"PORT", b"227", b"EPRT", b"229"]), st.binary(max_size=60))
def test_random_arguments_never_break(what, argument):
    try:
        endpoint = ftp.read_data_endpoint(what, argument)
    except MalformedError:
        return
    assert 0 < endpoint.port < 65536


def test_commands_and_replies():
    assert ftp.read_command(b"user anonymous") == (b"USER", b"anonymous")
    assert ftp.read_command(b"PASV") == (b"PASV", b"")
    with pytest.raises(MalformedError):
        ftp.read_command(b"EHLO example.org")
    assert ftp.read_reply_code(b"220 ready") == 220
    assert ftp.read_reply_code(b"211-Features:") == 211
    for line in (b"", b"22", b" EPSV", b"700 x", b"2200 x", b"abc"):
        assert ftp.read_reply_code(line) == 0
