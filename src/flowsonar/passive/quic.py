"""A flow that starts like QUIC: its hellos out of Initials, names, JA4, and whether the other side answered in kind.

What the client says alone is `likely`. `confirmed` takes an answer that only somebody who read the client's packet can
give: an Initial made with the keys of the connection, or a header that repeats a connection id.
"""

from __future__ import annotations

from typing import Final

from flowsonar.errors import MalformedError
from flowsonar.flows.events import Payload
from flowsonar.model import Confidence, Evidence, EvidenceKind, Layer, Side
from flowsonar.passive.flow import PassiveFlow
from flowsonar.passive.tls import ByAlpn
from flowsonar.protocols import gquic, quic, tls
from flowsonar.protocols.ja4 import ja4
from flowsonar.protocols.quic_keys import scheme_of, version_name

__all__ = ["QuicFlow", "starts_like_quic"]

_SIDES: Final = (Side.INITIATOR, Side.RESPONDER)
_LAST_DATAGRAM: Final = 4
"""Index of the last datagram that the flow table reports (`limits.PAYLOAD_PACKETS_UDP`)."""
_MIN_ECHO: Final = 4
"""A connection id of fewer bytes proves nothing by coming back."""


def starts_like_quic(data: bytes) -> bool:
    """Whether a datagram begins with a long header of a known version, or like Google's older versions."""
    return quic.is_long_header(data) or gquic.is_header(data)


