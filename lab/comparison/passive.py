"""What passive classifiers say of each flow of a capture, in the words of flowsonar: ndpiReader, NFStream, tshark."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from lab.comparison.ndpi import parse_name
from lab.comparison.said import Names, Said
from lab.hidden import others
from lab.hidden.others import Key
from lab.packages import VENV, install, install_python

__all__ = ["compare"]

_DEBIAN = (("libndpi-bin", "ndpiReader"), ("tshark", "tshark"))
_TSHARK: Mapping[str, tuple[str | None, str | None]] = {
    "sdp": ("sip", None),
    "rtcp": ("rtp", None),
    "sip": ("sip", None),
    "srtp": ("rtp", None),
    "srtcp": ("rtp", None),
    "isakmp": ("ike", None),
    "udpencap": ("ipsec", None),
    "esp": ("ipsec", None),
    "wg": ("wireguard", None),
    "data-text-lines": ("http", None),
    "media": ("http", None),
    "x509sat": ("tls", None),
    "x509ce": ("tls", None),
    "mp2t": ("mpeg-ts", None),
    "quakeworld": ("quake", None),
    "classicstun": ("stun", None),
    "iax2": ("iax2", None),
    "rtmpt": ("rtmp", None),
    "text": (None, None),
    "": (None, None),
}
"""Names of dissectors that are no service's name or alias."""


def compare(capture: Path, folder: Path, names: Names) -> dict[str, dict[Key, Said]]:
    """By tool and flow. Installs the tools that are absent; raises MissingError when that cannot be done."""
    install(_DEBIAN)
    install_python(["nfstream"])
    found = others.labels(capture, folder, str(VENV / "bin" / "python"))
    return {
        tool: {flow: _in_our_words(tool, text, names) for flow, text in labels.items()}
        for tool, labels in found.items()
    }


def _in_our_words(tool: str, text: str, names: Names) -> Said:
    if tool != "tshark":
        return parse_name(text, names)
    lower = text.lower()
    service, over = _TSHARK[lower] if lower in _TSHARK else names.ours(lower)
    return Said(service=service, over=over, text=text or "unknown")
