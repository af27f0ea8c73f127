"""aes.c, quic_keys.c, quic.c and gquic.c say what `cryptography` and protocols/quic.py, quic_keys.py, gquic.py say."""

import pytest
from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from hypothesis import given
from hypothesis import strategies as st

from flowsonar._native import core
from flowsonar.errors import MalformedError
from flowsonar.protocols import gquic, quic
from tests.needs import needs_native
from tests.protocols.initials import (
    CLIENT_ID,
    RFC_HELLO,
    RFC_SERVER,
    SERVER_ID,
    client_initial,
    google,
    server_initial,
    tags,
)

pytestmark = needs_native()

V2 = 0x6B3343CF
VERSIONS = [
    1,
    V2,
    *range(0xFF000016, 0xFF000023),
    0xFACEB001,
    0xFACEB002,
    0xFACEB00E,
    0x51303530,
    0x54303530,
    0x54303531,
]
CHLO = tags(b"CHLO", SNI=b"video.example", UAID=b"Chrome/62.0 Windows NT 10.0")
SAMPLES = [
    client_initial(),
    client_initial(version=V2, source=b"source", token=b"t" * 70),
    RFC_SERVER,
    client_initial(RFC_HELLO[:50], size=0) + client_initial(RFC_HELLO[50:], offset=50, number=1, size=0) + bytes(40),
    bytes.fromhex("ea 00000000 02 6162 02 7879 00000001 ff00001d"),
    bytes.fromhex("f0 00000001 02 6162 02 7879") + bytes(range(40)),
    quic.build_unknown_version(CLIENT_ID, SERVER_ID, bytes(60)),
    google("Q043", CHLO),
    b"\xc3Q046\x50" + bytes(range(8)) + bytes(16) + b"\xa0\x01\0\x04" + CHLO,
    b"\x09" + bytes(range(8)) + b"Q043Q046T051",
    google("", tags(b"REJ", STK=b"token"), flags=0x08),
    CHLO,
]


@pytest.fixture(params=[0, 3], ids=["processor", "portable"])
def each_way(request):
    """Whatever this processor can do, and without."""
    core.codec_forbid(request.param)
    yield
    core.codec_forbid(0)


def python(read, *args):
    try:
        return read(*args)
    except MalformedError:
        return False


def opened(datagrams):
    initials, sides = quic.Initials(), []
    for datagram in datagrams:
        for packet in python(quic.read_packets, datagram) or ():
            if packet.kind is quic.Kind.INITIAL:
                side = initials.open(datagram, packet)
                sides.append(-1 if side is None else side)
    return sides, initials.crypto[0].head(), initials.crypto[1].head(), initials.destination


def hello(found):
    return found and (found.kind, *((text or "").encode("latin-1") for text in found[1:]))


def agree(data):
    listed = quic.read_negotiation(data)
    packets = [tuple(packet) for packet in python(quic.read_packets, data) or ()]
    looks = core.codec_quic_looks(data)
    assert looks == (quic.is_long_header(data), len(listed.versions) if listed else 0, packets)
    header = python(gquic.read_header, data)
    named = header and (
        (header.version or "").encode(),
        header.connection,
        header.long,
        len(header.versions),
        header.at,
    )
    found = hello(gquic.find_hello(data, header.at)) if header else None
    assert core.codec_gquic(data) == (gquic.is_header(data), named, found, hello(python(gquic.read_hello, data)))


def agree_connection(*datagrams):
    assert core.codec_quic_connection(datagrams) == opened(datagrams)


def test_aes(each_way, chance):
    for _ in range(50):
        key, block = chance.randbytes(16), chance.randbytes(16)
        encryptor = Cipher(algorithms.AES(key), modes.ECB()).encryptor()
        assert core.codec_aes(key, block) == encryptor.update(block)


