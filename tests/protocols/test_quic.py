"""QUIC's long headers, version negotiation and Initials: whole, in pieces, cut, and made of anything."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from flowsonar.errors import MalformedError
from flowsonar.protocols import quic, tls
from flowsonar.protocols.quic import Initials, Kind, Pieces

from .initials import CLIENT_ID, RFC_HELLO, RFC_SERVER, SERVER_ID, client_initial, server_initial

V2 = 0x6B3343CF


def opened(*datagrams):
    """Feed datagrams; the Initials, and who sent each packet."""
    initials = Initials()
    sides = [
        initials.open(datagram, packet)
        for datagram in datagrams
        for packet in quic.read_packets(datagram)
        if packet.kind is Kind.INITIAL
    ]
    return initials, sides


def test_client_and_server_of_the_rfc():
    initials, sides = opened(client_initial(), RFC_SERVER)
    assert sides == [0, 1]
    assert tls.read_message(initials.crypto[0].head()).server_name == "example.com"
    answer = tls.read_message(initials.crypto[1].head())
    assert (answer.version, answer.cipher) == (0x0304, 0x1301)


@pytest.mark.parametrize("version", [1, V2, 0xFF00001D, 0xFF000016, 0x54303530])
@pytest.mark.parametrize("cut", [1, 40, len(RFC_HELLO) - 1])
@pytest.mark.parametrize("turned", [False, True])
def test_a_hello_in_two_datagrams_in_any_order(version, cut, turned):
    parts = [
        client_initial(RFC_HELLO[:cut], version),
        client_initial(RFC_HELLO[cut:], version, offset=cut, number=1),
    ]
    initials, sides = opened(*(reversed(parts) if turned else parts))
    assert sides == [0, 0]
    assert initials.crypto[0].head() == RFC_HELLO


def test_several_packets_in_one_datagram():
    both = client_initial(RFC_HELLO[:50], size=0) + client_initial(RFC_HELLO[50:], offset=50, number=1, size=0)
    packets = quic.read_packets(both)
    assert [packet.kind for packet in packets] == [Kind.INITIAL] * 2
    assert packets[-1].end == len(both)
    assert opened(both)[0].crypto[0].head() == RFC_HELLO
    assert quic.read_packets(both + b"\0" * 30) == packets


def test_after_a_retry_there_are_new_keys():
    initials, sides = opened(client_initial(RFC_HELLO[:50]), client_initial(destination=SERVER_ID))
    assert sides == [0, 0]
    assert initials.destination == SERVER_ID
    assert initials.crypto[0].head() == RFC_HELLO


def test_the_client_goes_on_with_the_servers_id():
    answered = client_initial(RFC_HELLO[50:], offset=50, destination=SERVER_ID, keys_from=CLIENT_ID)
    initials, sides = opened(client_initial(RFC_HELLO[:50]), answered)
    assert sides == [0, 0]
    assert initials.destination == CLIENT_ID


def test_what_belongs_to_another_connection_does_not_open():
    assert opened(client_initial(), server_initial(1, b"another!", b"", SERVER_ID, b"\x01"))[1] == [0, None]


def test_a_connection_that_we_begin():
    initials = Initials()
    initials.begin(V2, CLIENT_ID)
    answer = server_initial(V2, CLIENT_ID, b"", SERVER_ID, b"\x02\x00\x00\x00\x00\x06\x00\x03abc")
    assert initials.open(answer, quic.read_packets(answer)[0], 1) == 1
    assert initials.crypto[1].head() == b"abc"


@pytest.mark.parametrize(
    ("frames", "head"),
    [
        (b"\x06\x00\x02ab\x00\x00\x01\x06\x02\x02cd", b"abcd"),
        (b"\x06\x02\x02cd\x06\x00\x02ab", b"abcd"),
        (b"\x06\x00\x04abcd\x06\x00\x02ab", b"abcd"),
        (b"\x03\x00\x00\x01\x00\x00\x00\x01\x01\x01\x06\x00\x01a", b"a"),
        (b"\x06\x01\x01b", b""),
        (b"\x06\x00\x09ab", b""),
        (b"\x08\x06\x00\x01a", b""),
        (b"\x02\xff\xff\xff\xff\xff\xff\xff\xff", b""),
        (b"\x02\x00\x00\xbf\xff\xff\xff\x00", b""),
        (b"\x06\xbf\xff\xff\xff\x01a", b""),
    ],
)
def test_frames(frames, head):
    initials = Initials()
    initials.begin(1, CLIENT_ID)
    answer = server_initial(1, CLIENT_ID, b"", SERVER_ID, frames)
    assert initials.open(answer, quic.read_packets(answer)[0]) == 1
    assert initials.crypto[1].head() == head


@pytest.mark.parametrize(
    ("first", "version", "kind"),
    [
        (0xC0, 1, Kind.INITIAL),
        (0xD0, 1, Kind.ZERO_RTT),
        (0xE0, 1, Kind.HANDSHAKE),
        (0xF0, 1, Kind.RETRY),
        (0xD0, V2, Kind.INITIAL),
        (0xE0, V2, Kind.ZERO_RTT),
        (0xF0, V2, Kind.HANDSHAKE),
        (0xC0, V2, Kind.RETRY),
        (0xC0, 0x1A2A3A4A, Kind.UNKNOWN),
        (0x80, 0, Kind.NEGOTIATION),
    ],
)
def test_kinds(first, version, kind):
    data = bytes([first]) + version.to_bytes(4, "big") + b"\x01d\x01s\x00\x14" + bytes(20)
    if kind in (Kind.ZERO_RTT, Kind.HANDSHAKE):
        data = data[:9] + b"\x14" + bytes(20)
    packet = quic.read_packets(data)[0]
    assert (packet.kind, packet.destination, packet.source) == (kind, b"d", b"s")
    assert packet.end == len(data)


@pytest.mark.parametrize("cut", range(len(RFC_SERVER)))
def test_cut_packets(cut):
    with pytest.raises(MalformedError):
        quic.read_packets(RFC_SERVER[:cut])


@pytest.mark.parametrize(
    "data",
    [
        b"\x40" + RFC_SERVER[1:],
        b"\x8f" + RFC_SERVER[1:],
        RFC_SERVER[:5] + b"\x15" + bytes(200),
        bytes.fromhex("c0000000010000004003") + bytes(40),
    ],
)
def test_what_is_no_packet(data):
    with pytest.raises(MalformedError):
        quic.read_packets(data)


def test_long_headers():
    assert quic.is_long_header(RFC_SERVER)
    assert quic.is_long_header(client_initial(version=V2))
    assert quic.is_long_header(quic.build_unknown_version(CLIENT_ID, SERVER_ID, bytes(1174)))
    for data in (b"", RFC_SERVER[:6], b"\x8f" + RFC_SERVER[1:], b"\xc0\x00\x00\x00\x07" + RFC_SERVER[5:]):
        assert not quic.is_long_header(data)


def test_version_negotiation():
    data = bytes.fromhex("ea 00000000 02 6162 02 7879 00000001 ff00001d")
    assert quic.is_long_header(data)
    assert quic.read_negotiation(data) == (b"ab", b"xy", (1, 0xFF00001D))
    assert quic.read_packets(data)[0].kind is Kind.NEGOTIATION
    for bad in (data[:-1], data[:-8], data + bytes(4), b"\x6a" + data[1:], data + b"\0\0\0\1" * 64, bytes(40)):
        assert quic.read_negotiation(bad) is None


def test_the_question_for_versions_looks_like_an_initial():
    data = quic.build_unknown_version(CLIENT_ID, SERVER_ID, bytes(1174))
    assert len(data) == 1200
    packet = quic.read_packets(data[:1] + b"\0\0\0\x01" + data[5:])[0]
    assert (packet.kind, packet.destination, packet.source, packet.end) == (Kind.INITIAL, CLIENT_ID, SERVER_ID, 1200)


@given(st.lists(st.tuples(st.integers(0, 40), st.binary(max_size=20)), max_size=30))
def test_pieces_are_what_was_written(parts):
    pieces, written = Pieces(), {}
    for offset, data in parts:
        assert pieces.add(offset, data)
        written.update(enumerate(data, offset))
    head = bytearray()
    while len(head) in written:
        head.append(written[len(head)])
    assert pieces.head() == bytes(head)


def test_pieces_are_bounded():
    pieces = Pieces()
    assert not pieces.add(quic.MAX_CRYPTO, b"a")
    assert not pieces.add(1 << 60, b"a")
    assert pieces.add(quic.MAX_CRYPTO - 1, b"a")
    for place in range(1, quic.MAX_PIECES):
        assert pieces.add(2 * place, b"a")
    assert not pieces.add(1000, b"a")
    assert pieces.add(0, b"abc")


@given(st.binary(max_size=120), st.sampled_from([1, V2, 0xFF00001D, 0x1A2A3A4A, 0]))
def test_any_bytes(rest, version):
    data = b"\xc0" + version.to_bytes(4, "big") + rest
    try:
        packets = quic.read_packets(data)
    except MalformedError:
        return
    for packet in packets:
        assert packet.start < packet.at <= packet.end <= len(data)
        if packet.kind is Kind.INITIAL:
            assert Initials().open(data, packet) is None


@given(st.binary(max_size=100))
def test_any_frames(frames):
    initials = Initials()
    initials.begin(1, CLIENT_ID)
    answer = server_initial(1, CLIENT_ID, b"", SERVER_ID, frames)
    assert initials.open(answer, quic.read_packets(answer)[0]) == 1
