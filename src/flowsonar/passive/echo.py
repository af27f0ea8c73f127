"""Servers that send back what they get: whatever the client spoke, it is none of theirs."""

from __future__ import annotations

from typing import Final

from flowsonar import limits
from flowsonar.passive import evidence
from flowsonar.passive.flow import SIDES, Findings, PassiveFlow

__all__ = ["FULL_SEGMENT", "LONG_ECHO", "echoed", "is_echo"]

_ECHO_BYTES: Final = 8
"""Fewer equal bytes are a coincidence of small protocols."""
LONG_ECHO: Final = 64
"""Shorter equal messages can be greetings (SSH, rsync, Ceph, JDWP) or keep-alives: the next ones decide."""
FULL_SEGMENT: Final = limits.EVIDENCE_BYTES
"""Bytes: all that is kept of a message. One so long may be cut into segments, and the next one can be its rest."""


def is_echo(data: bytes, other: bytes) -> bool:
    """Whether `data` begins with what the `other` side said, and that is long enough."""
    size = len(other)
    return size >= _ECHO_BYTES and data[:size] == other


def echoed(flow: PassiveFlow, direction: int, data: bytes) -> Findings:
    """Whatever the client spoke, it got its own bytes back."""
    return flow.take(evidence.ECHO._replace(side=SIDES[direction], data=data[:64]), done=True)
