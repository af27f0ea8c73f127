import pytest

from flowsonar.errors import MalformedError
from flowsonar.probes.special.quickeys import SUITES, PacketKeys, Schedule, expand


def test_a_short_header_packet_of_the_standard():
    """RFC 9001 appendix A.5."""
    secret = bytes.fromhex("9ac312a7f877468ebe69422748ad00a15443f18203a07d6060f688f30f21632b")
    assert expand(secret, "quic key", b"", 32, "sha256").hex() == (
        "c6d98ff3441c3fe1b2182094f69caa2ed4b716b65488960a7a984979fb23e1c8"
    )
    keys = PacketKeys(SUITES[0x1303], secret, "quic")
    assert keys._mask(bytes.fromhex("5e5cd55c41f69080575d7999c25a5bfb")).hex() == "aefefe7d03"


@pytest.mark.parametrize("suite", SUITES.values())
@pytest.mark.parametrize("header", [b"\x40DESTINAT", b"\xe0\0\0\0\x01\0\0\x40\x20"])
def test_what_was_sealed_opens_again(suite, header):
    keys = PacketKeys(suite, bytes(range(32)), "quic")
    packet = keys.seal(header, 5, b"\x01\x02\x03\x04")
    assert keys.open(packet, len(header)) == (5, b"\x01\x02\x03\x04")
    assert keys.open(packet[:-1] + bytes([packet[-1] ^ 1]), len(header)) is None
    for size in range(len(packet)):
        assert keys.open(packet[:size], len(header)) is None


def test_a_sample_that_is_cut():
    keys = PacketKeys(SUITES[0x1301], bytes(32), "quic")
    with pytest.raises(MalformedError):
        keys._mask(bytes(15))


def test_the_schedule_of_the_standard():
    """RFC 8448 section 3: the early secret's child, from a shared secret of its own."""
    shared = bytes.fromhex("8bd4054fb55b9d63fdfbacf9f04b9f0d35e6d63f537563efd46272900f89492d")
    schedule = Schedule(SUITES[0x1301], shared)
    assert schedule._handshake.hex() == "1dc826e93606aa6fdc0aadc12f741b01046aa6b99f691ed221a9f0ca043fbeac"
