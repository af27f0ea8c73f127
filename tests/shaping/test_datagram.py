import ipaddress
import shutil
import struct
import subprocess
from pathlib import Path

import pytest

from flowsonar.model import Endpoint, Transport
from flowsonar.shaping.datagram import OURS, build, finished, parse

HERE4, THERE4 = Endpoint(Transport.UDP, "192.0.2.1", 4000), Endpoint(Transport.UDP, "198.51.100.2", 5000)
HERE6, THERE6 = Endpoint(Transport.UDP, "2001:db8::1", 4000), Endpoint(Transport.UDP, "2001:db8::2", 5000)


@pytest.mark.parametrize(("here", "there"), [(HERE4, THERE4), (HERE6, THERE6)])
@pytest.mark.parametrize("payload", [b"", b"x", b"hello", bytes(1400)])
def test_what_is_built_is_read(here: Endpoint, there: Endpoint, payload: bytes) -> None:
    packet = build(here, there, payload)
    assert parse(packet) == (here, there, payload)
    assert parse(packet + b"tail") == (here, there, payload)
    for length in range(len(packet) - max(1, len(payload)), len(packet)):
        assert parse(packet[:length]) is None


def checksum(data: bytes) -> int:
    total = 0
    for at in range(0, len(data), 2):
        total += int.from_bytes(data[at : at + 2].ljust(2, b"\0"), "big")
    while total >> 16:
        total = (total & 0xFFFF) + (total >> 16)
    return total


def test_its_checksums_hold() -> None:
    packet = build(HERE4, THERE4, b"abc")
    assert checksum(packet[:20]) == 0xFFFF
    pseudo = packet[12:20] + bytes([0, 17]) + packet[24:26]
    assert checksum(pseudo + packet[20:]) == 0xFFFF
    packet = build(HERE6, THERE6, b"abc")
    addresses = ipaddress.ip_address(HERE6.address).packed + ipaddress.ip_address(THERE6.address).packed
    assert checksum(addresses + bytes(2) + packet[4:6] + bytes([0, 0, 0, 17]) + packet[40:]) == 0xFFFF


def test_what_we_say_can_be_left_out_of_a_capture(tmp_path: Path) -> None:
    tcpdump = shutil.which("tcpdump") or shutil.which("tcpdump", path="/usr/sbin:/sbin")
    assert tcpdump is not None, "apt-get install tcpdump"
    strange4 = bytearray(build(HERE4, THERE4, b"not ours"))
    strange4[4:6] = b"\0\1"
    strange6 = bytearray(build(HERE6, THERE6, b"not ours"))
    strange6[1:4] = b"\0\0\0"
    for ours, strange in ((build(HERE4, THERE4, b"x"), strange4), (build(HERE6, THERE6, b"x"), strange6)):
        kind = b"\x08\x00" if ours[0] >> 4 == 4 else b"\x86\xdd"
        file = tmp_path / "capture.pcap"
        data = struct.pack("<IHHiIII", 0xA1B2C3D4, 2, 4, 0, 0, 65535, 1)
        for packet in (ours, bytes(strange)):
            frame = bytes(12) + kind + packet
            data += struct.pack("<IIII", 1, 0, len(frame), len(frame)) + frame
        file.write_bytes(data)
        words = [tcpdump, "-nr", str(file), f"not ({OURS})"]
        kept = subprocess.run(words, capture_output=True, text=True, check=True).stdout.splitlines()
        assert len(kept) == 1
        assert "length 8" in kept[0]


def test_fragments_and_other_protocols_are_none() -> None:
    packet = bytearray(build(HERE4, THERE4, b"abc"))
    for at, value in ((6, 0x20), (7, 1), (9, 6), (0, 0x41), (0, 0x75)):
        changed = bytearray(packet)
        changed[at] = value
        assert parse(bytes(changed)) is None
    assert parse(b"") is None


@pytest.mark.parametrize(("here", "there", "at"), [(HERE4, THERE4, 26), (HERE6, THERE6, 46)])
def test_a_checksum_that_was_left_to_a_card_is_made(here: Endpoint, there: Endpoint, at: int) -> None:
    packet = build(here, there, b"hello")
    assert finished(packet) == packet
    assert finished(packet[:at] + b"\x12\x34" + packet[at + 2 :]) == packet
    without = packet[:at] + b"\0\0" + packet[at + 2 :]
    assert finished(without) == without
