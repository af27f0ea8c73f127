"""What a reply and its matches are worth, before anything is known of the conversation: functions without memory."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from flowsonar import limits
from flowsonar.model import Confidence, Evidence, EvidenceKind, Layer, Transport
from flowsonar.probes.special.tls import looks_like_tls, suggests_tls
from flowsonar.signatures.language import Signature
from flowsonar.signatures.matcher import Match, Reply

__all__ = [
    "TARPIT", "guessed", "is_drip", "is_last_word", "is_strong", "mirrors", "shown", "tells_tls", "tls_evidence",
    "weakened",
]  # fmt: skip

_DRIP_BYTES: Final = 64
"""More in one piece is no drip."""
TARPIT: Final = Evidence(
    kind=EvidenceKind.BEHAVIOUR,
    service=None,
    confidence=Confidence.UNKNOWN,
    signature="tarpit",
    detail="says a few bytes that mean nothing, whatever is asked, and goes on: perhaps a tarpit",
)
"""Of an endpoint that dripped at two different questions."""


def is_last_word(match: Match, over: Layer | None) -> bool:
    """Whether nothing more is to be heard: it is confirmed, and what was to be found inside was."""
    return match.confidence is Confidence.CONFIRMED and not match.soft and (match.over is None or match.over is over)


def is_strong(matches: Sequence[Match]) -> bool:
    """Whether the best of them is likely at least by itself."""
    return bool(matches) and not matches[0].soft and matches[0].confidence.rank >= Confidence.LIKELY.rank


def tells_tls(reply: Reply, matches: Sequence[Match]) -> bool:
    """`matches`: the best one, or none. What another service alone says is not TLS, even where it looks like it."""
    if reply.over is not None:
        return False
    for match in matches:
        if match.service == "tls" or match.over is Layer.TLS:
            return True
        if is_last_word(match, None) and looks_like_tls(reply.data):
            return False
    return suggests_tls(reply.data)


def is_drip(reply: Reply) -> bool:
    """A few bytes on a connection that goes on."""
    return reply.transport is Transport.TCP and len(reply.data) < _DRIP_BYTES and not reply.closed


def weakened(match: Match, told: str) -> Match:
    """The match, likely at most; `told` says why."""
    rank = min(match.confidence.rank, Confidence.LIKELY.rank)
    confidence = next(value for value in Confidence if value.rank == rank)
    detail = f"{match.detail}; {told}" if match.detail else told
    return match._replace(confidence=confidence, detail=detail, specificity=max(0, match.specificity - 10))


def guessed(match: Match) -> Match:
    """The match, a guess at most."""
    return match if match.confidence.rank <= Confidence.GUESS.rank else match._replace(confidence=Confidence.GUESS)


def tls_evidence(detail: str, data: bytes, *, service: str | None) -> Evidence:
    """What a handshake has shown; without `service` only that it took place."""
    return Evidence(
        kind=EvidenceKind.REPLY if service else EvidenceKind.BEHAVIOUR,
        service=service,
        confidence=Confidence.CONFIRMED if service else Confidence.UNKNOWN,
        probe="tls",
        signature="tls/handshake",
        detail=detail,
        data=data[: limits.EVIDENCE_BYTES],
    )


def shown(reply: Reply) -> str:
    """The beginning of a reply in one printable line."""
    text = reply.data[:60].decode("latin-1").encode("unicode_escape").decode("ascii")
    more = "" if len(reply.data) <= 60 else f" ... ({len(reply.data)} bytes)"
    return f"answered {text[:120]}{more}"


def mirrors(signature: Signature | None) -> list[tuple[int, int]]:
    """Where replies of the service mirror our IPv4 address: offsets and sizes in bytes."""
    if signature is None:
        return []
    conditions = [pattern.condition for pattern in signature.replies]
    conditions += [step.expect for probe in signature.probes for step in probe.steps if step.expect]
    return list(
        dict.fromkeys((check.at, 4) for held in conditions for check in held.fields if check.echo == "prober.address")
    )
