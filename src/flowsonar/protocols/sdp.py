"""Where media will go: SDP (RFC 8866) in SIP's messages, and RTSP's Transport header (RFC 2326 section 12.39)."""

from __future__ import annotations

import re
from ipaddress import ip_address
from typing import Final, NamedTuple

__all__ = ["Media", "read_media", "read_transport"]

_LINES: Final = 200
_MEDIA: Final = 16
"""Streams of one description that are read; a conference has a handful."""
_ADDRESS: Final = re.compile(rb"c=IN IP([46]) ([0-9a-fA-F.:]{2,45})(?:/[0-9/]{1,8})?\Z")
_STREAM: Final = re.compile(rb"m=(audio|video|image|application|text) ([0-9]{1,5})(?:/[0-9]{1,2})? ([A-Za-z/]{3,24})")
_RTCP: Final = re.compile(rb"a=rtcp:([0-9]{1,5})\b")
_PORTS: Final = re.compile(rb"(client_port|server_port|source)=([0-9a-fA-F.:]{1,45})(?:-([0-9]{1,5}))?")


class Media(NamedTuple):
    """One place where packets will come."""

    address: bytes | None
    """Packed; None: the sender's own."""
    port: int
    rtp: bool
    """RTP or RTCP; else T.38 facsimile or another datagram protocol."""


def read_media(body: bytes) -> list[Media]:
    """Places that a session description names; nothing where it names none."""
    session: bytes | None = None
    streams: list[tuple[int, bytes | None, bool, int]] = []
    for line in body.split(b"\n")[:_LINES]:
        text = line.rstrip(b"\r")
        if found := _STREAM.match(text):
            if len(streams) >= _MEDIA:
                break
            datagrams = not found[3].startswith(b"TCP")
            streams.append((int(found[2]) if datagrams else 0, session, found[3].startswith((b"RTP", b"UDP/TLS")), 0))
        elif found := _ADDRESS.match(text):
            address = _packed(found[2])
            if streams:
                port, _, rtp, control = streams[-1]
                streams[-1] = (port, address, rtp, control)
            else:
                session = address
        elif streams and (found := _RTCP.match(text)):
            port, own, rtp, _ = streams[-1]
            streams[-1] = (port, own, rtp, int(found[1]))
    places: list[Media] = []
    for port, address, rtp, control in streams:
        if not 1024 <= port < 65535:
            continue  # 0: refused
        places.append(Media(address, port, rtp))
        if rtp:
            other = control if 1024 <= control < 65536 else port + 1
            if other != port:
                places.append(Media(address, other, True))
    return places


def read_transport(value: bytes) -> tuple[list[int], list[int]]:
    """Ports of client and server that a Transport header names, RTP's and RTCP's."""
    ports: dict[bytes, list[int]] = {b"client_port": [], b"server_port": []}
    if b"TCP" in value.split(b";", 1)[0]:
        return [], []  # interleaved in the connection itself
    for found in _PORTS.finditer(value[:400]):
        if found[1] in ports and found[2].isdigit():
            given = [int(found[2]), int(found[3] or 0)]
            ports[found[1]] = [port for port in given if 1024 <= port < 65536]
    return ports[b"client_port"], ports[b"server_port"]


def _packed(text: bytes) -> bytes | None:
    try:
        return ip_address(text.decode("ascii")).packed
    except ValueError:
        return None
