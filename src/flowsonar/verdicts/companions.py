"""FTP's data connections beside a control connection that cannot be read, because it is inside TLS (RFC 4217).

Where PASV, EPSV, PORT and EPRT are enciphered, nothing announces a data connection, and its port takes one connection
only: a question to it may take the transfer's place. So a flow between the two hosts of such a control connection, to
a port that is no known service's, is taken for a data connection where it begins just after the control connection
has spoken, and while it acts like one:

- in clear only one side speaks, and neither patterns nor the cache know it;
- inside TLS neither ALPN nor the cache speaks of something else.

It is `likely` then and not asked. When its bytes show otherwise later, the claim is withdrawn and it is asked as any.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable
from itertools import islice
from typing import Final, NamedTuple, Protocol

from flowsonar import limits
from flowsonar.model import Confidence, Direction, Endpoint, Evidence, EvidenceKind, FlowKey, Layer, Transport
from flowsonar.passive import PassiveFlow
from flowsonar.protocols import tls

__all__ = ["BESIDE", "TAKEN", "Companions", "Observed"]

_MS: Final = 1_000_000
_SUSPECTS: Final = 8
"""Between two hosts; who opens more connections at a time does not wait for the answers."""
_CLOSE_NOTIFY: Final = 19
"""RFC 8446 sections 5.2 and 6.1, with ciphers of 16 bytes of tag; no line of FTP is that short."""
_WORDS: Final = 16
"""More than are said while a flow begins."""
_ANNOUNCES: Final = 52
"""Bytes of a TLS record around the replies 227 and 229: they have 30 characters at least in all known servers, and TLS
1.3 adds 22. What ends a transfer (226) or a session (221) is shorter in most."""

BESIDE: Final = Evidence(
    kind=EvidenceKind.BEHAVIOUR,
    service="ftp",
    confidence=Confidence.GUESS,
    signature="ftp/data",
    detail="data connection beside an encrypted FTP control connection",
    specificity=10,
)
"""Its time fits, which other programs' connections between the same hosts may do as well."""

TAKEN: Final = BESIDE._replace(
    confidence=Confidence.LIKELY,
    detail="data connection beside an encrypted FTP control connection, to a port that takes no second one",
)
"""The second sign: FTP servers close a data port once its connection has come (RFC 959 section 3.2)."""

_Hosts = tuple[str, str]
_NO_CONTROL: Final = (("", ""), False)


class _Hidden(NamedTuple):
    """A control connection inside TLS, by times in ns."""

    first_ns: int
    known_ns: int
    server: str | None
    """None where roles are a guess."""
    words: tuple[tuple[int, int, int], ...]
    """Time, direction and size of what was said last."""


class Observed(Protocol):
    """What is needed of a flow."""

    flow: int
    key: FlowKey
    first_ns: int
    midstream: bool
    established: bool
    beside: bool
    """It began when a data connection was to be expected."""
    passive: PassiveFlow
    evidence: list[Evidence]


