"""What is kept of one flow while its own bytes are read, and what reading them finds."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from flowsonar import limits
from flowsonar.flows.events import Opened
from flowsonar.model import TRANSPORTS, Announcement, Confidence, Direction, Evidence, Hints, Side, Transport
from flowsonar.passive.suspects import suspects

if TYPE_CHECKING:
    from flowsonar.passive.counted import CountedFlow
    from flowsonar.passive.ftp import FtpControl
    from flowsonar.passive.held import Hold
    from flowsonar.passive.late import Late
    from flowsonar.passive.quic import QuicFlow
    from flowsonar.passive.requests import Requests
    from flowsonar.passive.rtp import RtpFlow
    from flowsonar.passive.skype_tcp import SkypeStream
    from flowsonar.passive.skype_udp import SkypeDatagrams
    from flowsonar.passive.srt import SrtFlow
    from flowsonar.passive.tls import TlsFlow
    from flowsonar.passive.utp import UtpFlow

__all__ = ["NOTHING", "SIDES", "TOLD", "TRIES", "Findings", "PassiveFlow"]

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
TOLD = Findings(done=True)
"""Nothing new, and nothing more to come."""
SIDES = (Side.INITIATOR, Side.RESPONDER)
"""Of the directions 0 and 1."""
TRIES = 3
"""Payloads per direction that are matched: a greeting may come in pieces, a flow may be picked up in a body."""

_NO_BYTES: tuple[bytes, bytes] = (b"", b"")
_NO_COUNTS: tuple[int, int] = (0, 0)
_NO_MESSAGES: frozenset[tuple[int, bytes]] = frozenset()
_NO_SERVICES: dict[str, int] = {}
_NOTHING_SAID: tuple[Evidence | None, Evidence | None] = (None, None)


class PassiveFlow:
    """The state of one flow. Made once per flow, so it is small and its parts are made when needed."""

    # Pairs and the dictionary are replaced, never changed: until something is seen all flows share the empty ones.
    __slots__ = (
        "alpn",
        "counts",
        "datagrams",
        "done",
        "first_speaker",
        "firsts",
        "ftp",
        "hold",
        "late",
        "media",
        "messages",
        "mirrored",
        "name",
        "opened",
        "protocol",
        "query",
        "quic",
        "rank",
        "requests",
        "said",
        "seconds",
        "sequence",
        "services",
        "stream",
        "tls",
    )

    def __init__(self, opened: Opened) -> None:
        self.opened = opened
        self.protocol = opened.protocol
        self.done = False
        self.mirrored = False
        """Both sides began with the same short message."""
        self.media = False
        """It began as calls do (STUN, TURN, DTLS with keys for media): media may come in it."""
        self.messages: frozenset[tuple[int, bytes]] = _NO_MESSAGES
        """Direction and type of a call's messages that were matched."""
        self.name: str | None = None
        """SNI, HTTP host."""
        self.alpn: tuple[str, ...] = ()
        self.first_speaker = -1
        """Direction of the first payload seen, -1 before."""
        self.firsts = _NO_BYTES
        """First payload bytes per direction, at most `limits.EVIDENCE_BYTES`."""
        self.seconds = _NO_BYTES
        """Second payload per direction of a TCP flow that nobody knows yet, at most 64 bytes."""
        self.counts = _NO_COUNTS
        """Payloads read per direction."""
        self.services = _NO_SERVICES
        """Rank of the best evidence per service."""
        self.rank = 0
        """The best of these."""
        self.said = _NOTHING_SAID
        """What each side's first words matched, as sure as the pattern is."""
        self.query: tuple[bytes, int] | None = None
        """A DNS query and where its question ends."""
        self.tls: TlsFlow | None = None
        self.quic: QuicFlow | None = None
        self.late: Late | None = None
        self.hold: Hold | None = None
        """What the three above may keep."""
        self.ftp: FtpControl | None = None
        self.datagrams: SkypeDatagrams | None = None
        self.stream: SkypeStream | None = None
        self.requests: Requests | None = None
        self.sequence: RtpFlow | CountedFlow | SrtFlow | UtpFlow | None = None
        """Datagrams that count: media, a tunnel, SRT, or uTP."""

    @property
    def transport(self) -> Transport:
        """What the flow runs over."""
        return TRANSPORTS.get(self.protocol, Transport.OTHER)

    @property
    def ports(self) -> tuple[int, int]:
        """The initiator's and the responder's."""
        return self.opened.initiator_port, self.opened.responder_port

    @property
    def both_spoke(self) -> bool:
        """Whether a payload of each direction was read."""
        return bool(self.counts[0] and self.counts[1])

    @property
    def likely(self) -> bool:
        """Whether some service has evidence of at least `likely`."""
        return self.rank >= _LIKELY

    @property
    def confirmed(self) -> bool:
        """Whether some service is sure."""
        return self.rank > _LIKELY

    @property
    def counts_on(self) -> bool:
        """Whether its datagrams began like some that count, and those to come may tell what they are."""
        return self.sequence is not None and not self.likely and max(self.counts) < limits.PAYLOAD_PACKETS_UDP

    def note(self, evidence: Evidence) -> None:
        """Remember a service and how sure it is."""
        service = evidence.service
        if service is None:
            return
        rank = evidence.confidence.rank
        self.rank = max(self.rank, rank)
        if rank > self.services.get(service, -1):
            self.services = {**self.services, service: rank}

    def say(self, direction: int, evidence: Evidence) -> None:
        """Remember what a side's first words matched."""
        before = self.said
        self.said = (evidence, before[1]) if direction == 0 else (before[0], evidence)

    def count(self, direction: int, data: bytes) -> int:
        """Count a payload and keep the first of each direction; the number before it."""
        before = self.counts
        if before is _NO_COUNTS:
            self.first_speaker = direction
        if direction == 0:
            self.counts = (before[0] + 1, before[1])
            if not before[0]:
                self.firsts = (data[: limits.EVIDENCE_BYTES], self.firsts[1])
        else:
            self.counts = (before[0], before[1] + 1)
            if not before[1]:
                self.firsts = (self.firsts[0], data[: limits.EVIDENCE_BYTES])
        return before[direction]

    def second(self, direction: int, data: bytes) -> None:
        """Keep the beginning of a direction's second payload."""
        before = self.seconds
        self.seconds = (data[:64], before[1]) if direction == 0 else (before[0], data[:64])

    def take(self, *found: Evidence, done: bool = False) -> Findings:
        """Note what was found, and be finished where that is all there is to know."""
        for one in found:
            self.note(one)
        if done:
            self.finish()
        return Findings(found, done=done) if found or done else NOTHING

    def finish(self) -> None:
        """Nothing more is read; what only reading needs is let go."""
        self.done = True
        self.tls = self.quic = self.late = self.hold = self.ftp = self.query = None

    @property
    def kept(self) -> int:
        """Bytes of first messages that wait for the rest."""
        return sum(one.size for one in (self.tls, self.quic, self.late) if one is not None)

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
            candidates=self._candidates(),
        )

    def _candidates(self) -> tuple[str, ...]:
        """Services to ask for first: what the bytes speak for, then what bytes that say nothing may be."""
        found = tuple(sorted(self.services, key=lambda service: -self.services[service]))
        if self.likely:
            return found
        ports = (self.opened.initiator_port, self.opened.responder_port)
        return (*found, *suspects(self.transport, self.firsts, ports, midstream=self.opened.midstream))
