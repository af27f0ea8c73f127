"""Services that are spoken in another's format: how specific their patterns are beside those of that other one."""

from __future__ import annotations

from flowsonar.signatures.catalogue import SignatureSet
from flowsonar.signatures.language import PayloadPattern, ReplyPattern, Signature

__all__ = ["specificities"]

_Named = PayloadPattern | ReplyPattern


def specificities(signatures: SignatureSet) -> dict[str, int]:
    """Every reply's and payload's specificity by its id.

    A pattern of a child that is not soft is more specific than every pattern of its ancestors that proves no more than
    it does: Docker's answers match HTTP's patterns as well, and are told first. It stays below those that prove more:
    a likely child does not hide a confirmed parent.
    """
    known: dict[str, int] = {}
    for name in sorted(signatures.services, key=lambda name: len(signatures.ancestors(name))):
        above = [pattern for one in signatures.ancestors(name) for pattern in _patterns(signatures.services[one])]
        for pattern in _patterns(signatures.services[name]):
            specificity = pattern.specificity or 10 * pattern.confidence.rank
            if above and not pattern.soft:
                rank = pattern.confidence.rank
                less = [known[other.id] + 1 for other in above if other.confidence.rank <= rank]
                more = [known[other.id] - 1 for other in above if other.confidence.rank > rank]
                specificity = max(1, min([max([specificity, *less]), *more]))
            known[pattern.id] = specificity
    return known


def _patterns(signature: Signature) -> tuple[_Named, ...]:
    return (*signature.replies, *signature.payloads)
