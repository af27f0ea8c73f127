"""HTTP heads."""

import contextlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from flowsonar.errors import MalformedError
from flowsonar.protocols import http

REQUEST = b"GET /a?b HTTP/1.1\r\nhost: files.example:8080\r\nUser-Agent: curl/8.1\r\n\r\nrest"


def test_request():
    assert http.read_request(REQUEST) == http.Request("GET", "/a?b", "1.1", "files.example:8080", "curl/8.1")


def test_request_cut_at_every_length_never_invents_a_host():
    for length in range(len(REQUEST)):
        try:
            request = http.read_request(REQUEST[:length])
        except MalformedError:
            continue
        assert request.host in {None, "files.example:8080"}


def test_absolute_form_names_the_host():
    assert http.read_request(b"GET http://files.example/x HTTP/1.0\r\n\r\n").host == "files.example"


def test_host_without_reading_the_rest():
    for data in (
        REQUEST,
        REQUEST.replace(b"host", b"Host"),
        REQUEST.replace(b"host", b"hOsT"),
        b"GET http://files.example:8080/x HTTP/1.0\r\nAccept: */*\r\n\r\n",
    ):
        assert http.host_of(data) == "files.example:8080"
    for data in (
        b"",
        b"GET / HTTP/1.1\r\nHost: cut",
        b"GET / HTTP\r\nHost: files.example\r\n\r\n",
        b"POST / HTTP/1.1\r\n\r\n\r\nHost: body\r\n",
        b"GET / HTTP/1.1\r\nHost: \xff\x00\r\n\r\n",
    ):
        assert http.host_of(data) is None


def test_response():
    data = b"HTTP/1.1 200 OK\r\nServer: nginx/1.22.1\r\n\r\n"
    assert http.is_response(data)
    assert http.read_response(data) == http.Response("1.1", 200, "nginx/1.22.1")
    assert http.read_response(b"HTTP/1.0 404 Not Found\r\n\r\n").server is None


@pytest.mark.parametrize(
    "data",
    [b"", b"\r\n", b"GET /", b"HELO x HTTP/1.1\r\n\r\n", b"GET  HTTP/1.1\r\n\r\n", b"OPTIONS * RTSP/1.0\r\n\r\n"],
)
def test_not_a_request(data):
    with pytest.raises(MalformedError):
        http.read_request(data)


@pytest.mark.parametrize("data", [b"", b"HTTP/1.1 999 x\r\n\r\n", b"HTTP/2 200\r\n\r\n", b"RTSP/1.0 200 OK\r\n\r\n"])
def test_not_a_response(data):
    with pytest.raises(MalformedError):
        http.read_response(data)


@pytest.mark.parametrize(
    ("data", "more"),
    [
        (b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\n", True),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhell", True),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello", False),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 99999\r\n\r\n", True),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 99999\r\n\r\nhello", False),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n", False),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 9999999999999\r\n\r\n", False),
        (b"HTTP/1.1 200 OK\r\nContent-Length: five\r\n\r\n", False),
        (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n", True),
        (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\n", False),
        (b"HTTP/1.1 304 Not Modified\r\nETag: x\r\n\r\n", False),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n", False),
        (b"SIP/2.0 200 OK\r\nContent-Length: 5\r\n\r\n", False),
    ],
)
def test_a_body_that_is_still_to_come(data, more):
    assert http.body_to_come(data) is more


def test_is_request():
    assert http.is_request(REQUEST)
    assert not http.is_request(b"GETTING there")
    assert not http.is_request(b"SSH-2.0-x y")


@given(st.binary(max_size=200))
def test_random_bytes_never_break(data):
    for read in (http.read_request, http.read_response):
        with contextlib.suppress(MalformedError):
            read(data)
    http.body_to_come(data)
    http.body_to_come(b"HTTP/1.1 200 OK\r\n" + data)
