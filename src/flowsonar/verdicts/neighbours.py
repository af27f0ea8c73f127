"""The same number over UDP: what answers there tells what a TCP flow to it is, where that looks like a peer's.

A peer listens on one number over TCP and UDP. One datagram to it is answered in a round trip where the proof over TCP
waits for the peer's turn, and where there is none because the peer takes no enciphered connection. Only for flows whose
bytes make their endpoint suspect, and `likely` at most: another program may have the number over TCP.
"""

from __future__ import annotations

from typing import Final

from flowsonar import limits
from flowsonar.model import Answer, Confidence, Endpoint, Evidence, EvidenceKind, Hints, Question, Transport, Verdict
from flowsonar.signatures import SignatureSet

__all__ = ["Neighbours"]

_LIKELY: Final = Confidence.LIKELY.rank


class Neighbours:
    """Which flows wait for what a number says over UDP. Bounded as questions are."""

    __slots__ = ("_flows", "_signatures")

    def __init__(self, signatures: SignatureSet) -> None:
        self._signatures = signatures
        self._flows: dict[Endpoint, list[int]] = {}

    def question(self, flow: int, endpoint: Endpoint, hints: Hints) -> Question | None:
        """What is to be asked beside `endpoint` about a flow; None where nothing makes it suspect, or it is asked."""
        service = next(iter(hints.candidates), "")
        if endpoint.transport is not Transport.TCP or not self._has_peers(service):
            return None
        beside = endpoint._replace(transport=Transport.UDP)
        waiting = self._flows.get(beside)
        if waiting is not None:
            if len(waiting) < limits.FLOWS_WAITING_PER_ENDPOINT:
                waiting.append(flow)
            return None
        if len(self._flows) >= limits.QUESTIONS_WAITING:
            return None
        self._flows[beside] = [flow]
        return Question(endpoint=beside, hints=Hints(candidates=(service,), beside=True, rtt_ms=hints.rtt_ms))

    def first(self, verdict: Verdict, candidates: tuple[str, ...]) -> tuple[str, ...]:
        """What to ask for, best first, where a flow may be known already by what its number says over UDP."""
        service = verdict.service or ""
        if verdict.confidence.rank < _LIKELY or service in candidates or not self._has_peers(service):
            return candidates
        return (service, *candidates)

    def asks(self, endpoint: Endpoint) -> bool:
        """Whether flows wait for what this number says over UDP."""
        return endpoint in self._flows

    def answered(self, answer: Answer, verdict: Verdict) -> tuple[list[int], Evidence | None]:
        """Flows that wait for this answer, and what it tells about them; they wait no more."""
        flows = self._flows.pop(answer.endpoint, [])
        if not flows or verdict.confidence.rank < _LIKELY or not self._has_peers(verdict.service or ""):
            return flows, None
        return flows, Evidence(
            kind=EvidenceKind.ENDPOINT,
            service=verdict.service,
            confidence=Confidence.LIKELY,
            product=verdict.product,
            version=verdict.version,
            cpe=verdict.cpe,
            detail="its number answers so over UDP",
        )

    def _has_peers(self, service: str) -> bool:
        """Whether a service is one of peers that answer questions over UDP."""
        signature = self._signatures.services.get(service)
        if signature is None or not signature.peers:
            return False
        return any(probe.transport is Transport.UDP for probe in signature.probes)
