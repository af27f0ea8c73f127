"""tls.c, ja4.c and sha256.c say what protocols/tls.py, protocols/ja4.py and hashlib say."""

import hashlib

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from flowsonar._native import core
from flowsonar.errors import MalformedError
from flowsonar.protocols import tls
from flowsonar.protocols.ja4 import ja4
from tests.needs import needs_native
from tests.protocols.hellos import client_hello, record, server_hello

pytestmark = needs_native()

ALPN_MAX = 16
HELLO = client_hello(name="a.example", alpn=("h2", "http/1.1"), versions=(0x0A0A, 0x0304, 0x0303), extra=(0xFE0D, 23))
SAMPLES = [
    HELLO,
    client_hello(ciphers=(0x0A0A,), algorithms=(), versions=(0x1A1A,)),
    client_hello(alpn=tuple(f"p{i}" for i in range(20)), extra=tuple(range(100, 250)), padding=300),
    client_hello(name="with space", alpn=("\x00\xff",)),
    client_hello(versions=(0,)),
    server_hello(),
    server_hello(version=None, alpn="h2"),
    record(0x15, b"\x02\x28"),
    record(0x15, b"\x03\x28"),
    record(0x17, b"data"),
]


def expected(hello, transport="t"):
    """What the Python codec read, in the form of the binding."""
    if hello is None:
        return None
    if isinstance(hello, tls.Alert):
        return ("alert", *hello)
    if isinstance(hello, tls.ServerHello):
        alpn = [] if hello.alpn is None else [hello.alpn.encode("latin-1")]
        return "server", hello.version, hello.cipher, alpn, hello.retry
    return (
        "client",
        tls.chosen_version(hello),
        hello.server_name.encode("latin-1") if hello.server_name else None,
        [name.encode("latin-1") for name in hello.alpn[:ALPN_MAX]],
        len(hello.alpn) > ALPN_MAX,
        0xFE0D in hello.extensions,
        hello.complete,
        ja4(hello, transport) if hello.complete else "",
    )


def python(read, *args, transport="t", **keywords):
    try:
        return expected(read(*args, **keywords), transport)
    except MalformedError:
        return False


def native(found):
    return (*found[:3], found[3][:1], found[4]) if found and found[0] == "server" else found


def agree(data):
    for final in (False, True):
        assert native(core.codec_tls_first_flight(data, final)) == python(tls.read_first_flight, data, final=final)
        message = data[5:]
        found = native(core.codec_tls_message(message, final, "q"))
        assert found == python(tls.read_message, message, final=final, transport="q")
    looks = tls.is_record(data), tls.is_record_chain(data), tls.is_sslv2_hello(data)
    assert core.codec_tls_looks(data) == looks


@pytest.mark.parametrize("forbidden", [0, 3])
def test_sha256(forbidden, chance):
    core.codec_forbid(forbidden)
    try:
        for size in [*range(200), 1000, 5000]:
            data = chance.randbytes(size)
            assert core.codec_sha256(data) == hashlib.sha256(data).digest()
    finally:
        core.codec_forbid(0)


@pytest.mark.parametrize("data", SAMPLES)
def test_at_every_length(data):
    for cut in range(len(data) + 1):
        agree(data[:cut])
    agree(data + b"\x17\x03\x03\x00\x01x")
    agree(data + data)


@pytest.mark.parametrize("size", [1, 3, 4, 5, 50, 120])
def test_over_several_records(size):
    message = HELLO[5:]
    data = b"".join(record(0x16, message[i : i + size]) for i in range(0, len(message), size))
    for cut in range(0, len(data) + 1, 3):
        agree(data[:cut])
    agree(data[: 2 * (5 + size)] + record(0x17, b"other") + data)
    agree(data)


def test_the_longest_hello(chance):
    for size in (16383, 16384, 16385):
        body = HELLO[9:] + bytes(size - len(HELLO) + 9)
        message = b"\x01" + len(body).to_bytes(3, "big") + body
        agree(record(0x16, message))
        agree(b"".join(record(0x16, message[i : i + 1000]) for i in range(0, len(message), 1000)))
    ciphers = tuple(chance.randrange(65536) for _ in range(7000))
    agree(client_hello(ciphers=ciphers, extra=tuple(chance.randrange(65536) for _ in range(400))))


def test_recorded_payloads(recorded):
    hellos = 0
    for protocol, _, data in recorded:
        if protocol == 6:
            agree(data)
            hellos += data[:1] == b"\x16"
    assert hellos > 1000


def test_recorded_hellos_cut(recorded, chance):
    found = [data for protocol, _, data in recorded if protocol == 6 and data[:2] == b"\x16\x03"]
    for data in chance.sample(found, 60):
        for cut in range(0, len(data), 1 + len(data) // 200):
            agree(data[:cut])


def test_recorded_hellos_changed(recorded, chance):
    found = [data for protocol, _, data in recorded if protocol == 6 and data[:2] == b"\x16\x03"]
    for data in chance.sample(found, 400):
        for _ in range(10):
            changed = bytearray(data)
            for _ in range(chance.choice((1, 1, 2, 4))):
                changed[chance.randrange(min(len(data), 600))] = chance.choice((0, 1, 2, 3, 255, chance.randrange(256)))
            agree(bytes(changed))


@given(st.binary(max_size=300), st.sampled_from([b"", b"\x16\x03\x01", HELLO[:11], HELLO[:80], HELLO[:-40]]))
@example(b"", b"")
def test_any_bytes(rest, begin):
    agree(begin + rest)


@given(
    st.lists(st.integers(0, 65535), max_size=60),
    st.lists(st.integers(0, 65535), max_size=60),
    st.lists(st.binary(min_size=1, max_size=5).map(lambda name: name.decode("latin-1")), max_size=3),
    st.lists(st.integers(0, 65535), max_size=6),
)
def test_any_offer(ciphers, extra, alpn, versions):
    names = [name for name in alpn if name.isascii()]
    agree(client_hello(ciphers=(1, *ciphers), extra=tuple(extra), alpn=names, versions=versions))
