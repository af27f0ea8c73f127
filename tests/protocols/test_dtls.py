import contextlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from flowsonar.errors import MalformedError
from flowsonar.protocols import dtls, tls
from flowsonar.protocols.ja4 import ja4
from flowsonar.signatures import load_signatures

VERIFY = bytes.fromhex(
    "16feff00000000000000000023030000170000000000000017feff14169226daacc20b3b6db7d8a4c1af4bdea6a59c4f"
)
EXAMPLES = load_signatures().services["dtls"].examples
CLIENT, CLIENT_13 = [one.data for one in EXAMPLES if one.pattern == "client-hello"]
VERIFY = next(one.data for one in EXAMPLES if one.pattern == "verify")
SERVER_13 = next(one.data for one in EXAMPLES if one.pattern == "server-hello")


def test_a_client_hello():
    hello = dtls.read_hello(CLIENT)
    assert isinstance(hello, tls.ClientHello)
    assert (hello.version, hello.server_name, hello.complete) == (0xFEFD, "media.example", True)
    assert dtls.USE_SRTP in hello.extensions
    assert ja4(hello, "d").startswith("dd2d2808")


def test_a_client_hello_of_1_3():
    hello = dtls.read_hello(CLIENT_13)
    assert isinstance(hello, tls.ClientHello)
    assert dtls.version_name(hello.version) == "1.3"
    assert ja4(hello, "d").startswith("dd3")


def test_a_server_hello_of_1_3():
    hello = dtls.read_hello(SERVER_13)
    assert isinstance(hello, tls.ServerHello)
    assert dtls.version_name(hello.version) == "1.3"


def test_a_verify_request_and_an_alert():
    assert dtls.read_hello(VERIFY) == dtls.HelloVerify(0xFEFF, VERIFY[-20:])
    assert dtls.read_hello(bytes.fromhex("15fefd000000000000000000020228")) == tls.Alert(2, 40)


def test_a_cookie_is_taken_out():
    plain = CLIENT[13 + 12 :]
    cookie = b"\x04abcd"
    body = plain[:35] + cookie + plain[36:]
    size = len(body).to_bytes(3, "big")
    message = b"\x01" + size + bytes(2) + bytes(3) + size + body
    hello = dtls.read_hello(CLIENT[:11] + len(message).to_bytes(2, "big") + message)
    assert hello == dtls.read_hello(CLIENT)


def fragment(at, end, body):
    message = b"\x01" + len(body).to_bytes(3, "big") + bytes(2) + at.to_bytes(3, "big") + (end - at).to_bytes(3, "big")
    message += body[at:end]
    return CLIENT[:11] + len(message).to_bytes(2, "big") + message


def test_a_hello_in_fragments():
    body = CLIENT[13 + 12 :]
    assert dtls.read_hello(fragment(0, 50, body) + fragment(50, len(body), body)) == dtls.read_hello(CLIENT)
    first = dtls.read_hello(fragment(0, 180, body))
    assert isinstance(first, tls.ClientHello)
    assert not first.complete
    assert first.server_name == "media.example"


def test_records():
    assert [record.kind for record in dtls.read_records(CLIENT + VERIFY)] == [22, 22]
    assert [record.kind for record in dtls.read_records(CLIENT + b"\x2e" + bytes(20))] == [22]
    assert dtls.read_records(CLIENT)[0]._replace(payload=b"") == dtls.Record(22, 0xFEFF, 0, 0, b"")


@pytest.mark.parametrize(
    "data", [b"", VERIFY[:13], b"\x16\x03\x03" + VERIFY[3:], b"\x2e" * 40, VERIFY[:30], VERIFY[:-1]]
)
def test_what_is_none(data):
    with pytest.raises(MalformedError):
        dtls.read_hello(data)


@given(st.sampled_from([CLIENT, CLIENT_13, SERVER_13, VERIFY]), st.data())
def test_damaged_hellos_never_break(whole, draw):
    changed = bytearray(whole)
    for _ in range(draw.draw(st.integers(0, 4))):
        changed[draw.draw(st.integers(0, len(changed) - 1))] = draw.draw(st.integers(0, 255))
    data = bytes(changed[: draw.draw(st.integers(0, len(changed)))])
    with contextlib.suppress(MalformedError):
        dtls.read_hello(data)
