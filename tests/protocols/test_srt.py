"""SRT's acknowledgements: type, length and receiver."""

from __future__ import annotations

import pytest

from flowsonar.protocols import srt

ACK = bytes.fromhex(
    "80020000 00000045 0060805c 1a776707 5f199100 0000002b 00000006 00001ffc 00000000 000003ee 00000000"
)
BACK = bytes.fromhex("80060000 00000045 00608393 13eaacb3 00000000")


@pytest.mark.parametrize(
    ("data", "length", "expected"),
    [
        (ACK, None, srt.Control(srt.ACKNOWLEDGES, 0x45, 0x60805C, 0x1A776707)),
        (ACK[:20], None, srt.Control(srt.ACKNOWLEDGES, 0x45, 0x60805C, 0x1A776707)),  # the last number alone
        (BACK, None, srt.Control(srt.ACKNOWLEDGES_BACK, 0x45, 0x608393, 0x13EAACB3)),
        (BACK[:16], None, srt.Control(srt.ACKNOWLEDGES_BACK, 0x45, 0x608393, 0x13EAACB3)),
        (BACK[:16], 20, srt.Control(srt.ACKNOWLEDGES_BACK, 0x45, 0x608393, 0x13EAACB3)),
        (ACK + b"\0", None, None),
        (ACK[:16], 17, None),
        (ACK[:12] + bytes(4) + ACK[16:], None, None),  # that is a call's first step
        (b"\x80\x03" + ACK[2:], None, None),
        (b"\x80\x02\x00\x01" + ACK[4:], None, None),  # RTP
    ],
)
def test_datagrams(data: bytes, length: int | None, expected: srt.Control | None) -> None:
    assert srt.parse(data, length) == expected


def test_cut_anywhere() -> None:
    assert all(srt.parse(BACK[:end]) is None for end in range(16))
