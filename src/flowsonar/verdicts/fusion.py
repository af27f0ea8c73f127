"""Evidence to verdict: pure, one pass over what is known of a flow or an endpoint.

The rules (docs/records.md tells them to users; the tests go through them one by one):

1. Evidence that names no service is kept and shown, and never makes a label.
2. The kind caps what one piece can justify: a port number or a name is a `guess`, behaviour is `likely` at most; a
   cached verdict (`endpoint`) is worth what it was worth when it was found. So `confirmed` comes only from a reply,
   the flow's own bytes, or the announcement of another flow, now or when the cached verdict was made.
3. The strongest evidence wins. Of equally strong pieces of different services the nearer to the flow wins (announced,
   then what the responder said, then what the initiator said, then cached, name, port), then the more specific.
4. A guess does not rise by itself. Two guesses that are independent signs of one service (different kinds out of
   reply, payload, announced, behaviour) make it `likely`. Port and name never count as a sign; likely never rises.
   What a server says unasked is one sign, whether it said it to the flow's client or to us.
5. `tls`, `dtls` and `quic` carry other services. A service inside beats its carrier when it is at least `likely`, or
   as sure as the carrier; else the label is the carrier. A carrier never conflicts with what it carries. Services that
   change to TLS in the middle of a connection (STARTTLS) and were seen with `tls` are over `tls`.
6. The flow's own bytes and announcements of at least `likely` set aside a cached verdict that they contradict.
7. A service that is spoken in another's format (`parent`: Docker's API is HTTP) never conflicts with that other one. It
   is the label when it is at least `likely` and as sure, or announced (a call's flow that begins with STUN), or told by
   the flow's own bytes that show no more of the parent: what the endpoint answers us or answered once (STUN from a
   port of media) is not what this flow carries. Else the parent is, and takes the product that a `likely` child names
   where none of its own evidence does.
8. Another service with evidence as strong as the winner's is a conflict, kept and shown. Two services that are both
   `confirmed` make the label `likely`, unless the other one was only cached and rule 6 set it aside.
9. A guess is a port number, a name, or bytes that one of these speaks for. What rests on loose bytes alone ("+OK",
   random ones: anybody may say them) is `unknown`; guesses of several services about the same bytes cancel each other,
   unless a port or name speaks for the winner and for none of the others.
10. Product, version and CPE are merged from the winner's evidence, most specific first; version and CPE are never taken
    from a piece that names another product. What a client says of itself is not the product of the service.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Final

from flowsonar import limits
from flowsonar.model import UNKNOWN, Confidence, Evidence, EvidenceKind, Layer, Side, TrafficClass, Verdict

__all__ = ["UPGRADES", "carries", "contradicts", "fuse", "is_inside"]

UPGRADES: Final = frozenset(
    {"ftp", "imap", "irc", "ldap", "mysql", "nntp", "pop3", "postgresql", "rdp", "sieve", "smtp", "xmpp"}
)
"""Services that begin in clear and may change to TLS: RFC 4217 (ftp), 2595 (imap, pop3), 4511 (ldap), 4642 (nntp),
5804 (sieve), 3207 (smtp), 6120 (xmpp); the others by their own protocol documents."""

_CARRIERS: Final = {"tls": Layer.TLS, "dtls": Layer.DTLS, "quic": Layer.QUIC}

_GUESS, _LIKELY, _CONFIRMED = 1, 2, 3
_NONE: Final = Confidence.UNKNOWN
_INITIATOR: Final = Side.INITIATOR  # at hand: looking into an enumeration is slow in Python 3.11
_PAYLOAD: Final = EvidenceKind.PAYLOAD
_BY_RANK: Final = (Confidence.UNKNOWN, Confidence.GUESS, Confidence.LIKELY, Confidence.CONFIRMED)

_CAPS: Final = {
    EvidenceKind.REPLY: _CONFIRMED,
    EvidenceKind.PAYLOAD: _CONFIRMED,
    EvidenceKind.ANNOUNCED: _CONFIRMED,
    EvidenceKind.ENDPOINT: _CONFIRMED,
    EvidenceKind.BEHAVIOUR: _LIKELY,
    EvidenceKind.NAME: _GUESS,
    EvidenceKind.PORT: _GUESS,
}
_NEARNESS: Final = {
    EvidenceKind.ANNOUNCED: 7,
    EvidenceKind.PAYLOAD: 6,
    EvidenceKind.REPLY: 6,
    EvidenceKind.BEHAVIOUR: 5,
    # 4: the same from the initiator, see `_nearness`
    EvidenceKind.ENDPOINT: 3,
    EvidenceKind.NAME: 2,
    EvidenceKind.PORT: 1,
}


def _nearness(side: Side | None, kind: EvidenceKind) -> int:
    # What a client says of a connection is weaker than what its server says.
    near = _NEARNESS[kind]
    return 4 if side is Side.INITIATOR and near in (5, 6) else near


# Rank and nearness as one number: what a piece weighs before its specificity counts.
_STRENGTH: Final = {
    side: {
        kind: {
            confidence: 16 * min(confidence.rank, cap) + _nearness(side, kind) if confidence.rank else 0
            for confidence in Confidence
        }
        for kind, cap in _CAPS.items()
    }
    for side in (None, Side.INITIATOR, Side.RESPONDER)
}
_SIGNS: Final = frozenset({EvidenceKind.REPLY, EvidenceKind.PAYLOAD, EvidenceKind.ANNOUNCED, EvidenceKind.BEHAVIOUR})
_HINTS: Final = frozenset({EvidenceKind.NAME, EvidenceKind.PORT})
_OWN: Final = frozenset({EvidenceKind.PAYLOAD, EvidenceKind.ANNOUNCED})
_LOOSE: Final = frozenset({EvidenceKind.PAYLOAD, EvidenceKind.REPLY})

_NO_PARENTS: Final[Mapping[str, str]] = {}

_SAID: Final = Evidence._fields.index("data")
"""What a piece says is told by its fields before this one."""

_SPECIFICITY_BITS: Final = 20  # far more than pattern lengths make; strength stands above


def fuse(
    evidence: Iterable[Evidence],
    traffic_class: Callable[[str], TrafficClass],
    name: str | None = None,
    parents: Mapping[str, str] = _NO_PARENTS,
) -> Verdict:
    """Make the verdict that `evidence` justifies; what is said twice counts once. `name` goes with it as it is.

    `parents` says in whose format a service is spoken (`SignatureSet.parents`).
    """
    items = list(evidence)
    if len(items) > 1:
        items = _ordered(items)
    elif not items:
        return UNKNOWN if name is None else Verdict(name=name)
    own: list[Evidence] = []
    service = None
    decided = False
    for piece in items:
        if piece.service is None or piece.confidence is _NONE:
            continue
        if service is None:
            service = piece.service
            decided = _STRENGTH[piece.side][piece.kind][piece.confidence] >> 4 >= _LIKELY
        elif piece.service != service:
            if decided and piece.kind in _HINTS:
                continue  # a guess that never rises: it neither wins nor is a conflict
            return _contest(items, traffic_class, name, parents)
        own.append(piece)
    if service is None:
        return Verdict(name=name, evidence=_bounded(items))
    if not decided and _is_loose(_Candidate(service, own)):
        return Verdict(name=name, evidence=_bounded(items))
    if len(items) == 1 and not (items[0].product or items[0].version or items[0].cpe):
        return _single(items[0], service, traffic_class, name)
    return _verdict(_Candidate(service, own), items, traffic_class, name)


def contradicts(verdict: Verdict, evidence: Evidence, parents: Mapping[str, str] = _NO_PARENTS) -> bool:
    """Whether a fresh observation shows that a cached `verdict` about its endpoint is no longer true.

    Only what was seen now counts: the flow's own bytes or an announcement of at least `likely` (`confirmed` where it is
    the initiator who speaks: a client can be wrong about whom it talks to), a reply as strong as the verdict.
    """
    service = evidence.service
    if service is None or verdict.service is None or service == verdict.service:
        return False
    if parents and (is_inside(service, verdict.service, parents) or is_inside(verdict.service, service, parents)):
        return False
    rank = _STRENGTH[evidence.side][evidence.kind][evidence.confidence] >> 4
    if evidence.kind is EvidenceKind.REPLY:
        enough = max(_LIKELY, verdict.confidence.rank)
    elif evidence.kind in _OWN:
        enough = _CONFIRMED if evidence.side is Side.INITIATOR else _LIKELY
    else:
        return False
    if rank < enough:
        return False
    return not carries(service, verdict.service, verdict.over) and not carries(verdict.service, service, evidence.over)


def carries(carrier: str, service: str, over: Layer | None) -> bool:
    """Whether seeing `carrier` is what one sees of `service` from outside."""
    layer = _CARRIERS.get(carrier)
    if layer is None:
        return False
    return over is layer or (over is None and layer is Layer.TLS and service in UPGRADES)


def is_inside(service: str, outer: str, parents: Mapping[str, str]) -> bool:
    """Whether `service` is spoken in the format of `outer`."""
    above = parents.get(service)
    for _ in parents:
        if above is None or above == outer:
            break
        above = parents.get(above)
    return above == outer


# -- order ------------------------------------------------------------------------------------------------------


def _weight(piece: Evidence) -> int:
    return (_STRENGTH[piece.side][piece.kind][piece.confidence] << _SPECIFICITY_BITS) + piece.specificity


def _ordered(items: list[Evidence]) -> list[Evidence]:
    """Strongest first, each once: pieces that say the same of other bytes are one."""
    items.sort(key=_weight, reverse=True)
    before = items[0]
    unique = [before]
    for piece in items[1:]:
        # Equal pieces weigh the same, so they stand near each other; the look back is bounded for linear time.
        if piece.detail == before.detail:
            said = piece[:_SAID]
            if any(said == other[:_SAID] for other in unique[-limits.EVIDENCE_ITEMS :]):
                continue
        unique.append(piece)
        before = piece
    return unique


def _bounded(items: list[Evidence]) -> tuple[Evidence, ...]:
    """Keep the strongest `limits.EVIDENCE_ITEMS` of ordered evidence, with one of each kind, then of each service."""
    if len(items) <= limits.EVIDENCE_ITEMS:
        return tuple(items)
    first: list[int] = []
    for keys in ([piece.kind for piece in items], [piece.service for piece in items]):
        seen: set[str | None] = set()
        for index, key in enumerate(keys):
            if key not in seen:
                seen.add(key)
                first.append(index)
    kept = set(list(dict.fromkeys(first))[: limits.EVIDENCE_ITEMS])
    for index in range(len(items)):
        if len(kept) >= limits.EVIDENCE_ITEMS:
            break
        kept.add(index)
    return tuple(items[index] for index in sorted(kept))


# -- candidates -------------------------------------------------------------------------------------------------


class _Candidate:
    """A service with the evidence (ordered) that speaks for it: rules 2 and 4, and what it runs inside."""

    __slots__ = ("order", "over", "own", "rank", "service")

    def __init__(self, service: str, own: list[Evidence]) -> None:
        first = own[0]
        strength = _STRENGTH[first.side][first.kind][first.confidence]
        rank = strength >> 4
        over = first.over
        if len(own) > 1:
            if rank == _GUESS and len({_sign(piece) for piece in own if piece.kind in _SIGNS}) > 1:
                rank = _LIKELY
            if over is None:
                over = _layer(own, strength)
        self.service = service
        self.own = own
        self.rank = rank
        self.over = over
        self.order = (rank, strength & 15, first.specificity, len(own))


def _sign(piece: Evidence) -> EvidenceKind:
    """Its kind; the greeting that we heard is the one that the flow showed."""
    return EvidenceKind.PAYLOAD if piece.probe == "listen" else piece.kind


def _layer(own: list[Evidence], strength: int) -> Layer | None:
    """Find what a service runs inside where its strongest piece names no layer.

    Another piece of the same weight may: many a TLS port answers a plain request too, to say that it wants TLS. The
    flow's own bytes stand above that.
    """
    for piece in own:
        if _STRENGTH[piece.side][piece.kind][piece.confidence] < strength:
            return None
        if piece.over is not None:
            return None if own[0].kind in _OWN and piece.kind not in _OWN else piece.over
    return None


def _specific(piece: Evidence) -> tuple[bool, int, int]:
    return piece.side is Side.INITIATOR, -piece.specificity, -_weight(piece)


def _product(own: list[Evidence]) -> tuple[str | None, str | None, str | None]:
    """Merge product, version and CPE (rule 10)."""
    told = [
        piece
        for piece in own
        if (piece.product or piece.version or piece.cpe)
        and (piece.side is not _INITIATOR or piece.kind is not _PAYLOAD)
    ]
    if not told:
        return None, None, None
    if len(told) == 1:
        piece = told[0]
        return piece.product or None, piece.version or None, piece.cpe or None
    told.sort(key=_specific)
    product = next((piece.product for piece in told if piece.product), None)
    same = [piece for piece in told if not piece.product or piece.product == product]
    version = next((piece.version for piece in same if piece.version), None)
    return product, version, next((piece.cpe for piece in same if piece.cpe), None)


def _verdict(
    winner: _Candidate, items: list[Evidence], traffic_class: Callable[[str], TrafficClass], name: str | None
) -> Verdict:
    product, version, cpe = _product(winner.own)
    return Verdict(
        service=winner.service,
        over=winner.over,
        product=product,
        version=version,
        cpe=cpe,
        traffic_class=traffic_class(winner.service),
        confidence=_BY_RANK[winner.rank],
        name=name,
        evidence=_bounded(items),
    )


def _single(piece: Evidence, service: str, traffic_class: Callable[[str], TrafficClass], name: str | None) -> Verdict:
    """Do what `_verdict` does for one piece that names no product: most flows, so it is worth its lines."""
    return Verdict(
        service=service,
        over=piece.over,
        traffic_class=traffic_class(service),
        confidence=_BY_RANK[_STRENGTH[piece.side][piece.kind][piece.confidence] >> 4],
        name=name,
        evidence=(piece,),
    )


# -- several services -------------------------------------------------------------------------------------------


def _contest(
    items: list[Evidence], traffic_class: Callable[[str], TrafficClass], name: str | None, parents: Mapping[str, str]
) -> Verdict:
    by_service: dict[str, list[Evidence]] = {}
    for piece in items:
        if piece.service is not None and piece.confidence is not Confidence.UNKNOWN:
            by_service.setdefault(piece.service, []).append(piece)
    stale = _stale(by_service, parents)
    candidates = [_Candidate(service, own) for service, own in by_service.items() if service not in stale]
    candidates.sort(key=lambda candidate: candidate.order, reverse=True)
    winner = _strongest(candidates, parents)
    if _is_loose(winner) or (winner.rank == _GUESS and _undecided(winner, candidates, parents)):
        return Verdict(name=name, evidence=_bounded(items))
    if winner.over is None and any(
        other.rank >= _LIKELY and carries(other.service, winner.service, None) for other in candidates
    ):
        winner.over = Layer.TLS
    rank = winner.rank
    conflicts = []
    for other in candidates:
        if other is winner or other.rank < winner.rank or _agree(winner, other, parents):
            continue
        conflicts.append(other.service)
        if other.rank == _CONFIRMED:
            rank = min(rank, _LIKELY)
    conflicts += [service for service in sorted(stale) if _Candidate(service, by_service[service]).rank >= winner.rank]
    winner.rank = rank
    verdict = _verdict(winner, items, traffic_class, name)
    if verdict.product is None and parents:
        verdict = _named_by_a_child(verdict, candidates, parents)
    return verdict._replace(conflicts=tuple(conflicts)) if conflicts else verdict


def _is_loose(candidate: _Candidate) -> bool:
    """Whether nothing but bytes that anybody may say speak for it (rule 9)."""
    return candidate.rank == _GUESS and all(piece.kind in _LOOSE for piece in candidate.own)


def _undecided(winner: _Candidate, candidates: list[_Candidate], parents: Mapping[str, str]) -> bool:
    """Whether what was seen fits another service as poorly as the winner, and no hint speaks for it (rule 9)."""
    if not _has(winner, _SIGNS):
        return False
    rivals = [
        other
        for other in candidates
        if other is not winner and _has(other, _SIGNS) and not _agree(winner, other, parents)
    ]
    return bool(rivals) and (not _has(winner, _HINTS) or any(_has(other, _HINTS) for other in rivals))


def _has(candidate: _Candidate, kinds: frozenset[EvidenceKind]) -> bool:
    return any(piece.kind in kinds for piece in candidate.own)


def _agree(one: _Candidate, other: _Candidate, parents: Mapping[str, str]) -> bool:
    return (
        carries(one.service, other.service, other.over)
        or carries(other.service, one.service, one.over)
        or is_inside(one.service, other.service, parents)
        or is_inside(other.service, one.service, parents)
    )


def _named_by_a_child(verdict: Verdict, candidates: list[_Candidate], parents: Mapping[str, str]) -> Verdict:
    """Take the product from what is likely spoken in the winner's format (rule 7)."""
    assert verdict.service is not None
    for other in candidates:
        if other.rank >= _LIKELY and is_inside(other.service, verdict.service, parents):
            product, version, cpe = _product(other.own)
            if product is not None:
                return verdict._replace(product=product, version=version, cpe=cpe)
    return verdict


