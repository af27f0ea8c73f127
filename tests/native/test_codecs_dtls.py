"""dtls.c says what protocols/dtls.py and protocols/ja4.py say."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from flowsonar._native import core
from flowsonar.errors import MalformedError
from flowsonar.protocols import dtls, tls
from flowsonar.protocols.ja4 import ja4
from tests.needs import needs_native
from tests.protocols.hellos import client_hello, datagram, server_hello

pytestmark = needs_native()

ALPN_MAX = 16


SAMPLES = [
    datagram(client_hello(name="a.example", alpn=("webrtc", "c-webrtc"), versions=(), extra=(14, 23))),
    datagram(client_hello(versions=(0xFEFC, 0xFEFD, 0x0A0A)), cookie=b"\x07" * 20),
    datagram(client_hello(versions=(0x0304,)), version=0xFEFF, pieces=3),
    datagram(client_hello(versions=()), version=0xFEFC),
    datagram(client_hello(alpn=tuple(f"p{i}" for i in range(20)), extra=tuple(range(100, 250))), pieces=20),
    datagram(client_hello(), version=0xFEFE),
    datagram(server_hello(version=None, alpn="webrtc"), cookie=None),
    datagram(server_hello(version=None), version=0xFEFF, cookie=None),
    datagram(server_hello(version=0xFEFC), cookie=None, pieces=2),
    b"\x16\xfe\xfd" + bytes(8) + b"\0\x0f\x03\0\0\3" + bytes(5) + b"\0\0\3\xfe\xff\0",
    b"\x15\xfe\xfd" + bytes(8) + b"\0\2\2\x28",
]


def expected(data: bytes):
    """What the Python codec reads, in the form of the binding; all but hellos is malformed there."""
    try:
        hello = dtls.read_hello(data)
    except MalformedError:
        return False, False
    if isinstance(hello, tls.ServerHello):
        alpn = [] if hello.alpn is None else [hello.alpn.encode("latin-1")]
        return ("server", hello.version, hello.cipher, alpn, hello.retry), False
    if not isinstance(hello, tls.ClientHello):
        return False, False
    name = hello.server_name.encode("latin-1") if hello.server_name else None
    alpn = [one.encode("latin-1") for one in hello.alpn[:ALPN_MAX]]
    mark = ja4(hello, "d") if hello.complete else ""
    more, ech = len(hello.alpn) > ALPN_MAX, 0xFE0D in hello.extensions
    return ("client", hello.version, name, alpn, more, ech, hello.complete, mark), dtls.USE_SRTP in hello.extensions


def agree(data: bytes) -> None:
    found, media = core.codec_dtls_hello(data)
    if found and found[0] == "server":
        found = (*found[:3], found[3][:1], found[4])
    assert (found, media) == expected(data)


@pytest.mark.parametrize("sample", range(len(SAMPLES)))
def test_the_same_whole_cut_and_with_a_tail(sample) -> None:
    data = SAMPLES[sample]
    for end in range(len(data) + 1):
        agree(data[:end])
    agree(data + b"\x17\xfe\xfd\0\1more")
    agree(data + data)


def test_samples_are_what_they_seem() -> None:
    found = [core.codec_dtls_hello(data) for data in SAMPLES]
    assert [one[0] and one[0][0] for one in found] == ["client"] * 5 + [False] + ["server"] * 3 + [False] * 2
    assert [one[1] for one in found[:2]] == [True, False]
    assert found[1][0][1] == 0xFEFC


@given(st.sampled_from(SAMPLES), st.integers(0, 400), st.integers(0, 255))
def test_the_same_with_a_byte_changed(data, at, byte) -> None:
    at %= len(data)
    agree(data[:at] + bytes([byte]) + data[at + 1 :])


@given(st.binary(max_size=120))
def test_the_same_on_any_bytes(data) -> None:
    agree(b"\x16\xfe\xfd\0\0" + bytes(6) + data)
