"""One flow as the tracker follows it: what it showed, what was inferred, what is still waited for."""

from __future__ import annotations

from typing import Final, NamedTuple

from flowsonar.flows.events import Closed, Opened
from flowsonar.flows.hops import hop_names
from flowsonar.model import UNKNOWN, Endpoint, Evidence, FlowKey, Side, Verdict
from flowsonar.passive import PassiveFlow

__all__ = ["TCP", "Began", "Followed"]

TCP: Final = 6
"""The protocol number in IP."""


class Began(NamedTuple):
    """How a flow began that comes to the tracker later: it was followed without it before."""

    verdict: Verdict | None
    """What was known of its endpoint on this side."""
    side: Side
    told: int
    """Verdict records that were made of it."""


class Followed:
    """State of one flow while it lives. Whoever fills a field says so in its comment."""

    __slots__ = (
        "announces",
        "asked",
        "beside",
        "closed",
        "established",
        "evidence",
        "first_ns",
        "flow",
        "from_cache",
        "handshake_ns",
        "hops",
        "informed",
        "interface",
        "key",
        "midstream",
        "passive",
        "postponed",
        "quiet",
        "settled",
        "told",
        "verdict",
        "verdict_ms",
        "waiting",
        "weight",
    )

    def __init__(self, flow: int, key: FlowKey, opened: Opened, passive: PassiveFlow) -> None:
        self.flow = flow
        self.key = key
        self.passive = passive
        self.first_ns = opened.time_ns
        self.interface = opened.interface
        self.midstream = opened.midstream
        self.hops = hop_names(opened.outer) if opened.outer else ()
        self.evidence: list[Evidence] = []
        self.verdict = UNKNOWN
        self.verdict_ms: float | None = None
        self.asked: tuple[Endpoint, ...] = ()  # endpoints asked for this flow, in order; never asked twice
        self.waiting: Endpoint | None = None  # the endpoint whose answer is due
        self.from_cache: Endpoint | None = None  # the endpoint whose cached verdict labels this flow
        self.told = 0  # verdict records that were made before the tracker had it, and are not made again
        self.beside = False  # began when FTP data was to be expected (`companions`)
        self.announces = False  # its label announced other flows (`sisters`)
        self.informed = False  # more became known of its endpoints after it was opened
        self.postponed = False  # nobody is asked before it is known whether it is FTP data
        self.established = opened.protocol != TCP  # may be asked about
        self.handshake_ns = 0
        self.quiet = 3  # bit 0: the initiator said nothing yet; bit 1: nor did the responder
        self.settled = False  # nothing more is expected of the flow's own bytes
        self.weight = 0  # payload bytes reported so far
        self.closed: Closed | None = None  # the flow ended; its record waits for an answer
