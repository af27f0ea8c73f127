"""Classic Skype over TCP: constants of the login dialogue and of the imitated TLS, version check, known ports.

| rule | what is seen | confidence |
|---|---|---|
| login | an empty handshake record asked, an empty data record answered | likely each, confirmed together |
| login, second record | the client's request with one of two known beginnings | confirmed |
| imitated TLS | the 56 constant bytes of the hello | likely |
| imitated TLS | the 79 constant bytes of the answer, or a client that goes on without TLS records | confirmed |
| HTTP | what the client asks ui.skype.com (see `protocols.skype`) | confirmed |
| handshake | 14 bytes, then a message whose first bytes can be read (see `protocols.skype`) | likely; confirmed |
| known port | unexplained bytes to the port number of a proven UDP node or of its peer | likely |
| known server | unexplained bytes to a server that showed the constants, or to its ports from a proven host | likely |
| shape | from a host with a confirmed UDP port: every message random by itself, of the handshake's lengths | likely |

Lengths and a random look are no sign without a host that is proven by other means; text is never Skype's.
"""

from __future__ import annotations

from typing import Final

from flowsonar.flows.events import Opened, Payload
from flowsonar.model import Confidence, Evidence, EvidenceKind, Side
from flowsonar.passive.flow import PassiveFlow
from flowsonar.passive.skype_udp import MAX_PORTS, SkypePorts
from flowsonar.protocols import skype, tls
from flowsonar.signatures.randomness import looks_random

__all__ = ["SkypeServers", "SkypeStream", "known_endpoint", "starts_like_login"]

_SIDES: Final = (Side.INITIATOR, Side.RESPONDER)
_LIKELY: Final = Confidence.LIKELY.rank
_CONFIRMED: Final = Confidence.CONFIRMED

_CONSTANTS: Final = (skype.LOGIN_HELLO, skype.LOGIN_ANSWER, skype.TLS_CLIENT_HELLO, skype.TLS_SERVER_HELLO)


def starts_like_login(data: bytes) -> bool:
    """Whether first bytes are one of the constants."""
    return data.startswith(_CONSTANTS)


class SkypeServers:
    """Servers that showed the constants, bounded."""

    __slots__ = ("_addresses", "_clients", "_servers")

    def __init__(self) -> None:
        self._addresses: dict[bytes, None] = {}
        self._servers: dict[tuple[bytes, int], None] = {}
        self._clients: dict[bytes, None] = {}

    def add(self, opened: Opened) -> None:
        """Remember the server and the client of a flow that is proven."""
        if len(self._servers) >= MAX_PORTS or len(self._clients) >= MAX_PORTS:
            self._servers.clear()  # rather than one by one: the three belong together
            self._clients.clear()
            self._addresses.clear()
        self._servers[opened.responder, opened.responder_port] = None
        self._addresses[opened.responder] = None
        self._clients[opened.initiator] = None

    def __contains__(self, endpoint: tuple[bytes, int]) -> bool:
        return endpoint in self._servers

    def is_address(self, address: bytes) -> bool:
        """Whether a server of that address showed the constants, on any port."""
        return address in self._addresses

    def is_client(self, address: bytes) -> bool:
        """Whether the host talked to such a server."""
        return address in self._clients


class SkypeStream:
    """One TCP flow that began with a constant."""

    __slots__ = ("_client", "_hello", "_told")

    def __init__(self) -> None:
        self._hello = ""
        """What the client began with: `login` or `tls`."""
        self._client = -1
        self._told = 0

    def feed(self, event: Payload, servers: SkypeServers, opened: Opened) -> Evidence | None:
        """Take one segment; give evidence when it makes the flow surer."""
        found = self._read(event.direction, event.data)
        if found is None:
            return None
        confidence, what = found
        if confidence.rank <= self._told:
            return None
        self._told = confidence.rank
        if confidence is Confidence.CONFIRMED:
            servers.add(opened)
        kind = skype.EVENT_PORTS.get(opened.responder_port)
        return Evidence(
            kind=EvidenceKind.PAYLOAD,
            service="skype",
            confidence=confidence,
            side=_SIDES[event.direction],
            signature="skype/login" if self._hello == "login" else "skype/imitated-tls",
            detail=f"TCP to {_article(kind or 'server')}: {what}",
            data=event.data[:80],
            specificity=90,
        )

    def _read(self, direction: int, data: bytes) -> tuple[Confidence, str] | None:
        if data.startswith(skype.TLS_SERVER_HELLO):
            self._hello = self._hello or "tls"
            return Confidence.CONFIRMED, "answer of the imitated TLS, with its constant random"
        if data.startswith(skype.TLS_CLIENT_HELLO):
            self._hello, self._client = "tls", direction
            return Confidence.LIKELY, "constant hello of the imitated TLS"
        if self._hello == "tls":
            if direction == self._client and not tls.is_record(data):
                return Confidence.CONFIRMED, "constant hello of the imitated TLS, and no TLS after it"
            return None
        if data[:4] == skype.LOGIN_HELLO[:4] and any(data[5:10] == request for request in skype.LOGIN_REQUESTS):
            self._hello, self._client = "login", direction
            return Confidence.CONFIRMED, "login request"
        if data[:5] == skype.LOGIN_HELLO:
            self._hello, self._client = "login", direction
            return (
                Confidence.CONFIRMED if len(data) > 5 and data[5:9] == skype.LOGIN_HELLO[:4] else Confidence.LIKELY
            ), ("empty handshake record that opens the login dialogue")
        if data == skype.LOGIN_ANSWER:
            answered = self._client == 1 - direction
            self._hello = "login"
            return (Confidence.CONFIRMED if answered else Confidence.LIKELY), (
                "login dialogue: empty handshake record answered by an empty data record"
                if answered
                else "empty data record that answers the login dialogue"
            )
        return None