class QuicFlow:
    """The first datagrams of both directions."""

    __slots__ = ("_answered", "_client", "_hello", "_ids", "_initials", "_opened", "_read", "_version")

    def __init__(self) -> None:
        self._initials = quic.Initials()
        self._client = -1
        """The direction of the client, once a packet of its own could be opened or its hello was read; -1 before."""
        self._ids: list[tuple[bytes, bytes] | None] = [None, None]
        """Destination and source connection id of the last long header per direction."""
        self._version = 0
        self._hello: tls.ClientHello | gquic.Hello | None = None
        self._answered = False
        """An answer proved that it is QUIC."""
        self._opened = False
        """The server's Initial could be opened."""
        self._read = False
        """Its hello was read: nothing more comes in clear."""

    def feed(self, flow: PassiveFlow, event: Payload, by_alpn: ByAlpn) -> list[Evidence]:
        """Take one datagram."""
        data, direction = event.data, event.direction
        if data[0] & 0x80 and data[1:5] != b"Q046":
            return self._long(flow, direction, data, by_alpn)
        return self._google(flow, direction, data)

    @property
    def size(self) -> int:
        """How many bytes of handshakes are kept."""
        return sum(pieces.size for pieces in self._initials.crypto)

    def settled(self, flow: PassiveFlow) -> bool:
        """Whether nothing more is to be learned."""
        if self._read or (self._answered and isinstance(self._hello, gquic.Hello)):
            return True
        return flow.counts[0] > _LAST_DATAGRAM and flow.counts[1] > _LAST_DATAGRAM

    # -- IETF's packets -----------------------------------------------------------------------------------------

    def _long(self, flow: PassiveFlow, direction: int, data: bytes, by_alpn: ByAlpn) -> list[Evidence]:
        try:
            packets = quic.read_packets(data)
        except MalformedError:
            return []
        found: list[Evidence] = []
        first = packets[0]
        echoed = self._is_echoed(direction, first)
        for packet in packets:
            if packet.kind is quic.Kind.INITIAL:
                found += self._initial(flow, direction, data, packet, by_alpn)
        if not found:
            found = self._header(direction, data, first)
        if echoed and not self._answered:
            self._answered = True
            found.append(_evidence("answer", Confidence.CONFIRMED, direction, data, self._echo_detail(data, first)))
        self._ids[direction] = (first.destination, first.source)
        self._version = first.version or self._version
        return found

    def _initial(
        self, flow: PassiveFlow, direction: int, data: bytes, packet: quic.Packet, by_alpn: ByAlpn
    ) -> list[Evidence]:
        likely = 0 if self._client in (-1, direction) else 1
        side = self._initials.open(data, packet, likely)
        if side is None or (self._client != -1 and (side == 0) != (direction == self._client)):
            return []
        if side == 0:
            self._client = direction
            return self._client_hello(flow, direction, data, packet, by_alpn)
        return [] if self._read else self._server_hello(direction, data, packet, by_alpn)

    def _client_hello(
        self, flow: PassiveFlow, direction: int, data: bytes, packet: quic.Packet, by_alpn: ByAlpn
    ) -> list[Evidence]:
        version = f"version {version_name(packet.version)}"
        if self._hello is not None:
            return []
        head = self._initials.crypto[0].head()
        assert self._initials.scheme is not None
        try:
            if self._initials.scheme.tls:
                hello: tls.ClientHello | tls.ServerHello | gquic.Hello | None = tls.read_message(head)
            else:
                hello = gquic.read_hello(head)
        except MalformedError:
            hello = None
        if hello is None or isinstance(hello, tls.ServerHello):
            detail = f"client's Initial, {version}"
            return [_evidence("initial", Confidence.LIKELY, direction, data, detail)]
        self._hello = hello
        if isinstance(hello, gquic.Hello):
            return [_google_hello(flow, direction, data, hello, version)]
        return _tls_hello(flow, direction, data, hello, version, by_alpn)

    def _server_hello(self, direction: int, data: bytes, packet: quic.Packet, by_alpn: ByAlpn) -> list[Evidence]:
        try:
            answer = tls.read_message(self._initials.crypto[1].head())
        except MalformedError:
            answer = None
        if self._opened and answer is None:
            return []
        self._answered = self._opened = True
        detail = f"server's Initial, version {version_name(packet.version)}, opens with the keys of this connection"
        if not isinstance(answer, tls.ServerHello):
            return [_evidence("server-initial", Confidence.CONFIRMED, direction, data, detail)]
        self._read = True
        detail += f", ServerHello, cipher {answer.cipher:04x}"
        found = [_evidence("server-initial", Confidence.CONFIRMED, direction, data, detail)]
        if isinstance(self._hello, tls.ClientHello):
            found += _inside(direction, self._hello, by_alpn)
        return found

    def _is_echoed(self, direction: int, packet: quic.Packet) -> bool:
        """Whether the packet is addressed to a connection id that the other side chose."""
        other = self._ids[1 - direction]
        if other is None or packet.destination != other[1] or len(other[1]) < _MIN_ECHO:
            return False
        if packet.kind is quic.Kind.NEGOTIATION:
            return packet.source == other[0]  # RFC 8999 section 6: both come back
        return packet.version == self._version

    def _echo_detail(self, data: bytes, packet: quic.Packet) -> str:
        if packet.kind is not quic.Kind.NEGOTIATION:
            return f"answers to the other side's connection id, version {version_name(packet.version)}"
        listed = quic.read_negotiation(data)
        names = " ".join(version_name(one) for one in listed.versions[:8]) if listed else "none"
        return f"version negotiation with both connection ids; speaks {names}"

    def _header(self, direction: int, data: bytes, packet: quic.Packet) -> list[Evidence]:
        """What a header shows whose packet cannot be opened, or has no keys that anyone could know."""
        if self._ids[direction] is not None:
            return []
        if packet.kind is quic.Kind.NEGOTIATION:
            listed = quic.read_negotiation(data)
            known = listed is not None and any(quic.is_known_version(one) for one in listed.versions)
            confidence = Confidence.LIKELY if known else Confidence.GUESS
            return [_evidence("negotiation", confidence, direction, data, "list of versions")]
        # What provokes negotiation is padded as a client's first packet is (RFC 9000 section 14.1).
        provokes = quic.is_reserved(packet.version) and len(data) >= quic.MIN_INITIAL
        named = provokes or scheme_of(packet.version) is not None
        detail = f"{packet.kind.name.lower().replace('_', '-')} packet, version {version_name(packet.version)}"
        confidence = Confidence.LIKELY if named else Confidence.GUESS
        return [_evidence("long-header", confidence, direction, data, detail)]

    # -- Google's older packets ---------------------------------------------------------------------------------

    def _google(self, flow: PassiveFlow, direction: int, data: bytes) -> list[Evidence]:
        try:
            header = gquic.read_header(data)
        except MalformedError:
            return []
        hello = gquic.find_hello(data, header.at)
        other = self._ids[1 - direction]
        found: list[Evidence] = []
        if hello is not None and hello.kind == "CHLO" and self._hello is None and header.version:
            self._client, self._hello = direction, hello
            found.append(_google_hello(flow, direction, data, hello, f"version {header.version}"))
        elif header.version and not header.versions and self._ids[direction] is None and other is None:
            detail = f"packet of Google QUIC, version {header.version}"
            found.append(_evidence("google", Confidence.LIKELY, direction, data, detail))
        if other is not None and other[0] == header.connection and self._client != direction and not self._answered:
            self._answered = True
            detail = "the connection id comes back"
            if header.versions:
                detail += f"; speaks {' '.join(header.versions[:8])}"
            elif hello is not None:
                detail += f" with {hello.kind}"
            found.append(_evidence("answer", Confidence.CONFIRMED, direction, data, detail))
        if header.version:
            self._ids[direction] = (header.connection, b"")
        return found


