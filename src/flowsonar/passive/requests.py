"""Requests of a BitTorrent peer by their lengths, in a connection that was picked up in the middle.

Message stream encryption (RC4) hides every byte and no length. A peer that fetches says little: requests of 17 bytes,
each for a block of 16384, which comes with 13 bytes before it, and 9 bytes when a piece is whole (BEP 3). So the first
two or three payloads of its direction are told by all of this together:

- each is as long as one to eight requests, of three also with one message of 9 bytes; two of them hold requests;
- they are one piece of the stream, look random, and no two begin alike as records and frames would;
- between the first and the last as much was acknowledged as the requests since then ask for, give or take a block: a
  peer asks for one when one has come;
- what the other direction says, where it is seen, looks random.

Flows of 1 to 64 random bytes at a time, after each of which 1 to 100 kB come, meet it once in a thousand. Others that
look the same: none known; frames of one byte with a tag of 16 would, if one were sent for each 16 KiB.
"""

from __future__ import annotations

from itertools import pairwise
from typing import Final

from flowsonar.flows.events import Payload
from flowsonar.model import Confidence, Evidence, EvidenceKind, Side
from flowsonar.signatures.randomness import MIN_LENGTH, looks_random

__all__ = ["Requests", "like_requests"]

_SIDES: Final = (Side.INITIATOR, Side.RESPONDER)
_REQUEST: Final = 17
_HAVE: Final = 9
_MOST: Final = 8 * _REQUEST + _HAVE
_BLOCK: Final = 16384 + 13
_NUMBERS: Final = 1 << 32
_PAYLOADS: Final = 3
"""As many as the flow table reports of a direction."""
_ASKING: Final = 2
"""So many of them hold requests."""
_BLOCKS_APART: Final = 1.25
"""Requests and blocks may differ by so much: acknowledgements stand at ends of segments, not of blocks."""


def like_requests(length: int) -> bool:
    """Whether a payload is as long as requests are, maybe with one piece told of. `_native/classify.c` has the same."""
    return 0 < length <= _MOST and length % _REQUEST in {0, _HAVE}


class Requests:
    """The direction of a flow that began with a payload of such a length."""

    __slots__ = ("_direction", "_said", "_told")

    def __init__(self, direction: int) -> None:
        self._direction = direction
        self._said: tuple[Payload, ...] = ()
        self._told = False

    def feed(self, event: Payload, other: bytes) -> Evidence | None:
        """Take a payload; give evidence when it completes the picture. `other`: the other side's first."""
        if event.direction != self._direction or len(self._said) == _PAYLOADS or self._told:
            return None
        self._said = (*self._said, event)
        if not _are_requests(self._said):
            return None
        if len(other) >= MIN_LENGTH and not looks_random(other):
            return None
        self._told = True
        return Evidence(
            kind=EvidenceKind.PAYLOAD,
            service="bittorrent",
            confidence=Confidence.LIKELY,
            side=_SIDES[event.direction],
            signature="bittorrent/requests",
            detail="lengths of requests, as many as blocks came",
            data=b"".join(one.data for one in self._said)[:64],
            specificity=30,
        )


def _are_requests(said: tuple[Payload, ...]) -> bool:
    lengths = [one.wire_length for one in said]
    asking = sum(length > _HAVE for length in lengths)
    if asking < _ASKING or not all(map(like_requests, lengths)):
        return False
    if len(said) < _PAYLOADS and any(length % _REQUEST for length in lengths):
        return False
    if any(after.offset != one.offset + one.wire_length for one, after in pairwise(said)):
        return False
    if len({one.data[:2] for one in said}) < len(said) or not looks_random(b"".join(one.data for one in said)):
        return False
    first, last = said[0].acknowledges, said[-1].acknowledges
    asked = sum(length // _REQUEST for length in lengths[1:])
    came = (last - first) % _NUMBERS / _BLOCK
    return bool(first and last) and came > 1 / 2 and abs(came - asked) <= _BLOCKS_APART
