"""http.c says what protocols/http.py says."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from flowsonar._native import core
from flowsonar.errors import MalformedError
from flowsonar.passive.names import _without_port
from flowsonar.protocols import http
from tests.needs import needs_native

pytestmark = needs_native()

SAMPLES = [
    b"GET / HTTP/1.1\r\nHost: www.example.net:8080\r\nUser-Agent: curl/8.5.0\r\nAccept: */*\r\n\r\nbody",
    b"GET http://example.net/path HTTP/1.0\r\nuser-agent:\tx y \t\r\nUser-Agent: second\r\n\r\n",
    b"GET http://\texample.net\t HTTP/1.0\r\n\r\n",
    b"POST /a?b HTTP/1.1\r\nX: 1\r\nhOST:  [2001:db8::1]:80  \r\nHost: other\r\n\r\n",
    b"M-SEARCH * HTTP/1.1\r\nHOST: 239.255.255.250:1900\r\n\r\n",
    b"GET / HTTP/1.1\r\nHost: 2001:db8::1\r\nServer: x\r\n\r\n",
    b"GET / HTTP/1.1\r\nHost: a\xb2:8\xb2\r\n\r\n",
    b"GET / HTTP/1.1\r\nHost: :80\r\n\r\n",
    b"GET / HTTP/1.1\r\nHost: a\xadb\r\nUser-Agent: \xa1ok\xff\r\n\r\n",
    b"GET / HTTP/1.1\r\nHost: " + b"a" * 1025 + b"\r\n\r\n",
    b"GET /\r\nHost: no.version\r\n\r\n",
    b"GET  HTTP/1.1\r\nHost: no.target\r\n\r\n",
    b"GET / x HTTP/1.1\r\nHost: two.targets\r\n\r\n",
    b"GET HTTP://EXAMPLE.NET/ HTTP/1.1\r\n\r\n",
    b"HTTP/1.1 200 OK\r\nServer: nginx/1.22.1\r\nserver: other\r\n\r\n<html>",
    b"HTTP/1.0 404\r\n\r\n",
    b"HTTP/1.1 2\r\n\r\n",
    b"HTTP/1.1 99 no\r\n\r\n",
    b"RPC_OUT_DATA /rpc HTTP/1.1\r\n\r\n",
    b"\r\n\r\nGET / HTTP/1.1\r\n",
    b"GET / HTTP/1.1\r\n" + b"X: " + b"y" * 8200 + b"\r\nHost: late\r\n\r\n",
]


def encoded(values):
    return tuple(value.encode("latin-1") if isinstance(value, str) else value for value in values)


def python(read, data):
    try:
        return encoded(read(data))
    except MalformedError:
        return False


def agree(data):
    host = http.host_of(data)
    looks = http.is_request(data), http.is_response(data), _without_port(host).encode("latin-1") if host else None
    assert core.codec_http_looks(data) == (*looks[:2], looks[2] or None)
    assert core.codec_http_request(data) == python(http.read_request, data)
    assert core.codec_http_response(data) == python(http.read_response, data)


@pytest.mark.parametrize("data", SAMPLES)
def test_at_every_length(data):
    for cut in range(0, len(data) + 1, 1 + len(data) // 400):
        agree(data[:cut])
    agree(data)


@pytest.mark.parametrize("method", sorted(http.METHODS))
def test_methods(method):
    for data in (
        method,
        method + b" / HTTP/1.1\r\n\r\n",
        method.lower() + b" / HTTP/1.1\r\n\r\n",
        method + b"X / HTTP/1.1",
    ):
        agree(data)


def test_recorded_payloads(recorded):
    found = 0
    for _, _, data in recorded:
        agree(data)
        found += http.is_request(data)
    assert found > 500


def test_recorded_heads_cut_and_changed(recorded, chance):
    heads = [data for _, _, data in recorded if http.is_request(data) or http.is_response(data)]
    for data in chance.sample(heads, 150):
        for cut in range(0, len(data), 1 + len(data) // 60):
            agree(data[:cut])
        for _ in range(40):
            changed = bytearray(data)
            changed[chance.randrange(min(len(data), 400))] = chance.choice(b"\r\n :/\tAa1\x00\xad\xff")
            agree(bytes(changed))


@given(
    st.lists(
        st.sampled_from([b"GET", b" ", b"/", b"HTTP/1.", b"1", b"\r\n", b"\r", b"Host:", b"http://", b":", b"a", b"80"])
    )
)
def test_any_head(parts):
    agree(b"".join(parts))
    agree(b"GET / HTTP/1.1\r\n" + b"".join(parts))


@given(st.binary(max_size=100))
def test_any_bytes(data):
    agree(data)
