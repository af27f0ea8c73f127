"""Hosts that speak with peers: what they connect to next is likely a peer too, and soon to be asked.

That is no evidence about the new flow. It only says that beginning the question's connection early is worth its cost.
"""

from __future__ import annotations

from collections import OrderedDict
from typing import Final

from flowsonar.model import Confidence, Verdict
from flowsonar.signatures.catalogue import SignatureSet

__all__ = ["PeerHosts"]

LATELY_NS: Final = 60_000_000_000
"""A host counts so long after its last flow with a peer was told."""
HOSTS: Final = 4096
"""Hosts remembered; the longest ago goes first."""


class PeerHosts:
    """Initiators of flows whose service is one of peers (`peers` in the signature)."""

    def __init__(self, signatures: SignatureSet) -> None:
        self._signatures = signatures
        self._lately: OrderedDict[str, int] = OrderedDict()

    def told(self, host: str, verdict: Verdict, now_ns: int) -> None:
        """A flow that `host` began has a label."""
        signature = self._signatures.services.get(verdict.service or "")
        if signature is None or not signature.peers or verdict.confidence.rank < Confidence.LIKELY.rank:
            return
        self._lately[host] = now_ns
        self._lately.move_to_end(host)
        if len(self._lately) > HOSTS:
            self._lately.popitem(last=False)

    def speaks(self, host: str, now_ns: int) -> bool:
        """Whether `host` has spoken with a peer lately."""
        told_ns = self._lately.get(host)
        return told_ns is not None and abs(now_ns - told_ns) <= LATELY_NS
