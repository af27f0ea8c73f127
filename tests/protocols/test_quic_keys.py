"""Keys of Initials: the vectors of RFC 9001 and 9369, and what versions are called."""

import pytest

from flowsonar.protocols import quic
from flowsonar.protocols.quic_keys import _secrets, initial_keys, scheme_of, version_name

from .initials import CLIENT_ID, RFC_SERVER, client_initial


@pytest.mark.parametrize(
    ("version", "key", "iv", "header"),
    [
        (1, "1f369613dd76d5467730efcbe3b1a22d", "fa044b2f42a3fd3b46fb255c", "9f50449e04a0e810283a1e9933adedd2"),
        (
            0x6B3343CF,
            "8b1a0bc121284290a29e0971b5cd045d",
            "91f73e2351d8fa91660e909f",
            "45b95e15235d6f45a6b19cbcb0294ba9",
        ),
    ],
)
def test_the_clients_keys(version, key, iv, header):
    scheme = scheme_of(version)
    assert tuple(one.hex() for one in _secrets(scheme.salt, scheme.label, CLIENT_ID)[0]) == (key, iv, header)


def test_the_clients_packet_of_the_rfc():
    packet = client_initial(number=2)
    assert len(packet) == 1200
    assert packet.hex().startswith("c000000001088394c8f03e5157080000449e7b9aec34d1b1c98dd7689fb8ec11d242b123dc9b")


def test_the_servers_packet_of_the_rfc():
    keys = initial_keys(scheme_of(1), CLIENT_ID)
    at = quic.read_packets(RFC_SERVER)[0].at
    opened = keys[1].open(RFC_SERVER, at)
    assert opened is not None
    assert opened.hex().startswith("02000000000600405a020000560303eefce7f7b37ba1d1632e96677825ddf739")
    assert keys[0].open(RFC_SERVER, at) is None


@pytest.mark.parametrize(
    "version", [1, 0x6B3343CF, 0xFF020000, *range(0xFF000016, 0xFF000023), 0xFACEB001, 0xFACEB002, 0x54303531]
)
def test_what_is_sealed_opens_and_a_changed_bit_does_not(version):
    packet = client_initial(version=version)
    keys = initial_keys(scheme_of(version), CLIENT_ID)
    at = quic.read_packets(packet)[0].at
    assert keys[0].open(packet, at) is not None
    for place in (0, 5, at, at + 4, len(packet) - 1):
        changed = bytearray(packet)
        changed[place] ^= 1
        assert keys[0].open(bytes(changed), at) is None


@pytest.mark.parametrize("size", range(40))
def test_short_packets_do_not_open(size):
    keys = initial_keys(scheme_of(1), CLIENT_ID)
    assert keys[0].open(client_initial()[:size], 18) is None


@pytest.mark.parametrize(
    ("version", "name"),
    [
        (1, "1"),
        (0x6B3343CF, "2"),
        (0xFF020000, "2-draft-00"),
        (0xFF00001D, "draft-29"),
        (0xFACEB002, "mvfst-02"),
        (0x51303530, "Q050"),
        (0x1A2A3A4A, "0x1a2a3a4a"),
        (0x51FFFFFF, "0x51ffffff"),
    ],
)
def test_names(version, name):
    assert version_name(version) == name


@pytest.mark.parametrize("version", [0, 2, 0xFF000000, 0xFF000015, 0xFF000023, 0x51303436, 0x1A2A3A4A])
def test_versions_without_keys(version):
    assert scheme_of(version) is None
