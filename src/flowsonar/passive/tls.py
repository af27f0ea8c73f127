"""A flow that starts like TLS: its hellos over several segments, names, JA4, or records of a running connection."""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache

from flowsonar.errors import MalformedError
from flowsonar.flows.events import Payload
from flowsonar.model import Confidence, Evidence, EvidenceKind, Layer, Side
from flowsonar.passive.flow import PassiveFlow
from flowsonar.protocols import tls
from flowsonar.protocols.ja4 import ja4
from flowsonar.protocols.quic import Pieces

__all__ = ["ByAlpn", "TlsFlow", "starts_like_tls"]

ByAlpn = Callable[[str], tuple[str, ...]]
"""`SignatureSet.by_alpn`: the services a protocol name stands for."""

_MAX_GATHERED = 8192
"""Bytes of a first flight that are gathered: three segments of `limits.PAYLOAD_BYTES` and a little."""
_LAST_SEGMENT = 2
"""Index of the last segment that the flow table reports (`limits.PAYLOAD_PACKETS_TCP`)."""
_SIDES = (Side.INITIATOR, Side.RESPONDER)


def starts_like_tls(data: bytes) -> bool:
    """Whether the first two bytes are a TLS record's."""
    return len(data) > 1 and data[1] == 3 and 0x14 <= data[0] <= 0x17


class TlsFlow:
    """The first flights of both directions.

    A client's hello alone is `likely`: it says what is asked for, not what answers. It becomes `confirmed` when the
    other side answers in TLS, or when the client goes on in TLS.
    """

    __slots__ = ("_pieces", "_versions", "gathered", "hello", "read")

    def __init__(self) -> None:
        self.gathered: list[bytes] = [b"", b""]
        self.read = [False, False]
        """Per direction: the first message is read or given up."""
        self._pieces: list[tuple[Pieces, int] | None] = [None, None]
        """Per direction: its segments, and the offset of the first one."""
        self._versions = [-1, -1]
        """Record version per direction of a running connection."""
        self.hello = -1
        """The direction of the ClientHello, -1 before."""

    @property
    def size(self) -> int:
        """How many bytes of messages that are not whole are kept."""
        return sum(pieces[0].size for pieces in self._pieces if pieces is not None)

    def feed(self, flow: PassiveFlow, event: Payload, by_alpn: ByAlpn) -> list[Evidence]:
        """Take one segment."""
        direction = event.direction
        if self.read[direction]:
            return self._later(flow, event)
        data = self._gather(event)
        final = event.index >= _LAST_SEGMENT or len(data) > _MAX_GATHERED
        return self._first(flow, direction, data, by_alpn, final=final)

    def _gather(self, event: Payload) -> bytes:
        """Put a segment in its place; give what is there from the beginning of the direction without a gap."""
        direction = event.direction
        pieces, base = self._pieces[direction] or (Pieces(), event.offset)
        self._pieces[direction] = pieces, base
        if event.offset < base or not pieces.add(event.offset - base, event.data):
            return self.gathered[direction] + event.data
        return pieces.head()

    def close(self, flow: PassiveFlow, by_alpn: ByAlpn) -> list[Evidence]:
        """Read what was gathered although its end never came."""
        found = []
        for direction in (0, 1):
            if self.gathered[direction] and not self.read[direction]:
                found += self._first(flow, direction, self.gathered[direction], by_alpn, final=True)
        return found

    def settled(self, flow: PassiveFlow) -> bool:
        """Whether nothing more is to be learned: both first messages are read, or one side went on.

        The server only where the client is not heard: its hello comes before the server's.
        """
        initiator, responder = flow.counts
        return (self.read[0] and self.read[1]) or (
            flow.services.get("tls", 0) >= Confidence.CONFIRMED.rank
            and not (self.gathered[0] or self.gathered[1])
            and (initiator > _LAST_SEGMENT or (not initiator and responder > _LAST_SEGMENT))
        )

    def _first(self, flow: PassiveFlow, direction: int, data: bytes, by_alpn: ByAlpn, *, final: bool) -> list[Evidence]:
        try:
            hello = tls.read_first_flight(data, final=final)
        except MalformedError:
            self._end(direction)
            self._versions[direction] = data[2] if tls.is_record(data) else -1
            mutual = self._versions[0] == self._versions[1] != -1
            return _running(direction, data, mutual=mutual)
        if hello is None:
            self.gathered[direction] = data
            return []
        self._end(direction)
        if isinstance(hello, tls.ClientHello):
            self.hello = direction
            return _client(flow, direction, hello, data, by_alpn)
        side = _SIDES[direction]
        if isinstance(hello, tls.Alert):
            answered = self.hello == 1 - direction
            return [
                Evidence(
                    kind=EvidenceKind.PAYLOAD,
                    service="tls",
                    confidence=Confidence.CONFIRMED if answered else Confidence.LIKELY,
                    side=side,
                    signature="tls/alert",
                    detail=f"alert {hello.description}" + (" in answer to a ClientHello" if answered else ""),
                    data=data[:16],
                    specificity=40,
                )
            ]
        return _server(direction, hello, data, by_alpn)

    def _end(self, direction: int) -> None:
        self.read[direction] = True
        self.gathered[direction] = b""
        self._pieces[direction] = None

    def _later(self, flow: PassiveFlow, event: Payload) -> list[Evidence]:
        """A client that goes on with records after its hello had an answer in TLS, seen or not."""
        if (
            event.direction != self.hello
            or flow.services.get("tls", 0) >= Confidence.CONFIRMED.rank
            or not tls.is_record(event.data)
            or event.data[0] == tls.ALERT
            or (event.data[0] == tls.HANDSHAKE and event.data[5:6] == b"\x01")
            or not tls.is_record_chain(event.data)
        ):
            return []
        return [
            Evidence(
                kind=EvidenceKind.PAYLOAD,
                service="tls",
                confidence=Confidence.CONFIRMED,
                side=_SIDES[event.direction],
                signature="tls/client-continues",
                detail="the client goes on with records after its ClientHello",
                data=event.data[:16],
                specificity=50,
            )
        ]


