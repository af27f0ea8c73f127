"""Evidence from matches, and the few pieces that are always the same."""

from __future__ import annotations

from functools import cache
from typing import Final

from flowsonar.model import Confidence, Evidence, EvidenceKind, Side
from flowsonar.signatures.matcher import Match

__all__ = [
    "DNS_AGREES",
    "DNS_SANE",
    "ECHO",
    "SSLV2",
    "at_most_likely",
    "from_match",
    "from_port",
    "http2_settings",
    "ip_protocol",
    "joined",
    "winners",
]


def winners(matches: list[Match]) -> list[Match]:
    """Give the most specific match, and those of other services that are as sure and as specific."""
    best = matches[0]
    rank = (best.soft, best.confidence.rank, best.specificity)
    kept = [best]
    services = {best.service}
    for match in matches[1:]:
        if match.service not in services and (match.soft, match.confidence.rank, match.specificity) == rank:
            services.add(match.service)
            kept.append(match)
    return kept


def from_match(match: Match, side: Side, data: bytes) -> Evidence:
    """Turn a match into evidence, with the bytes that matched."""
    return Evidence(
        kind=EvidenceKind.PAYLOAD,
        service=match.service,
        confidence=match.confidence,
        side=side,
        over=match.over,
        product=match.product,
        version=match.version,
        cpe=match.cpe,
        signature=match.pattern,
        detail=match.detail,
        data=data[:256],
        specificity=match.specificity,
    )


def at_most_likely(evidence: Evidence) -> Evidence:
    """Lower what is confirmed to likely."""
    return (
        evidence._replace(confidence=Confidence.LIKELY)
        if evidence.confidence.rank > Confidence.LIKELY.rank
        else evidence
    )


def from_port(service: str, side: Side, port: int) -> Evidence:
    """Guess by a port's number."""
    return Evidence(
        kind=EvidenceKind.PORT, service=service, confidence=Confidence.GUESS, side=side, detail=f"port {port}"
    )


def joined(detail: str, more: str) -> str:
    """Add a remark to a detail."""
    return f"{detail}; {more}" if detail else more


def http2_settings(side: Side, data: bytes) -> Evidence:
    """Confirm HTTP/2: a server answers the preface with SETTINGS."""
    return Evidence(
        kind=EvidenceKind.PAYLOAD,
        service="http",
        confidence=Confidence.CONFIRMED,
        side=side,
        version="2",
        signature="http/h2-settings",
        detail="HTTP/2 SETTINGS frame in answer to the connection preface",
        data=data[:64],
        specificity=60,
    )


def _dns_evidence(side: Side, confidence: Confidence, detail: str) -> Evidence:
    return Evidence(
        kind=EvidenceKind.PAYLOAD,
        service="dns",
        confidence=confidence,
        side=side,
        signature="dns/message",
        detail=detail,
        specificity=40,
    )


ECHO: Final = Evidence(
    kind=EvidenceKind.PAYLOAD,
    service="echo",
    confidence=Confidence.LIKELY,
    signature="echo/same-bytes",
    detail="the answer is the other side's own bytes",
    specificity=80,
)
SSLV2: Final = Evidence(
    kind=EvidenceKind.PAYLOAD,
    service="tls",
    confidence=Confidence.LIKELY,
    side=Side.INITIATOR,
    signature="tls/sslv2-hello",
    detail="ClientHello in SSL 2 framing",
    specificity=40,
)
DNS_SANE: Final = {side: _dns_evidence(side, Confidence.LIKELY, "one message that is sane") for side in Side}
DNS_AGREES: Final = {
    side: _dns_evidence(side, Confidence.CONFIRMED, "identifier and question of query and response agree")
    for side in Side
}


@cache
def ip_protocol(service: str) -> Evidence:
    """The number in the IP header says it all."""
    return Evidence(
        kind=EvidenceKind.PAYLOAD, service=service, confidence=Confidence.CONFIRMED, detail="IP protocol number"
    )
