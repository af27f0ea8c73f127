"""What a flow has from its endpoints, and its endpoints from the flow: pure rules about evidence."""

from __future__ import annotations

from collections.abc import Iterable

from flowsonar.model import Confidence, Evidence, EvidenceKind, Side, Verdict
from flowsonar.signatures import SignatureSet
from flowsonar.verdicts.fusion import contradicts, fuse

__all__ = ["contradicted", "from_side", "own_words", "remembered"]


def remembered(verdict: Verdict) -> Evidence:
    """A cached verdict of an endpoint as evidence about its flows."""
    return Evidence(
        kind=EvidenceKind.ENDPOINT,
        service=verdict.service,
        confidence=verdict.confidence,
        over=verdict.over,
        product=verdict.product,
        version=verdict.version,
        cpe=verdict.cpe,
        detail="known from before",
    )


def from_side(evidence: Iterable[Evidence], side: Side, signatures: SignatureSet, *, midstream: bool) -> list[Evidence]:
    """Evidence about the endpoint on `side` as evidence about the flow.

    What the initiator's port serves does not prove what it says to somebody else's port, unless the service is one
    of peers (`peers = true`): such evidence counts as `likely` at most.
    """
    pieces = []
    for piece in evidence:
        confidence = piece.confidence
        if side is Side.INITIATOR and not midstream and confidence is Confidence.CONFIRMED:
            signature = signatures.services.get(piece.service or "")
            if signature is None or not signature.peers:
                confidence = Confidence.LIKELY
        pieces.append(piece._replace(side=side, confidence=confidence))
    return pieces


def contradicted(evidence: Iterable[Evidence], signatures: SignatureSet) -> bool:
    """Whether a flow's own bytes contradict what was known of its endpoint."""
    pieces = list(evidence)
    cached = [piece for piece in pieces if piece.kind is EvidenceKind.ENDPOINT]
    if not cached:
        return False
    known = fuse(cached, signatures.traffic_class, None, signatures.parents)
    own = (piece for piece in pieces if piece.kind is EvidenceKind.PAYLOAD)
    return any(contradicts(known, piece, signatures.parents) for piece in own)


def own_words(evidence: Iterable[Evidence], signatures: SignatureSet) -> Verdict | None:
    """What the responder said by itself, where that proves a service: as good as its answer to a question."""
    said = [
        piece
        for piece in evidence
        if piece.kind is EvidenceKind.PAYLOAD
        and piece.side is Side.RESPONDER
        and piece.confidence is Confidence.CONFIRMED
    ]
    return fuse(said, signatures.traffic_class, None, signatures.parents) if said else None
