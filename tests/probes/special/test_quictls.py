import random

import pytest

from flowsonar.errors import MalformedError
from flowsonar.probes.special.quictls import Handshake
from flowsonar.protocols import tls


def handshake() -> Handshake:
    return Handshake("lab.example", (b"h3", b"doq"), b"\x0f\x00", 0x39, random.Random(1))


def test_the_hello_says_name_and_protocols():
    hello = tls.read_message(handshake().hello, final=True)
    assert isinstance(hello, tls.ClientHello)
    assert hello.server_name == "lab.example"
    assert hello.alpn == ("h3", "doq")
    assert hello.supported_versions == (0x0304,)


def server_hello(suite: bytes = b"\x13\x01", extensions: bytes = b"", random_bytes: bytes = bytes(32)) -> bytes:
    body = b"\x03\x03" + random_bytes + b"\0" + suite + b"\0" + len(extensions).to_bytes(2, "big") + extensions
    return b"\x02" + len(body).to_bytes(3, "big") + body


SHARE = b"\x00\x33\x00\x24\x00\x1d\x00\x20"


@pytest.mark.parametrize(
    ("said", "problem"),
    [
        (b"\x08\x00\x00\x02\x00\x00", "no ServerHello"),
        (server_hello(random_bytes=bytes.fromhex("cf21ad74e59a6111be1d8c021e65b891c2a211167abb8c5e079e09e2c8a8339c")),
         "another group"),
        (server_hello(b"\x13\x05", SHARE + bytes(31) + b"\x09"), "not offered"),
        (server_hello(extensions=b"\x00\x33\x00\x24\x00\x1e\x00\x20" + bytes(32)), "not offered"),
        (server_hello(extensions=SHARE + bytes(32)), "key share"),
        (server_hello(extensions=b"\x00\x33\x00\x50\x00\x1d"), "extensions are cut"),
        (server_hello(), "not offered"),
    ],
)  # fmt: skip
def test_what_a_server_may_not_say(said, problem):
    with pytest.raises(MalformedError, match=problem):
        handshake().server_hello(said)


def test_pieces_are_waited_for():
    whole = server_hello(extensions=SHARE + bytes(31) + b"\x09")
    for size in range(len(whole)):
        assert not handshake().server_hello(whole[:size])
    one = handshake()
    assert one.server_hello(whole)
    assert one.server_hello(whole)
    assert one.handshake is not None
    assert not one.flight(b"\x08\x00\x00\x02\x00")
    assert not one.flight(b"\x08\x00\x00\x02\x00\x00")
    assert one.chosen
    assert one.alpn is None
