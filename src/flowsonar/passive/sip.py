"""Calls and streams that SIP and RTSP announce: the places where their media will go."""

from __future__ import annotations

from typing import Final

from flowsonar.flows.events import Opened, Payload
from flowsonar.model import Announcement, Confidence, Evidence, EvidenceKind, Transport
from flowsonar.passive.addresses import address_text
from flowsonar.protocols.sdp import Media, read_media, read_transport

__all__ = ["announced", "could_announce"]

_STARTS: Final = (b"SIP/2.0 ", b"INVITE ", b"ACK ", b"UPDATE ", b"PRACK ", b"RTSP/1.0 ", b"SETUP rtsp")
_SERVER_PORT: Final = b";server_port="
_HEADERS: Final = 8192


def could_announce(data: bytes, *, rtsp: bool = False) -> bool:
    """Whether a payload may name places of media; of a flow that is `rtsp` a later piece of an answer may as well."""
    return data.startswith(_STARTS) or (rtsp and _SERVER_PORT in data[:_HEADERS])


def announced(opened: Opened, event: Payload) -> list[Announcement]:
    """Places that a message names; nothing where it names none."""
    own, other = (opened.initiator, opened.responder)
    if event.direction:
        own, other = other, own
    head, _, body = event.data[:_HEADERS].partition(b"\r\n\r\n")
    if head.startswith(b"RTSP/"):
        return _of_rtsp(head.split(b"\r\n")[1:], own, other)
    if head.startswith(b"SETUP "):
        return _asked(head.split(b"\r\n")[1:], own)
    if not head.startswith(_STARTS):
        return _of_rtsp(head.split(b"\r\n"), own, other)
    if b"m=" not in body or b"application/sdp" not in head.lower():
        return []
    return [_announcement(place, own, "SDP in SIP") for place in read_media(body)]


def _of_rtsp(lines: list[bytes], own: bytes, other: bytes) -> list[Announcement]:
    """A server's answer to SETUP names both sides' ports."""
    client, server = _ports(lines)
    places = [(Media(None, port, True), other) for port in client]
    places += [(Media(None, port, True), own) for port in server]
    return [_announcement(place, address, "SETUP in RTSP") for place, address in places]


def _asked(lines: list[bytes], own: bytes) -> list[Announcement]:
    """A client's SETUP names its own ports: who sees one direction only has nothing else. It may be refused."""
    client, _ = _ports(lines)
    return [_announcement(Media(None, port, True), own, "SETUP in RTSP", sure=False) for port in client]


def _ports(lines: list[bytes]) -> tuple[list[int], list[int]]:
    """The client's and the server's in a Transport header."""
    for line in lines[:64]:
        name, _, value = line.partition(b":")
        if name.strip().lower() == b"transport" and b"RTP/" in value:
            return read_transport(value.strip())
    return [], []


def _announcement(place: Media, own: bytes, by: str, *, sure: bool = True) -> Announcement:
    """Media at the address that speaks is sure; another host's address may be a lie or another side of NAT."""
    address = own if place.address is None else place.address
    confidence = Confidence.CONFIRMED if sure and address == own and place.rtp else Confidence.LIKELY
    return Announcement(
        transport=Transport.UDP,
        responder_address=address_text(address),
        responder_port=place.port,
        initiator_address=None,
        sends=not sure,
        evidence=Evidence(
            kind=EvidenceKind.ANNOUNCED,
            service="rtp" if place.rtp else "t38",
            confidence=confidence,
            detail=f"media announced by {by}",
            specificity=60,
        ),
    )
