"""What is kept of one flow while its own bytes are read, and what reading them finds."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from flowsonar import limits
from flowsonar.flows.events import Opened
from flowsonar.model import Announcement, Confidence, Direction, Evidence, Hints, Side, Transport

if TYPE_CHECKING:
    from flowsonar.passive.ftp import FtpControl
    from flowsonar.passive.skype_tcp import SkypeStream
    from flowsonar.passive.skype_udp import SkypeDatagrams
    from flowsonar.passive.tls import TlsFlow

__all__ = ["NOTHING", "Findings", "PassiveFlow"]

_LIKELY = Confidence.LIKELY.rank


class Findings(NamedTuple):
    """What one event told."""

    evidence: tuple[Evidence, ...] = ()
    announcements: tuple[Announcement, ...] = ()
    done: bool = False
    """Nothing more is to be learned from this flow's payloads: the flow table may release it."""
    follow: bool = False
    """A dialogue to be followed: the flow table should deliver all its short payloads."""


NOTHING = Findings()

_TRANSPORTS = {
    6: Transport.TCP,
    17: Transport.UDP,
    132: Transport.SCTP,
    1: Transport.ICMP,
    58: Transport.ICMP,
}


class PassiveFlow:
    """The state of one flow. Made once per flow, so it is small and its parts are made when needed."""

    __slots__ = (
        "alpn",
        "client",
        "counts",
        "datagrams",
        "done",
        "first_speaker",
        "firsts",
        "ftp",
        "mirrored",
        "name",
        "opened",
        "query",
        "seconds",
        "services",
        "stream",
        "tls",
        "transport",
    )

    def __init__(self, opened: Opened) -> None:
        self.opened = opened
        self.transport = _TRANSPORTS.get(opened.protocol, Transport.OTHER)
        self.done = False
        self.mirrored = False
        """Both sides began with the same short message."""
        self.name: str | None = None
        """SNI, HTTP host."""
        self.alpn: tuple[str, ...] = ()
        self.first_speaker: int = -1
        """Direction of the first payload seen, -1 before."""
        self.firsts: list[bytes] = [b"", b""]
        """First payload bytes per direction, at most `limits.EVIDENCE_BYTES`."""
        self.seconds: list[bytes] = [b"", b""]
        """Second payload per direction of a TCP flow that nobody knows yet, at most 32 bytes."""
        self.counts = [0, 0]
        """Payloads read per direction."""
        self.services: dict[str, int] = {}
        """Rank of the best evidence per service."""
        self.client: Evidence | None = None
        """What the client's side said at first, as sure as its pattern is, until the server has answered."""
        self.query: tuple[bytes, int] | None = None
        """A DNS query and where its question ends."""
        self.tls: TlsFlow | None = None
        self.ftp: FtpControl | None = None
        self.datagrams: SkypeDatagrams | None = None
        self.stream: SkypeStream | None = None

    @property
    def likely(self) -> bool:
        """Whether some service has evidence of at least `likely`."""
        return any(rank >= _LIKELY for rank in self.services.values())

    def note(self, evidence: Evidence) -> None:
        """Remember a service and how sure it is."""
        if evidence.service is not None:
            rank = evidence.confidence.rank
            if rank > self.services.get(evidence.service, -1):
                self.services[evidence.service] = rank

    def finish(self) -> None:
        """Nothing more is read; what only reading needs is let go."""
        self.done = True
        self.tls = self.ftp = self.client = self.query = None

    def hints(self, side: Side = Side.RESPONDER) -> Hints:
        """What the planner may use about the endpoint on `side`; the round trip is the tracker's to add."""
        speaker = None
        if self.first_speaker >= 0 and not self.opened.midstream:
            speaker = Side.INITIATOR if self.first_speaker == Direction.TO_RESPONDER else Side.RESPONDER
        return Hints(
            server_name=self.name,
            alpn=self.alpn,
            first_speaker=speaker,
            midstream=self.opened.midstream,
            side=side,
            initiator_bytes=self.firsts[0][: limits.EVIDENCE_BYTES],
            responder_bytes=self.firsts[1][: limits.EVIDENCE_BYTES],
            candidates=tuple(sorted(self.services, key=lambda service: -self.services[service])),
        )