class Companions:
    """FTP control connections that are open, by their hosts. Bounded: the oldest is forgotten first."""

    __slots__ = ("_clear", "_controls", "_served", "hidden", "suspects")

    def __init__(self, served: Callable[[Endpoint], bool]) -> None:
        self._served = served
        """Whether a port is a known service's."""
        self._controls: OrderedDict[int, tuple[_Hosts, bool]] = OrderedDict()
        """By flow: its hosts, and whether it is inside TLS."""
        self.hidden: dict[_Hosts, dict[int, _Hidden]] = {}
        """Those inside TLS, the one that spoke last at the end. Empty nearly always: look before calling."""
        self._clear: dict[_Hosts, set[int]] = {}
        self.suspects: OrderedDict[_Hosts, dict[int, tuple[int, Endpoint]]] = OrderedDict()
        """Flows that may turn out to be FTP inside TLS, while their endpoints are asked. Empty most of the time."""

    # -- control connections ------------------------------------------------------------------------------------

    def note(self, flow: Observed, now_ns: int) -> bool:
        """Remember a flow that was labelled `ftp`; True where it turns out to be a control connection inside TLS."""
        inside = False
        for piece in flow.evidence:
            if piece.kind is EvidenceKind.ANNOUNCED or piece.signature == BESIDE.signature:
                return False
            if piece.kind is EvidenceKind.PAYLOAD:
                inside = inside or piece.over is Layer.TLS or piece.service == "tls"
        hosts = _hosts(flow.key)
        if self._controls.get(flow.flow) == (hosts, inside):
            return False
        self.ended(flow.flow)
        self._controls[flow.flow] = (hosts, inside)
        if inside:
            server = None if flow.midstream else flow.key.responder_address
            self.hidden.setdefault(hosts, {})[flow.flow] = _Hidden(flow.first_ns, now_ns, server, ())
        else:
            self._clear.setdefault(hosts, set()).add(flow.flow)
        if len(self._controls) > limits.CONTROL_CONNECTIONS:
            self.ended(next(iter(self._controls)))
        return inside

    def is_hidden(self, flow: int) -> bool:
        """Whether a flow is a control connection inside TLS."""
        return self._controls.get(flow, _NO_CONTROL)[1]

    def spoke(self, flow: int, direction: int, data: bytes, now_ns: int) -> None:
        """A control connection inside TLS said something: a command or reply, or that it ends."""
        if not self.is_hidden(flow):
            return
        if _closes(data):
            self.ended(flow)
            return
        controls = self.hidden[self._controls[flow][0]]
        before = controls.pop(flow)
        controls[flow] = before._replace(words=(*before.words[1 - _WORDS :], (now_ns, direction, len(data))))

    def ended(self, flow: int) -> None:
        """Forget a flow that has ended."""
        hosts, inside = self._controls.pop(flow, _NO_CONTROL)
        if inside:
            del self.hidden[hosts][flow]
            if not self.hidden[hosts]:
                del self.hidden[hosts]
        elif hosts in self._clear:
            self._clear[hosts].discard(flow)
            if not self._clear[hosts]:
                del self._clear[hosts]

    def announces(self, key: FlowKey) -> bool:
        """Whether an FTP control connection in clear is open between the hosts: an announcement may be under way."""
        return bool(self._clear) and _hosts(key) in self._clear

    # -- data connections ---------------------------------------------------------------------------------------

    def weigh(self, flow: Observed) -> None:
        """Add the claim to the flow's evidence, or withdraw it; what was claimed stays when the control ends."""
        claimed = BESIDE in flow.evidence
        if claimed:
            if not self._acts_like_data(flow):
                flow.evidence.remove(BESIDE)
        elif (
            flow.beside
            and (flow.established or flow.passive.first_speaker >= 0)
            and len(flow.evidence) < limits.EVIDENCE_ITEMS
            and self._is_expected(flow)
            and self._acts_like_data(flow)
        ):
            flow.evidence.append(BESIDE)

    def expects(self, key: FlowKey) -> bool:
        """Whether a flow that begins now may be a data connection: there is a control connection, or may be."""
        hosts = _hosts(key)
        return hosts in self.hidden or hosts in self.suspects

    def _is_expected(self, flow: Observed) -> bool:
        """Whether the flow began when a control connection would have announced it."""
        controls = self.hidden.get(_hosts(flow.key))
        if not controls or flow.flow in controls:
            return False
        return any(_leads_to(control, flow) for control in islice(reversed(controls.values()), _SUSPECTS))

    def _acts_like_data(self, flow: Observed) -> bool:
        key, passive = flow.key, flow.passive
        if key.transport is not Transport.TCP or self._served(key.responder):
            return False
        inside = passive.tls is not None
        for piece in flow.evidence:
            if piece.kind is EvidenceKind.PORT or piece.signature == BESIDE.signature:
                continue
            if piece.service == "tls":
                inside = True
            elif piece.service is not None:
                return False
        if not set(passive.alpn) <= {"ftp"}:
            return False
        return inside or not (passive.counts[0] and passive.counts[1])

    # -- control connections that are not known yet ---------------------------------------------------------------

    def asking(self, flow: Observed, endpoint: Endpoint) -> None:
        """An endpoint is asked about a flow that shows TLS from outside and no more: it may be implicit FTPS."""
        if flow.key.transport is not Transport.TCP or not set(flow.passive.alpn) <= {"ftp"}:
            return
        suspects = self.suspects.setdefault(_hosts(flow.key), {})
        if len(suspects) < _SUSPECTS:
            suspects[flow.flow] = (flow.first_ns, endpoint)
        if len(self.suspects) > limits.CONTROL_CONNECTIONS:
            self.suspects.popitem(last=False)

    def answered(self, flow: Observed) -> None:
        """The answer is there."""
        hosts = _hosts(flow.key)
        suspects = self.suspects.get(hosts)
        if suspects is not None:
            suspects.pop(flow.flow, None)
            if not suspects:
                del self.suspects[hosts]

    def postpones(self, flow: Observed, now_ns: int) -> bool:
        """Whether a flow should wait for the answer about an older one, whose data connection it may be.

        Or for the next word of a control connection of which only the client is heard.
        """
        age_ns = abs(now_ns - flow.first_ns)  # far below 0 where the clock was set back since
        if not flow.beside or flow.midstream or age_ns > limits.COMPANION_WAIT_MS * _MS:
            return False
        hosts, own = _hosts(flow.key), (flow.key.responder, flow.key.initiator)
        suspects, controls = self.suspects.get(hosts, {}), self.hidden.get(hosts, {})
        older = any(first_ns < flow.first_ns and endpoint not in own for first_ns, endpoint in suspects.values())
        if not older and flow.flow not in controls:
            older = any(_may_speak(control, flow) for control in islice(reversed(controls.values()), _SUSPECTS))
        return older and self._acts_like_data(flow)


