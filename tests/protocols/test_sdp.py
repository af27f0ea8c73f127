from __future__ import annotations

import random

import pytest

from flowsonar.protocols.sdp import Media, read_media, read_transport

HERE, THERE = bytes([192, 0, 2, 1]), bytes([198, 51, 100, 7])


@pytest.mark.parametrize(
    ("body", "expected"),
    [
        (
            b"v=0\r\nc=IN IP4 192.0.2.1\r\nm=audio 5004 RTP/AVP 0 8\r\na=x\r\n",
            [Media(HERE, 5004, True), Media(HERE, 5005, True)],
        ),
        (
            b"c=IN IP4 192.0.2.1\nm=video 6000 RTP/SAVPF 96\nc=IN IP4 198.51.100.7\na=rtcp:7000 IN IP4 198.51.100.7\n",
            [Media(THERE, 6000, True), Media(THERE, 7000, True)],
        ),
        (b"m=audio 5004 RTP/AVP 0\n", [Media(None, 5004, True), Media(None, 5005, True)]),
        (b"c=IN IP4 192.0.2.1\nm=image 5006 udptl t38\n", [Media(HERE, 5006, False)]),
        (b"m=audio 0 RTP/AVP 0\nm=audio 80 RTP/AVP 0\nm=audio 99999 RTP/AVP 0\n", []),
        (b"m=message 2855 TCP/MSRP *\nm=application 9999 TCP/BFCP *\n", []),
        (b"c=IN IP4 999.0.0.1\nm=audio 5004 RTP/AVP 0\n", [Media(None, 5004, True), Media(None, 5005, True)]),
        (b"", []),
        (b"m=audio\nc=\nm=audio 5 5 5\n", []),
    ],
)
def test_places(body: bytes, expected: list[Media]) -> None:
    assert read_media(body) == expected


def test_streams_are_bounded() -> None:
    assert len(read_media(b"m=audio 5004 RTP/AVP 0\n" * 1000)) <= 32


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (b"RTP/AVP;unicast;client_port=5000-5001;server_port=6000-6001", ([5000, 5001], [6000, 6001])),
        (b"RTP/AVP/UDP;client_port=5000", ([5000], [])),
        (b"RTP/AVP/TCP;interleaved=0-1;client_port=5000-5001", ([], [])),
        (b"RTP/AVP;client_port=80-99999", ([], [])),
        (b"", ([], [])),
    ],
)
def test_transport(value: bytes, expected: tuple[list[int], list[int]]) -> None:
    assert read_transport(value) == expected


def test_anything_is_read() -> None:
    pick = random.Random(1)
    for _ in range(300):
        data = pick.randbytes(pick.randrange(200))
        read_media(b"m=audio 5004 RTP/AVP 0\n" + data)
        read_transport(b"RTP/AVP;client_port=" + data)