def _running(direction: int, data: bytes, *, mutual: bool) -> list[Evidence]:
    """Records without a hello: a connection picked up in the middle, or something that only looks like TLS.

    Either whole records are there, or both directions begin with a record's header of the same version (`mutual`).
    """
    if not mutual and not tls.is_record_chain(data):
        return []
    return [
        Evidence(
            kind=EvidenceKind.PAYLOAD,
            service="tls",
            confidence=Confidence.LIKELY,
            side=_SIDES[direction],
            signature="tls/records",
            detail="records of a running connection",
            data=data[:16],
            specificity=20,
        )
    ]


def _client(flow: PassiveFlow, direction: int, hello: tls.ClientHello, data: bytes, by_alpn: ByAlpn) -> list[Evidence]:
    flow.name = hello.server_name or flow.name
    flow.alpn = hello.alpn
    parts = [f"ClientHello, {tls.VERSIONS.get(tls.chosen_version(hello), 'unknown version')}"]
    if hello.server_name:
        parts.append(f"SNI {hello.server_name}")
    if hello.alpn:
        parts.append("ALPN " + " ".join(hello.alpn))
    parts.append(f"JA4 {ja4(hello)}" if hello.complete else "its end was not captured")
    side = _SIDES[direction]
    found = [
        Evidence(
            kind=EvidenceKind.PAYLOAD,
            service="tls",
            confidence=Confidence.LIKELY,
            side=side,
            signature="tls/client-hello",
            detail=", ".join(parts),
            data=data[:256],
            specificity=60,
        )
    ]
    offered = dict.fromkeys(service for name in hello.alpn for service in by_alpn(name))
    found += [_named(service, side, "offered by ALPN", Confidence.GUESS) for service in offered]
    return found


def _server(direction: int, hello: tls.ServerHello, data: bytes, by_alpn: ByAlpn) -> list[Evidence]:
    side = _SIDES[direction]
    what = "HelloRetryRequest" if hello.retry else "ServerHello"
    detail = f"{what}, {tls.VERSIONS.get(hello.version, 'unknown version')}, cipher {hello.cipher:04x}"
    found = [
        Evidence(
            kind=EvidenceKind.PAYLOAD,
            service="tls",
            confidence=Confidence.CONFIRMED,
            side=side,
            signature="tls/server-hello",
            detail=detail + (f", ALPN {hello.alpn}" if hello.alpn else ""),
            data=data[:128],
            specificity=60,
        )
    ]
    chosen = by_alpn(hello.alpn) if hello.alpn else ()
    found += [_named(service, side, "chosen by ALPN", Confidence.LIKELY) for service in chosen]
    return found


@lru_cache(maxsize=256)
def _named(service: str, side: Side, how: str, confidence: Confidence) -> Evidence:
    return Evidence(
        kind=EvidenceKind.NAME, service=service, confidence=confidence, side=side, over=Layer.TLS, detail=how
    )