def test_gcm(each_way, chance):
    for size in [*range(70), 255, 1183, 2000]:
        key, iv, header, data = (chance.randbytes(length) for length in (16, 12, chance.randrange(40), size))
        sealed = AESGCM(key).encrypt(iv, data, header)
        assert core.codec_gcm_open(key, iv, header, sealed) == data
        changed = bytearray(sealed)
        changed[chance.randrange(len(sealed))] ^= 1 << chance.randrange(8)
        assert core.codec_gcm_open(key, iv, header, bytes(changed)) is None
        assert core.codec_gcm_open(key, iv, header + b"x", sealed) is None
        assert core.codec_gcm_open(key, iv, header, sealed[:15]) is None


@pytest.mark.parametrize("data", SAMPLES)
def test_at_every_length(data):
    for cut in range(len(data) + 1):
        agree(data[:cut])


@pytest.mark.parametrize("version", VERSIONS)
def test_every_version(each_way, version):
    answer = server_initial(version, CLIENT_ID, b"own", SERVER_ID, b"\x06\x00\x02ab\x08\x00\x02ab")
    first = client_initial(RFC_HELLO[:90], version, source=b"own")
    second = client_initial(
        RFC_HELLO[90:], version, offset=90, number=70000, destination=SERVER_ID, keys_from=CLIENT_ID
    )
    agree_connection(first, answer, second)
    assert opened([first, answer, second])[:2] == ([0, 1, 0], RFC_HELLO)
    agree_connection(second, answer, first)
    agree_connection(first, client_initial(RFC_HELLO[90:], version, offset=90, destination=b"after-retry"))


@pytest.mark.parametrize("place", [0, 1, 5, 6, 18, 19, 22, 40, 1199])
def test_a_changed_bit(each_way, place):
    data = bytearray(client_initial())
    data[place] ^= 4
    agree_connection(bytes(data))
    agree_connection(client_initial(), bytes(data), RFC_SERVER)


def test_long_initials(each_way):
    for size in (4095, 4096, 4097):
        agree_connection(client_initial(size=size))


def test_recorded_payloads(recorded):
    for protocol, _, data in recorded:
        if protocol == 17:
            agree(data)


def test_recorded_connections(each_way, recorded):
    """Every recorded datagram with an Initial: alone, and with those before it."""
    found = [
        data for protocol, _, data in recorded if protocol == 17 and data[:1] > b"\xbf" and quic.is_long_header(data)
    ]
    assert len(found) > 200
    for i in range(len(found)):
        agree_connection(found[i])
    for i in range(0, len(found), 7):
        agree_connection(*found[i : i + 5])


@given(st.lists(st.tuples(st.integers(0, 60), st.binary(max_size=20)), max_size=40))
def test_pieces(parts):
    pieces = quic.Pieces()
    assert core.codec_quic_pieces(parts) == ([pieces.add(*part) for part in parts], pieces.head())


@given(st.lists(st.tuples(st.integers(0, 300).map(lambda n: 2 * n), st.sampled_from([b"a", b"abc"])), max_size=200))
def test_many_pieces(parts):
    pieces = quic.Pieces()
    assert core.codec_quic_pieces(parts) == ([pieces.add(*part) for part in parts], pieces.head())


@pytest.mark.parametrize("offset", [0, 8189, 8190, 8192, 1 << 16, 1 << 62])
def test_far_pieces(offset):
    pieces = quic.Pieces()
    assert core.codec_quic_pieces([(offset, b"abc")]) == ([pieces.add(offset, b"abc")], pieces.head())


@given(st.binary(max_size=100))
def test_any_frames(frames):
    for version in (1, 0x54303531):
        agree_connection(client_initial(version=version), server_initial(version, CLIENT_ID, b"", SERVER_ID, frames))


@given(st.binary(max_size=120), st.sampled_from([*(one[:6] for one in SAMPLES), b"", SAMPLES[7][:14], SAMPLES[7][:40]]))
def test_any_bytes(rest, begin):
    agree(begin + rest)
    agree_connection(begin + rest)
