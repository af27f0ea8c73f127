"""First bytes of flows that the flow table follows from the start: their dialogue announces other flows."""

from __future__ import annotations

from typing import Final

__all__ = ["FOLLOW", "FOLLOW_FTP"]

FOLLOW_FTP: Final = (
    *(b"220", b"227 ", b"229 "),
    *(b"USER ", b"AUTH ", b"FEAT", b"HOST ", b"CLNT ", b"OPTS ", b"SYST"),
    *(b"PASV", b"EPSV", b"PORT ", b"EPRT "),
)
"""First bytes of flows that may be FTP control connections: the flow table follows them from the start.

A greeting, what clients say first (lftp asks for features before it logs in), and what announces.
"""
_RTSP: Final = (b"RTSP/1.0 ", b"DESCRIBE rtsp", b"SETUP rtsp", b"OPTIONS rtsp", b"OPTIONS * RTSP")
"""First bytes of flows that may be RTSP: its SETUP comes after three messages."""
_TINC: Final = (b"0 ",)
"""First bytes of tinc's connections: once such a one is known, the datagrams beside it are (`verdicts/sisters.py`)."""

FOLLOW: Final = (*FOLLOW_FTP, *_RTSP, *_TINC)
"""All of them."""