def _leads_to(control: _Hidden, flow: Observed) -> bool:
    """Whether what the control connection said makes a data connection of a flow that began then.

    To the server: its last word before was long enough for 227 or 229. Where only the client is heard, it spoke
    before, and again meanwhile: a transfer's command, which does not come after QUIT. From the server: anybody spoke.
    """
    if flow.midstream or control.first_ns > flow.first_ns:
        return False  # nothing is known of when it began
    if control.known_ns > flow.first_ns:
        return True  # nobody listened to its words yet
    before = [word for word in control.words if word[0] <= flow.first_ns]
    if not before or flow.first_ns - max(before)[0] > limits.CONTROL_SPOKE_MS * _MS:
        return False
    if control.server != flow.key.responder_address:
        return True
    told = [word for word in before if word[1] == Direction.TO_INITIATOR]
    return max(told)[2] >= _ANNOUNCES if told else len(before) < len(control.words)


def _may_speak(control: _Hidden, flow: Observed) -> bool:
    """Whether one more word of the client alone would lead to the flow."""
    if control.server != flow.key.responder_address or any(word[1] for word in control.words):
        return False
    again = control._replace(words=(*control.words, (flow.first_ns + 1, Direction.TO_RESPONDER, 0)))
    return _leads_to(again, flow)


def _closes(data: bytes) -> bool:
    """Whether a segment ends with a TLS alert: close_notify, in TLS 1.3 enciphered (two bytes, type and tag: 19)."""
    at = 0
    while at + 5 <= len(data):
        kind, size = data[at], data[at + 3] << 8 | data[at + 4]
        if at + 5 + size >= len(data):
            return kind == tls.ALERT or (kind == tls.APPLICATION_DATA and size == _CLOSE_NOTIFY)
        at += 5 + size
    return False


def _hosts(key: FlowKey) -> _Hosts:
    one, other = key.initiator_address, key.responder_address
    return (one, other) if one < other else (other, one)
