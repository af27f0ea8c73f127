"""Classic Skype over TCP: constants of the login dialogue and of the imitated TLS, version check, known ports.

| rule | what is seen | confidence |
|---|---|---|
| login | an empty handshake record asked, an empty data record answered | likely each, confirmed together |
| login, second record | the client's request with one of two known beginnings | confirmed |
| imitated TLS | the 56 constant bytes of the hello | likely |
| imitated TLS | the 79 constant bytes of the answer, or a client that goes on without TLS records | confirmed |
| HTTP | what the client asks ui.skype.com (see `protocols.skype`) | confirmed |
| known port | unexplained bytes to the port number of a proven UDP node or of its peer | likely |
| known server | unexplained bytes to a server that showed the constants, or to its ports from a proven host | likely |
"""

from __future__ import annotations

from typing import Final

from flowsonar.flows.events import Opened, Payload
from flowsonar.model import Confidence, Evidence, EvidenceKind, Side
from flowsonar.passive.skype_udp import MAX_PORTS, SkypePorts
from flowsonar.protocols import skype, tls

__all__ = ["SkypeServers", "SkypeStream", "known_endpoint", "starts_like_login"]

_SIDES: Final = (Side.INITIATOR, Side.RESPONDER)
_LIKELY: Final = Confidence.LIKELY.rank


def starts_like_login(data: bytes) -> bool:
    """Whether first bytes are one of the constants."""
    return data[:5] in {skype.LOGIN_HELLO, skype.LOGIN_ANSWER} or data.startswith(
        (skype.TLS_CLIENT_HELLO, skype.TLS_SERVER_HELLO)
    )


class SkypeServers:
    """Servers that showed the constants, bounded."""

    __slots__ = ("_clients", "_servers")

    def __init__(self) -> None:
        self._servers: dict[tuple[bytes, int], None] = {}
        self._clients: dict[bytes, None] = {}

    def add(self, opened: Opened) -> None:
        """Remember the server and the client of a flow that is proven."""
        for known in (self._servers, self._clients):
            if len(known) >= MAX_PORTS:
                del known[next(iter(known))]  # type: ignore[arg-type]
        self._servers[(opened.responder, opened.responder_port)] = None
        self._clients[opened.initiator] = None

    def __contains__(self, endpoint: tuple[bytes, int]) -> bool:
        return endpoint in self._servers

    def __bool__(self) -> bool:
        return bool(self._servers)

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
            detail=f"TCP to {'a ' + kind if kind else 'a server'}: {what}",
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


def known_endpoint(opened: Opened, firsts: list[bytes], ports: SkypePorts, servers: SkypeServers) -> Evidence | None:
    """Judge a flow whose bytes nobody explains by where it goes. `firsts`: first payload of each direction."""
    listener = ports.find(opened.responder, opened.responder_port)
    if listener is not None and listener.rank >= _LIKELY:
        own = ports.port_rank(opened.responder, opened.responder_port)
        where = "TCP to the port of a node" if own >= _LIKELY else "TCP to a super node or peer"
        return _likely(f"{where}: a UDP port of the same number is Skype's ({listener.proof}){_shape(firsts)}", firsts)
    if (opened.responder, opened.responder_port) in servers:
        return _likely(f"TCP to a server that showed Skype's constants in another flow{_shape(firsts)}", firsts)
    kind = skype.EVENT_PORTS.get(opened.responder_port)
    if kind and (ports.host_rank(opened.initiator) >= _LIKELY or servers.is_client(opened.initiator)):
        return _likely(
            f"TCP to port {opened.responder_port} ({kind}) from a host that runs Skype{_shape(firsts)}", firsts
        )
    return None


def _shape(firsts: list[bytes]) -> str:
    if len(firsts[1]) == 14:
        return "; answered with 14 bytes, a handshake's length"
    return ""


def _likely(detail: str, firsts: list[bytes]) -> Evidence:
    return Evidence(
        kind=EvidenceKind.BEHAVIOUR,
        service="skype",
        confidence=Confidence.LIKELY,
        signature="skype/tcp-known-endpoint",
        detail=detail,
        data=(firsts[0] or firsts[1])[:64],
        specificity=20,
    )