def known_endpoint(flow: PassiveFlow, ports: SkypePorts, servers: SkypeServers) -> Evidence | None:
    """Judge a flow whose bytes nobody explains by where it goes and how long its first messages are."""
    opened = flow.opened
    firsts, seconds = flow.firsts, flow.seconds
    listener = ports.find(opened.responder, opened.responder_port)
    known = listener is not None and listener.rank >= _LIKELY
    if skype.continues_handshake(firsts[0], seconds[0]):
        return _readable("TCP handshake with a super node, the client's second message is readable", flow, _CONFIRMED)
    if skype.answers_handshake(firsts[1], seconds[1]):
        what = "TCP handshake with a node, its second message is readable"
        return _readable(what, flow, _CONFIRMED if known else Confidence.LIKELY)
    if _is_text(firsts[0]) or _is_text(firsts[1]):
        return None  # all that Skype says is enciphered
    if known:
        own = ports.port_rank(opened.responder, opened.responder_port) >= _LIKELY
        where = "TCP to a node's port" if own else "TCP to a super node or peer"
        shape = ", answered with 14 bytes" if len(firsts[1]) == skype.HANDSHAKE_LENGTH else ""
        return _behaviour(f"{where}{shape}; Skype uses the same UDP port number there", flow)
    kind = skype.EVENT_PORTS.get(opened.responder_port)
    if (opened.responder, opened.responder_port) in servers:
        return _behaviour(f"TCP to {_article(kind or 'server')} that showed Skype's constants in another flow", flow)
    ours = ports.host_rank(opened.initiator) >= _LIKELY or servers.is_client(opened.initiator)
    if ours and kind:
        return _behaviour(f"TCP to {_article(kind)} (port {opened.responder_port}) from a host that runs Skype", flow)
    if ours and servers.is_address(opened.responder):
        return _behaviour("TCP to a server that showed Skype's constants on another port", flow)
    sure = ports.host_rank(opened.initiator) == _CONFIRMED.rank
    if sure and not opened.midstream and _is_handshake(firsts, seconds) and opened.responder_port >= 1024:
        return _behaviour("TCP from a host that runs Skype, messages of the handshake's lengths", flow)
    return None


def _article(noun: str) -> str:
    return f"an {noun}" if noun[0] in "aeiou" else f"a {noun}"


def _is_handshake(firsts: tuple[bytes, bytes], seconds: tuple[bytes, bytes]) -> bool:
    """Whether both first messages are short, the client's second one is 8 to 18 bytes, and each looks random by itself.

    E06 and A09 give 14 to 30 bytes for older clients; the recorded client of 2013 pads to 26 to 112. Judged together,
    one random message would hide that the other one is text.
    """
    return (
        14 <= len(firsts[0]) <= 120
        and 14 <= len(firsts[1]) <= 120
        and 8 <= len(seconds[0]) <= 18
        and looks_random(firsts[0])
        and looks_random(firsts[1])
        and not _is_text(seconds[0])
        and len(set(seconds[0])) * 4 >= len(seconds[0]) * 3
        and seconds[0] != firsts[0][: len(seconds[0])]
    )


def _is_text(data: bytes) -> bool:
    """Whether nearly all bytes are printable: of eight random ones that are seven or more once in 150 times."""
    data = data[:64]
    printable = sum(32 <= byte < 127 or byte in {9, 10, 13} for byte in data)
    return len(data) >= 8 and printable * 8 >= len(data) * 7


def _readable(detail: str, flow: PassiveFlow, confidence: Confidence) -> Evidence:
    return _behaviour(detail, flow, confidence, EvidenceKind.PAYLOAD)


def _behaviour(
    detail: str,
    flow: PassiveFlow,
    confidence: Confidence = Confidence.LIKELY,
    kind: EvidenceKind = EvidenceKind.BEHAVIOUR,
) -> Evidence:
    return Evidence(
        kind=kind,
        service="skype",
        confidence=confidence,
        signature="skype/tcp",
        detail=detail,
        data=(flow.firsts[0] or flow.firsts[1])[:64],
        specificity=20,
    )
