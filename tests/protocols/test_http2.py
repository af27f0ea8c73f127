"""HTTP/2's preface and first frame."""

from flowsonar.protocols import http2

SETTINGS = bytes.fromhex("000012 04 00 00000000 0003 00000080 0004 00010000 0005 00ffffff")


def test_preface():
    assert http2.is_preface(http2.PREFACE)
    assert http2.is_preface(http2.PREFACE + SETTINGS)
    assert not http2.is_preface(http2.PREFACE[:-1])
    assert not http2.is_preface(http2.PREFACE + b"\x00" * 9 + b"x")


def test_settings():
    assert http2.is_settings(SETTINGS)
    assert http2.is_settings(bytes.fromhex("000000 04 00 00000000"))
    for length in range(9):
        assert not http2.is_settings(SETTINGS[:length])


def test_not_settings():
    assert not http2.is_settings(bytes.fromhex("000000 04 01 00000000"))  # an acknowledgement
    assert not http2.is_settings(bytes.fromhex("000005 04 00 00000000 0000000000"))  # not a multiple of six
    assert not http2.is_settings(bytes.fromhex("000000 04 00 00000001"))  # a stream's
    assert not http2.is_settings(b"HTTP/1.1 400 Bad Request\r\n")
