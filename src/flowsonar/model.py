"""The words of flowsonar as values: endpoints, flows, evidence, verdicts, records. No behaviour beyond naming.

What is made for every flow is a `NamedTuple`: a frozen dataclass sets its fields one by one from Python and takes three
times as long to make. Make them with keywords all the same; `value._replace(...)` gives a changed copy.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import NamedTuple, Self

__all__ = [
    "ENCRYPTED",
    "FRAME_SIZE",
    "TRANSPORTS",
    "UNKNOWN",
    "Announcement",
    "Answer",
    "Block",
    "Confidence",
    "Direction",
    "Endpoint",
    "EndpointRecord",
    "Evidence",
    "EvidenceKind",
    "FlowCounters",
    "FlowKey",
    "FlowRecord",
    "Hints",
    "Layer",
    "MarkAction",
    "MarkRecord",
    "Outcome",
    "Question",
    "RecordType",
    "Side",
    "TrafficClass",
    "Transport",
    "Verdict",
]


class Transport(StrEnum):
    """The transport protocol of a flow; the value is what commands and records print in lower case."""

    TCP = "tcp"
    UDP = "udp"
    SCTP = "sctp"
    ICMP = "icmp"
    """ICMP and ICMPv6; the address family tells which."""
    IGMP = "igmp"
    RSVP = "rsvp"
    GRE = "gre"
    ESP = "esp"
    AH = "ah"
    EIGRP = "eigrp"
    OSPF = "ospf"
    PIM = "pim"
    VRRP = "vrrp"
    """CARP has the same number."""
    PGM = "pgm"
    L2TP = "l2tp"
    """Version 3 directly over IP."""
    OTHER = "other"


TRANSPORTS: Mapping[int, Transport] = {
    1: Transport.ICMP,
    2: Transport.IGMP,
    6: Transport.TCP,
    17: Transport.UDP,
    46: Transport.RSVP,
    47: Transport.GRE,
    50: Transport.ESP,
    51: Transport.AH,
    58: Transport.ICMP,
    88: Transport.EIGRP,
    89: Transport.OSPF,
    103: Transport.PIM,
    112: Transport.VRRP,
    113: Transport.PGM,
    115: Transport.L2TP,
    132: Transport.SCTP,
}
"""By IP protocol number (IANA's registry); what is not here is `other`."""


class Side(StrEnum):
    """One side of a flow, as in RFC 5103: who sent the first packet, and the other."""

    INITIATOR = "initiator"
    RESPONDER = "responder"


class Direction:
    """Index of a direction in counters and payload events: Suricata's `toserver` and `toclient`."""

    TO_RESPONDER = 0
    TO_INITIATOR = 1


class Layer(StrEnum):
    """What a service runs inside, where it does."""

    TLS = "tls"
    DTLS = "dtls"
    QUIC = "quic"


class TrafficClass(StrEnum):
    """What a shaper needs to know of a service."""

    CONTROL = "control"
    REALTIME = "realtime"
    INTERACTIVE = "interactive"
    STREAMING = "streaming"
    DEFAULT = "default"
    BULK = "bulk"


class Confidence(StrEnum):
    """How sure a label is. Ordered by `rank`; each value has a measured precision in the lab's report."""

    rank: int
    """0 for unknown up to 3 for confirmed."""

    def __new__(cls, value: str, rank: int = 0) -> Self:
        """Keep the rank beside the value: a plain attribute, since it is read for every piece of evidence."""
        member = str.__new__(cls, value)
        member._value_ = value
        member.rank = rank
        return member

    CONFIRMED = "confirmed", 3
    """A reply or handshake that only this service gives."""
    LIKELY = "likely", 2
    """Behaviour or a weak pattern, two independent signs."""
    GUESS = "guess", 1
    """Port number or name only; never shapes anything."""
    UNKNOWN = "unknown", 0


class Outcome(StrEnum):
    """How a probe ended. Silence never means that a service is not there."""

    ANSWERED = "answered"
    """The endpoint sent at least one byte of its own."""
    REFUSED = "refused"
    """TCP reset on connect, or ICMP port unreachable."""
    SILENT = "silent"
    """Nothing came back within the time allowed."""
    CLOSED = "closed"
    """The connection was accepted and then ended by the endpoint without a byte."""
    UNREACHABLE = "unreachable"
    """ICMP host, network or administratively prohibited; no route."""
    GARBLED = "garbled"
    """Bytes came that break the wire format which the probe had negotiated."""
    NOT_PERMITTED = "not-permitted"
    """Scope, never-ports, exclude list or budget forbid to ask; nothing was sent."""
    CANCELLED = "cancelled"
    """We stopped before the end: shutdown, or the verdict came from elsewhere."""


class EvidenceKind(StrEnum):
    """Where an observation comes from."""

    REPLY = "reply"
    """An endpoint's answer to our probe."""
    PAYLOAD = "payload"
    """The flow's own bytes."""
    ANNOUNCED = "announced"
    """Another flow said that this one would come (FTP PASV, SDP)."""
    ENDPOINT = "endpoint"
    """A cached verdict about one of the flow's endpoints."""
    BEHAVIOUR = "behaviour"
    """Timing, lengths, closing: how it acts, not what it says."""
    NAME = "name"
    """A name that goes with it: SNI, ALPN offer, DNS."""
    PORT = "port"
    """The port number alone."""


class RecordType(StrEnum):
    """`event_type` of a record, after Suricata's EVE."""

    FLOW = "flow"
    """The end of a flow, or an interim record at the active timeout."""
    VERDICT = "verdict"
    """A label was decided or improved."""
    ENDPOINT = "endpoint"
    """The result of `flowsonar probe` for one endpoint."""
    MARK = "mark"
    """`flowsonar shape` has put a flow, or an endpoint's flows, into a class."""


class MarkAction(StrEnum):
    """What was done to a mark."""

    MARKED = "marked"
    REMARKED = "re-marked"
    CLEARED = "cleared"
    """A label was taken back, or does not move packets any more."""


# -- packets on their way ---------------------------------------------------------------------------------------

FRAME_SIZE = 24
"""Bytes per entry of `Block.frames`."""


class Block(NamedTuple):
    """Captured frames, many at a time: what a capture hands to the flow table.

    `frames` is a packed little-endian array, 24 bytes an entry:
    u64 time_ns (since the epoch), u32 offset into `data`, u32 captured bytes, u32 bytes on the wire,
    u16 link type (LINKTYPE_ numbers of tcpdump.org), u16 interface index. A walker never emits an entry that
    reaches past the end of `data`; the flow table checks all the same.
    """

    data: bytes | bytearray | memoryview
    frames: bytes


ENCRYPTED = "unknown/encrypted"
"""`signature` of the evidence that a flow's bytes look enciphered and that nobody could say what it is."""


# -- flows and endpoints ----------------------------------------------------------------------------------------


class Endpoint(NamedTuple):
    """One side: transport, address in canonical text form (RFC 5952 for IPv6), port."""

    transport: Transport
    address: str
    port: int


class FlowKey(NamedTuple):
    """What makes packets one flow; bidirectional (RFC 5103)."""

    transport: Transport
    initiator_address: str
    initiator_port: int
    responder_address: str
    responder_port: int
    vlan: int = 0
    """Outermost VLAN identifier, 0 where untagged."""

    @property
    def initiator(self) -> Endpoint:
        """Who sent the first packet seen."""
        return Endpoint(self.transport, self.initiator_address, self.initiator_port)

    @property
    def responder(self) -> Endpoint:
        """The other side."""
        return Endpoint(self.transport, self.responder_address, self.responder_port)

    def endpoint(self, side: Side) -> Endpoint:
        """The endpoint on `side`."""
        return self.initiator if side is Side.INITIATOR else self.responder


class FlowCounters(NamedTuple):
    """Packets and IP bytes per direction, and the times of the first and last packet (ns since the epoch)."""

    packets_toserver: int = 0
    packets_toclient: int = 0
    bytes_toserver: int = 0
    bytes_toclient: int = 0
    first_ns: int = 0
    last_ns: int = 0


# -- what is known ----------------------------------------------------------------------------------------------


class Evidence(NamedTuple):
    """One observation about an endpoint or a flow."""

    kind: EvidenceKind
    service: str | None
    """The service it speaks for; None for an observation that names none (an unidentified reply, random bytes)."""
    confidence: Confidence
    """The most that this observation alone can justify."""
    side: Side | None = None
    """Which side of the flow showed it; None when it is about the flow or when sides are not known."""
    over: Layer | None = None
    product: str | None = None
    version: str | None = None
    cpe: str | None = None
    probe: str | None = None
    """`service/name` of the probe that was answered."""
    signature: str | None = None
    """`service/name` of the pattern that matched."""
    detail: str = ""
    """For people: what was seen, one line. Sub-types (Skype probe, FTP data ...) stand here."""
    data: bytes = b""
    """The bytes that were matched, at most `limits.EVIDENCE_BYTES`."""
    specificity: int = 0
    """Of two matching patterns the more specific wins; larger is more specific."""


class Verdict(NamedTuple):
    """The label, always explainable by its evidence."""

    service: str | None = None
    """None is printed as `unknown`."""
    over: Layer | None = None
    product: str | None = None
    version: str | None = None
    cpe: str | None = None
    traffic_class: TrafficClass = TrafficClass.DEFAULT
    confidence: Confidence = Confidence.UNKNOWN
    name: str | None = None
    """The name that goes with the flow: SNI, HTTP host."""
    evidence: tuple[Evidence, ...] = ()
    conflicts: tuple[str, ...] = ()
    """Other services that evidence of the same strength spoke for."""

    @property
    def encrypted(self) -> bool:
        """Nobody knows what it is, but its bytes look enciphered: a class of its own for who shapes (`ENCRYPTED`)."""
        return self.service is None and any(piece.signature == ENCRYPTED for piece in self.evidence)


UNKNOWN = Verdict()
"""The verdict of flows that showed nothing: one value for all of them, so that who prints it knows it at once."""


@dataclass(slots=True, kw_only=True)
class Hints:
    """What a flow showed of an endpoint, for the planner. Every field may be unknown."""

    rtt_ms: float | None = None
    """Handshake round trip from here to the endpoint and back, or of the whole flow where only that is known."""
    server_name: str | None = None
    """SNI or HTTP host."""
    alpn: tuple[str, ...] = ()
    first_speaker: Side | None = None
    """Who sent the first payload byte; None when nobody did yet or the flow was picked up in the middle."""
    midstream: bool = False
    side: Side = Side.RESPONDER
    """Which side of the flow the endpoint is on."""
    initiator_bytes: bytes = b""
    """First payload bytes from the initiator, at most `limits.EVIDENCE_BYTES`."""
    responder_bytes: bytes = b""
    candidates: tuple[str, ...] = ()
    """Services that passive evidence already speaks for, best first."""
    beside: bool = False
    """Asked beside another endpoint, for the first candidate alone: one datagram."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Question:
    """What the planner is asked to find out."""

    endpoint: Endpoint
    hints: Hints = field(default_factory=Hints)
    weight: int = 0
    """Bytes of the flows that wait for the answer; heavier goes first when the budget is short."""
    peer: Endpoint | None = None
    """UDP: the other side of the flow that asks, in whose name it may be asked where the user allows that."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """What asking an endpoint gave."""

    endpoint: Endpoint
    outcome: Outcome
    evidence: tuple[Evidence, ...] = ()
    connections: int = 0
    """TCP connections opened."""
    datagrams: int = 0
    """UDP datagrams sent."""
    bytes_sent: int = 0
    rtt_ms: float | None = None
    took_ms: float = 0.0
    detail: str = ""
    """Why nothing was asked, or what broke."""
    final: bool = True
    """False: the conversation goes on, and this is what it has come to so far."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Announcement:
    """A flow said that another one will come."""

    transport: Transport
    responder_address: str
    responder_port: int
    initiator_address: str | None = None
    """None: from anywhere."""
    sends: bool = False
    """The one that is named here as responder may send first."""
    evidence: Evidence


# -- what goes out ----------------------------------------------------------------------------------------------


class FlowRecord(NamedTuple):
    """A flow and its verdict, as it goes to the outputs."""

    type: RecordType
    time_ns: int
    flow_id: int
    key: FlowKey
    verdict: Verdict
    counters: FlowCounters = FlowCounters()
    verdict_ms: float | None = None
    """From the flow's first packet to the decision, by packet time for passive and by clock for asked evidence."""
    midstream: bool = False
    """The flow's beginning was not seen; who is initiator is then a guess."""
    reason: str = ""
    """Why the flow ended: `fin`, `rst`, `idle`, `active`, `evicted`, `end`."""
    interface: str = ""
    hops: tuple[str, ...] = ()
    """The tunnels that it runs in, outermost first, as `flows.hops` names them."""


@dataclass(frozen=True, slots=True, kw_only=True)
class EndpointRecord:
    """What `flowsonar probe` says of one endpoint."""

    time_ns: int
    endpoint: Endpoint
    verdict: Verdict
    outcome: Outcome
    connections: int = 0
    datagrams: int = 0
    needed: int | None = None
    """Connections or datagrams that an order of questions which knew everything would have spent."""
    bytes_sent: int = 0
    """Payload of all probes together."""
    rtt_ms: float | None = None
    verdict_ms: float | None = None
    detail: str = ""

    @property
    def type(self) -> RecordType:
        """Always `endpoint`."""
        return RecordType.ENDPOINT


class MarkRecord(NamedTuple):
    """A mark was put into the kernel: for one flow, or (`flow_id` 0) for all flows of an endpoint."""

    time_ns: int
    flow_id: int
    key: FlowKey | Endpoint
    verdict: Verdict
    action: MarkAction
    traffic_class: TrafficClass | None
    """None: left as it is."""
    before: TrafficClass | None
    dscp: int | None
    mark: int
    """Our bits of the connection's mark; 0 where it was taken away."""
    rule: str
    """Which rule of the policy decided."""
    waited_ms: float
    """From the verdict to the mark."""
    mark_ms: float | None = None
    """From the flow's first packet to the mark; None for an endpoint."""

    @property
    def type(self) -> RecordType:
        """Always `mark`."""
        return RecordType.MARK
