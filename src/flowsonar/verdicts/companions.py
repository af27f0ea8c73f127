"""FTP's data connections beside a control connection that cannot be read, because it is inside TLS (RFC 4217).

Where PASV, EPSV, PORT and EPRT are enciphered, nothing announces a data connection, and its port takes one connection
only: a question to it may take the transfer's place. So a flow between the two hosts of such a control connection, to
a port that is no known service's, is taken for a data connection while it acts like one:

- in clear only one side speaks, and neither patterns nor the cache know it;
- inside TLS neither ALPN nor the cache speaks of something else.

It is `likely` then and not asked. When its bytes show otherwise later, the claim is withdrawn and it is asked as any.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable
from typing import Final, Protocol

from flowsonar import limits
from flowsonar.model import Confidence, Endpoint, Evidence, EvidenceKind, FlowKey, Layer, Transport
from flowsonar.passive import PassiveFlow

__all__ = ["BESIDE", "Companions", "Observed"]

_MS: Final = 1_000_000
_SUSPECTS: Final = 8
"""Between two hosts; who opens more connections at a time does not wait for the answers."""
_DATA_PORTS: Final = frozenset({20, 989})
"""Where servers connect from in active mode: RFC 959 section 3.2, IANA for FTP over TLS."""

BESIDE: Final = Evidence(
    kind=EvidenceKind.BEHAVIOUR,
    service="ftp",
    confidence=Confidence.LIKELY,
    signature="ftp/data",
    detail="data connection beside an encrypted FTP control connection",
    specificity=10,
)

_Hosts = tuple[str, str]


class Observed(Protocol):
    """What is needed of a flow."""

    flow: int
    key: FlowKey
    first_ns: int
    midstream: bool
    established: bool
    passive: PassiveFlow
    evidence: list[Evidence]


class Companions:
    """FTP control connections that are open, by their hosts. Bounded: the oldest is forgotten first."""

    __slots__ = ("_clear", "_controls", "_served", "_suspects", "hidden")

    def __init__(self, served: Callable[[Endpoint], bool]) -> None:
        self._served = served
        """Whether a port is a known service's."""
        self._controls: OrderedDict[int, tuple[_Hosts, bool]] = OrderedDict()
        """By flow: its hosts, and whether it is inside TLS."""
        self.hidden: dict[_Hosts, dict[int, int]] = {}
        """Those inside TLS with their first packets' times, oldest first. Empty nearly always: look before calling."""
        self._clear: dict[_Hosts, dict[int, int]] = {}
        self._suspects: OrderedDict[_Hosts, dict[int, tuple[int, Endpoint]]] = OrderedDict()
        """Flows that may turn out to be FTP inside TLS, while their endpoints are asked."""

    # -- control connections ------------------------------------------------------------------------------------

    def note(self, flow: Observed) -> None:
        """Remember a flow that was labelled `ftp`, if it is a control connection."""
        hidden = False
        for piece in flow.evidence:
            if piece.kind is EvidenceKind.ANNOUNCED or piece == BESIDE:
                return
            if piece.kind is EvidenceKind.PAYLOAD:
                hidden = hidden or piece.over is Layer.TLS or piece.service == "tls"
        self.ended(flow.flow)
        hosts = _hosts(flow.key)
        self._controls[flow.flow] = (hosts, hidden)
        (self.hidden if hidden else self._clear).setdefault(hosts, {})[flow.flow] = flow.first_ns
        if len(self._controls) > limits.CONTROL_CONNECTIONS:
            self.ended(next(iter(self._controls)))

    def ended(self, flow: int) -> None:
        """Forget a flow that has ended."""
        found = self._controls.pop(flow, None)
        if found is None:
            return
        hosts, hidden = found
        where = self.hidden if hidden else self._clear
        del where[hosts][flow]
        if not where[hosts]:
            del where[hosts]

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
            (flow.established or flow.passive.first_speaker >= 0)
            and len(flow.evidence) < limits.EVIDENCE_ITEMS
            and self._has_hidden_control(flow)
            and self._acts_like_data(flow)
        ):
            flow.evidence.append(BESIDE)

    def _has_hidden_control(self, flow: Observed) -> bool:
        controls = self.hidden.get(_hosts(flow.key))
        if not controls or flow.flow in controls:
            return False
        return flow.midstream or next(iter(controls.values())) <= flow.first_ns

    def _acts_like_data(self, flow: Observed) -> bool:
        key, passive = flow.key, flow.passive
        if key.transport is not Transport.TCP or self._served(key.responder):
            return False
        if flow.midstream and key.initiator_port not in _DATA_PORTS and self._served(key.initiator):
            return False
        tls = passive.tls is not None
        for piece in flow.evidence:
            if piece.kind is EvidenceKind.PORT or piece == BESIDE:
                continue
            if piece.service == "tls":
                tls = True
            elif piece.service is not None:
                return False
        if not set(passive.alpn) <= {"ftp"}:
            return False
        return tls or not (passive.counts[0] and passive.counts[1])

    # -- control connections that are not known yet ---------------------------------------------------------------

    def asking(self, flow: Observed, endpoint: Endpoint) -> None:
        """An endpoint is asked about a flow that shows TLS from outside and no more: it may be implicit FTPS."""
        if flow.key.transport is not Transport.TCP or not set(flow.passive.alpn) <= {"ftp"}:
            return
        suspects = self._suspects.setdefault(_hosts(flow.key), {})
        if len(suspects) < _SUSPECTS:
            suspects[flow.flow] = (flow.first_ns, endpoint)
        if len(self._suspects) > limits.CONTROL_CONNECTIONS:
            self._suspects.popitem(last=False)

    def answered(self, flow: Observed) -> None:
        """The answer is there."""
        hosts = _hosts(flow.key)
        suspects = self._suspects.get(hosts)
        if suspects is not None:
            suspects.pop(flow.flow, None)
            if not suspects:
                del self._suspects[hosts]

    def postpones(self, flow: Observed, now_ns: int) -> bool:
        """Whether a flow should wait for the answer about an older one, whose data connection it may be."""
        suspects = self._suspects.get(_hosts(flow.key))
        if not suspects or now_ns - flow.first_ns > limits.COMPANION_WAIT_MS * _MS:
            return False
        own = (flow.key.responder, flow.key.initiator)
        older = any(first_ns < flow.first_ns and endpoint not in own for first_ns, endpoint in suspects.values())
        return older and self._acts_like_data(flow)


def _hosts(key: FlowKey) -> _Hosts:
    one, other = key.initiator_address, key.responder_address
    return (one, other) if one < other else (other, one)
