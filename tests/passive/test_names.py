"""Names from HTTP requests."""

import pytest

from flowsonar.model import Side
from flowsonar.passive.flow import PassiveFlow
from flowsonar.passive.names import skype_request

from .fakes import opened


@pytest.mark.parametrize(
    ("host", "name"),
    [
        (b"files.example", "files.example"),
        (b"files.example:8080", "files.example"),
        (b"[2001:db8::1]:80", "[2001:db8::1]"),
        (b"2001:db8::1", "2001:db8::1"),
        (b"", None),
        (b"\xff\x00", None),
    ],
)
def test_host(host, name):
    flow = PassiveFlow(opened())
    assert skype_request(flow, b"GET / HTTP/1.1\r\nHost: " + host + b"\r\n\r\n", Side.INITIATOR) is None
    assert flow.name == name


def test_a_broken_request_names_nothing():
    flow = PassiveFlow(opened())
    assert skype_request(flow, b"GET / HTTP\r\nHost: a\r\n\r\n", Side.INITIATOR) is None
    assert flow.name is None