def _strongest(candidates: list[_Candidate], parents: Mapping[str, str]) -> _Candidate:
    """Pick the strongest, or what it carries (rule 5), or what is spoken in its format (rule 7)."""
    first = candidates[0]
    if first.service in _CARRIERS:
        for other in candidates[1:]:
            if carries(first.service, other.service, other.over) and other.rank >= min(first.rank, _LIKELY):
                first = other
                break
    for other in candidates:
        enough = _LIKELY if other.own[0].kind is EvidenceKind.ANNOUNCED else max(first.rank, _LIKELY)
        if (other.rank >= enough or _shown(other) >= max(_shown(first), _LIKELY)) and is_inside(
            other.service, first.service, parents
        ):
            first = other
    return first


def _shown(candidate: _Candidate) -> int:
    """Give how sure the flow's own bytes are of it: 0 where they say nothing."""
    return max((piece.confidence.rank for piece in candidate.own if piece.kind is _PAYLOAD), default=0)


def _stale(by_service: dict[str, list[Evidence]], parents: Mapping[str, str]) -> set[str]:
    """Find services that only the cache speaks for, against the flow's own word (rule 6)."""
    stale = set()
    for service, own in by_service.items():
        if any(piece.kind is not EvidenceKind.ENDPOINT for piece in own):
            continue
        cached = Verdict(service=service, over=own[0].over, confidence=own[0].confidence)
        if any(
            contradicts(cached, piece, parents)
            for other, pieces in by_service.items()
            if other != service
            for piece in pieces
            if piece.kind in _OWN
        ):
            stale.add(service)
    return stale
