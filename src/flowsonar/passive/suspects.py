"""What an enciphered TCP flow may be: whom to ask its endpoint for first. No evidence, and never a label.

BitTorrent's message stream encryption begins with a public key of 96 bytes and up to 512 of padding, in either
direction, and TLS with a record's header: so a flow that was seen from its beginning tells which of the two it may be.
One that was picked up in the middle may be in the middle of a TLS record; but where the other side speaks as well and
begins with no record either, TLS is unlikely.
"""

from __future__ import annotations

from typing import Final

from flowsonar.signatures.randomness import looks_random

__all__ = ["suspects"]

_KEY_BYTES: Final = 96
_LEAST: Final = 17
"""A request between peers; a shorter message tells nothing."""


def suspects(firsts: tuple[bytes, bytes], *, midstream: bool) -> tuple[str, ...]:
    """Services to ask for, best first, where nothing else is known; `firsts`: each direction's first payload."""
    said = [data for data in firsts if len(data) >= _LEAST]
    if not said or not all(map(looks_random, said)):
        return ()
    if not midstream:
        return ("bittorrent",) if all(len(data) >= _KEY_BYTES for data in said) else ()
    return ("bittorrent", "tls") if len(said) > 1 else ("tls", "bittorrent")
