"""What SIP and RTSP announce."""

from __future__ import annotations

import pytest

from flowsonar.flows.events import Opened, Payload
from flowsonar.model import Confidence, Transport
from flowsonar.passive.sip import announced, could_announce

OPENED = Opened(1, 0, 17, bytes([192, 0, 2, 1]), 5060, bytes([198, 51, 100, 7]), 5060, 0, 0, False)
SDP = b"v=0\r\nc=IN IP4 192.0.2.1\r\nm=audio 5004 RTP/AVP 0\r\n"
INVITE = b"INVITE sip:b@example SIP/2.0\r\nContent-Type: application/sdp\r\n\r\n" + SDP
SETUP = b"RTSP/1.0 200 OK\r\nCSeq: 3\r\nTransport: RTP/AVP;client_port=5000-5001;server_port=6000-6001\r\n\r\n"

Place = tuple[str, int, Confidence]


def places(data: bytes, direction: int = 0) -> list[Place]:
    assert could_announce(data)
    found = announced(OPENED, Payload(1, 0, direction, 0, 0, data, len(data), 0))
    assert all(one.transport is Transport.UDP and one.initiator_address is None for one in found)
    return [(one.responder_address, one.responder_port, one.evidence.confidence) for one in found]


@pytest.mark.parametrize(
    ("data", "direction", "expected"),
    [
        (INVITE, 0, [("192.0.2.1", 5004, Confidence.CONFIRMED), ("192.0.2.1", 5005, Confidence.CONFIRMED)]),
        (INVITE, 1, [("192.0.2.1", 5004, Confidence.LIKELY), ("192.0.2.1", 5005, Confidence.LIKELY)]),
        (b"SIP/2.0 200 OK\r\n\r\n", 1, []),
        (b"INVITE sip:b SIP/2.0\r\nContent-Type: text/plain\r\n\r\n" + SDP, 0, []),
        (
            SETUP, 1,
            [
                ("192.0.2.1", 5000, Confidence.CONFIRMED), ("192.0.2.1", 5001, Confidence.CONFIRMED),
                ("198.51.100.7", 6000, Confidence.CONFIRMED), ("198.51.100.7", 6001, Confidence.CONFIRMED),
            ],
        ),
        (
            b"SETUP rtsp://192.0.2.9/a RTSP/1.0\r\nTransport: RTP/AVP;unicast;client_port=5000-5001\r\n\r\n", 0,
            [("192.0.2.1", 5000, Confidence.LIKELY), ("192.0.2.1", 5001, Confidence.LIKELY)],
        ),
        (b"SETUP rtsp://192.0.2.9/a RTSP/1.0\r\nTransport: RTP/AVP/TCP;interleaved=0-1\r\n\r\n", 0, []),
        (b"RTSP/1.0 200 OK\r\nTransport: RTP/AVP/TCP;interleaved=0-1\r\n\r\n", 1, []),
    ],
)  # fmt: skip
def test_places(data: bytes, direction: int, expected: list[Place]) -> None:
    assert places(data, direction) == expected


def test_other_payloads_announce_nothing() -> None:
    assert not could_announce(b"GET / HTTP/1.1\r\n\r\n")
    assert not could_announce(b"")


def test_the_answer_to_setup_may_come_line_by_line() -> None:
    piece = SETUP.partition(b"CSeq: 3\r\n")[2]
    assert not could_announce(piece)
    assert could_announce(piece, rtsp=True)
    found = announced(OPENED, Payload(1, 0, 1, 0, 0, piece, len(piece), 0))
    assert [one.responder_port for one in found] == [5000, 5001, 6000, 6001]


def test_facsimile_is_announced_as_such() -> None:
    data = INVITE.replace(b"audio 5004 RTP/AVP 0", b"image 5006 udptl t38")
    found = announced(OPENED, Payload(1, 0, 0, 0, 0, data, len(data), 0))
    assert [one.evidence.service for one in found] == ["t38"]
