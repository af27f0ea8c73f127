"""Passive classifiers' names of flows in the words of flowsonar."""

from __future__ import annotations

from pathlib import Path

import pytest
from lab.comparison.said import Names

from lab.comparison import passive

NAMES = Names({"rtp": ("RTP", "SRTP", "RTCP"), "sip": ("SIP",), "stun": ("STUN",), "wireguard": ("WireGuard",)})
FLOW = ("udp", frozenset({("10.0.0.1", 1), ("10.0.0.2", 2)}))


@pytest.mark.parametrize(
    ("tool", "text", "service", "over"),
    [
        ("nDPI", "DTLS.SRTP", "rtp", "dtls"),
        ("NFStream", "Unknown", None, None),
        ("nDPI", "WireGuard", "wireguard", None),
        ("tshark", "rtcp", "rtp", None),
        ("tshark", "sdp", "sip", None),
        ("tshark", "wg", "wireguard", None),
        ("tshark", "", None, None),
    ],
)
def test_names(monkeypatch: pytest.MonkeyPatch, tool: str, text: str, service: str | None, over: str | None) -> None:
    monkeypatch.setattr(passive, "install", list)
    monkeypatch.setattr(passive, "install_python", list)
    monkeypatch.setattr(passive.others, "labels", lambda *_: {tool: {FLOW: text}})
    said = passive.compare(Path("x.pcap"), Path(), NAMES)[tool][FLOW]
    assert (said.service, said.over) == (service, over)
