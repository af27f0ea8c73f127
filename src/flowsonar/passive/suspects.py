"""What an enciphered flow may be: whom to ask its endpoint for first. No evidence for a service, and never a label.

BitTorrent's message stream encryption begins with a public key of 96 bytes and up to 512 of padding, in either
direction, and TLS with a record's header: so a flow that was seen from its beginning tells which of the two it may be.
One that was picked up in the middle may be in the middle of a TLS record: on a system port that comes first. On other
ports it is the other way round, for a TLS server answers the key at once, by an alert or the end, while a peer that is
shown a ClientHello may turn away our next connection (transmission has one handshake with an address at a time). A
datagram with uTP's header may be BitTorrent's.
"""

from __future__ import annotations

from math import log2
from typing import Final

from flowsonar.model import ENCRYPTED, Confidence, Evidence, EvidenceKind, Transport
from flowsonar.protocols import utp
from flowsonar.signatures.randomness import looks_random

__all__ = ["RUNNING", "SERVED", "SILENT", "suspects", "unidentified"]

SILENT: Final = ("bittorrent",)
"""Of a connection from the middle that shows no byte, between ports that are nobody's: the one service that a datagram
to the same number finds, and whose connections stand for hours."""
RUNNING: Final = ("bittorrent", "tls")
"""What it is asked for when it goes on showing none, for the reasons above."""
SERVED: Final = ("tls",)
"""The same where one of the ports is a service's: most that stands for long is TLS."""

_KEY_BYTES: Final = 96
_SYSTEM_PORTS: Final = 1024  # RFC 6335 section 6
_LEAST: Final = 17
"""A request between peers; of a shorter message alone chance says too much."""
_SHORT: Final = 8
"""The least of a flow from the middle that has shown nothing longer: what peers have got is told in 9 bytes."""


def suspects(
    transport: Transport, firsts: tuple[bytes, bytes], ports: tuple[int, int], *, midstream: bool
) -> tuple[str, ...]:
    """Services to ask for, best first, where nothing else is known; `firsts`: each direction's first payload."""
    if transport is Transport.UDP:
        return ("bittorrent",) if any(utp.parse(data) is not None for data in firsts) else ()
    if transport is not Transport.TCP:
        return ()
    said = [data for data in firsts if len(data) >= _LEAST]
    if said or not midstream:
        random = bool(said) and all(map(looks_random, said))
    else:
        said = [data for data in firsts if len(data) >= _SHORT]
        random = bool(said) and all(map(_may_be_random, said)) and min(ports) >= _SYSTEM_PORTS
    if not random:
        return ()
    if not midstream:
        return ("bittorrent",) if all(len(data) >= _KEY_BYTES for data in said) else ()
    return ("bittorrent", "tls") if min(ports) >= _SYSTEM_PORTS else ("tls", "bittorrent")


def _may_be_random(data: bytes) -> bool:
    """Whether few bytes are neither text nor small numbers: enough for what to ask first, and for nothing else."""
    printable = sum(32 <= byte < 127 for byte in data)
    return len(set(data)) >= len(data) - 2 and data.count(0) <= 1 and printable <= 3 * len(data) // 4


_TELLING: Final = 24
"""Fewer random bytes are met now and then in what is not enciphered."""


def unidentified(firsts: tuple[bytes, bytes], why: str) -> Evidence | None:
    """Say that a flow looks enciphered, with the figures; None where it does not. `why` nobody knows what it is."""
    said = [data for data in firsts if len(data) >= _TELLING]
    if not said or not all(map(looks_random, said)):
        return None
    data = b"".join(said)
    counts = [data.count(value) for value in set(data)]
    entropy = -sum(count / len(data) * log2(count / len(data)) for count in counts)
    printable = sum(32 <= byte < 127 for byte in data) / len(data)
    ones = sum(byte.bit_count() for byte in data) / len(data)
    ways = "both directions" if len(said) > 1 else "one direction"
    figures = f"printable {printable:.2f}, {ones:.2f} bits set a byte, entropy {entropy:.1f} bits of {len(data)} bytes"
    return Evidence(
        kind=EvidenceKind.BEHAVIOUR,
        service=None,
        confidence=Confidence.UNKNOWN,
        signature=ENCRYPTED,
        detail=f"looks enciphered in {ways}: {figures}; {why}",
        data=said[0][:64],
    )