def _evidence(name: str, confidence: Confidence, direction: int, data: bytes, detail: str) -> Evidence:
    return Evidence(
        kind=EvidenceKind.PAYLOAD,
        service="quic",
        confidence=confidence,
        side=_SIDES[direction],
        signature=f"quic/{name}",
        detail=detail,
        data=data[:64],
        specificity=60,
    )


def _google_hello(flow: PassiveFlow, direction: int, data: bytes, hello: gquic.Hello, version: str) -> Evidence:
    flow.name = hello.server_name or flow.name
    parts = [f"CHLO of Google QUIC, {version}"]
    if hello.server_name:
        parts.append(f"SNI {hello.server_name}")
    if hello.agent:
        parts.append(f"agent {hello.agent}")
    return _evidence("client-hello", Confidence.LIKELY, direction, data, ", ".join(parts))


def _tls_hello(
    flow: PassiveFlow, direction: int, data: bytes, hello: tls.ClientHello, version: str, by_alpn: ByAlpn
) -> list[Evidence]:
    flow.name = hello.server_name or flow.name
    flow.alpn = hello.alpn
    parts = [f"ClientHello, {version}"]
    if hello.server_name:
        parts.append(f"SNI {hello.server_name}")
    if hello.alpn:
        parts.append("ALPN " + " ".join(hello.alpn))
    parts.append(f"JA4 {ja4(hello, 'q')}")
    found = [_evidence("client-hello", Confidence.LIKELY, direction, data, ", ".join(parts))]
    found += [
        Evidence(
            kind=EvidenceKind.NAME,
            service=service,
            confidence=Confidence.GUESS,
            side=_SIDES[direction],
            over=Layer.QUIC,
            detail="offered by ALPN",
        )
        for service in _services(hello, by_alpn)
    ]
    return found


def _services(hello: tls.ClientHello, by_alpn: ByAlpn) -> dict[str, None]:
    """Services that the offer names, drafts of HTTP/3 and of DNS over QUIC included (`h3-29`, `doq-i02`)."""
    names = [name.split("-", 1)[0] if name.startswith(("h3-", "doq-")) else name for name in hello.alpn]
    return dict.fromkeys(service for name in names for service in by_alpn(name))


def _inside(direction: int, hello: tls.ClientHello, by_alpn: ByAlpn) -> list[Evidence]:
    """What is spoken inside, where the client offers but one service: a server that goes on has chosen it.

    RFC 9001 section 8.1: without an application protocol in common the server must end the connection.
    """
    services = list(_services(hello, by_alpn))
    known = all(_services(hello._replace(alpn=(name,)), by_alpn) for name in hello.alpn)
    if len(services) != 1 or not known:
        return []
    return [
        Evidence(
            kind=EvidenceKind.PAYLOAD,
            service=services[0],
            confidence=Confidence.LIKELY,
            side=_SIDES[direction],
            over=Layer.QUIC,
            signature="quic/alpn",
            detail=f"the server goes on with a client that offers only {' '.join(hello.alpn)}",
            specificity=40,
        )
    ]
