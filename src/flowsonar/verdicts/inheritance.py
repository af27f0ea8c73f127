"""What flows have from their endpoints, as it becomes known, and what endpoints have from their flows.

From the cache when a flow opens, from answers as they come, from what another flow's responder said by itself. What a
flow's own bytes contradict leaves the cache. The rules about evidence are in `inherited`.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable
from typing import Final

from flowsonar.model import Answer, Confidence, Endpoint, Evidence, EvidenceKind, Outcome, Side, Verdict
from flowsonar.signatures import SignatureSet
from flowsonar.verdicts.cache import Cache
from flowsonar.verdicts.followed import Followed
from flowsonar.verdicts.inherited import contradicted, from_side, own_words, remembered
from flowsonar.verdicts.inquiry import sides

__all__ = ["Inheritance"]

_CONFIRMED: Final = Confidence.CONFIRMED
_LIKELY: Final = Confidence.LIKELY.rank

Add = Callable[[Followed, Iterable[Evidence], int], None]
"""Takes evidence about a flow, at a time in nanoseconds."""


class Inheritance:
    """Between the flows and what is known of endpoints; `cache` is None where nothing is kept."""

    def __init__(
        self,
        signatures: SignatureSet,
        cache: Cache | None,
        add: Add,
        *,
        served: Callable[[Endpoint], bool],
        counts: dict[str, int],
    ) -> None:
        self._signatures = signatures
        self._cache = cache
        self._add = add
        self._served = served
        self._counts = counts
        self._early: dict[Endpoint, list[Evidence]] = {}  # told of endpoints whose answer is still to come

    # -- from endpoints to flows --------------------------------------------------------------------------------

    def give(self, flow: Followed, endpoint: Endpoint, evidence: Iterable[Evidence], now_ns: int) -> None:
        """Evidence about one endpoint becomes evidence about the flow."""
        side = Side.RESPONDER if endpoint == flow.key.responder else Side.INITIATOR
        pieces = from_side(evidence, side, self._signatures, midstream=flow.midstream)
        if flow.passive.services.get("rtp", 0) >= _LIKELY:  # media that is sent back is media still
            pieces = [piece for piece in pieces if piece.service != "echo"]
        if pieces:
            flow.informed = True
            self._add(flow, pieces, now_ns)

    def give_kept(self, flow: Followed, endpoint: Endpoint, kept: Verdict, now_ns: int) -> None:
        """The same with a verdict that was kept."""
        flow.from_cache = endpoint
        self.give(flow, endpoint, (remembered(kept),), now_ns)

    def give_cached(self, flow: Followed, now_ns: int) -> None:
        """The same with what the cache knows, if it does, of the endpoint that says more."""
        if self._cache is None:
            return
        for endpoint in sides(flow.key, midstream=flow.midstream, served=self._served):
            cached = self._cache.verdict(endpoint, now_ns / 1e9)
            if cached is not None and cached.service is not None:
                self.give_kept(flow, endpoint, cached, now_ns)
                return

    def give_known(self, flow: Followed, now_ns: int) -> None:
        """The same with what became known after it was opened, or is proven while its endpoint is asked."""
        if flow.waiting is not None:
            early = self._early.get(flow.waiting)
            if early:
                self.give(flow, flow.waiting, early, now_ns)
        elif flow.from_cache is None:
            self.give_cached(flow, now_ns)

    # -- while an endpoint is asked -----------------------------------------------------------------------------

    def tell_early(self, answer: Answer, flows: Collection[Followed], now_ns: int) -> None:
        """Give what waits for an endpoint what is proven of it already; its answer replaces that."""
        if flows:
            self._early.setdefault(answer.endpoint, []).extend(answer.evidence)
        for flow in flows:
            self.give(flow, answer.endpoint, answer.evidence, now_ns)

    def take_early(self, endpoint: Endpoint) -> list[Evidence]:
        """What was told early of an endpoint; it is told no more."""
        return self._early.pop(endpoint, [])

    # -- from flows and answers to endpoints --------------------------------------------------------------------

    def remember(self, answer: Answer, verdict: Verdict, now_ns: int, *, whole: bool) -> None:
        """Let the cache know what an endpoint said, or that it did not, where the `whole` of it was asked."""
        if self._cache is None or answer.outcome in (Outcome.NOT_PERMITTED, Outcome.CANCELLED):
            return
        if verdict.confidence.rank >= _LIKELY:
            self._cache.learned(answer.endpoint, verdict, now_ns / 1e9)
        elif whole:
            self._cache.failed(answer.endpoint, answer.outcome, now_ns / 1e9, verdict)

    def learn(self, flow: Followed, now_ns: int) -> Verdict | None:
        """What the responder said by itself, if it proves anything, is as good as an answer: later flows inherit it."""
        if self._cache is None or flow.verdict.confidence is not _CONFIRMED or flow.midstream:
            return None
        verdict = own_words(flow.evidence, self._signatures)
        if verdict is None or verdict.service != flow.verdict.service:
            return None
        self._cache.learned(flow.key.responder, verdict, now_ns / 1e9)
        return verdict

    def check(self, flow: Followed) -> None:
        """What the flow's own bytes contradict leaves the cache, and no longer labels the flow."""
        if flow.from_cache is None or not contradicted(flow.evidence, self._signatures):
            return
        assert self._cache is not None
        self._counts["cache_contradicted"] += 1
        self._cache.forget(flow.from_cache)
        flow.from_cache = None
        flow.evidence = [piece for piece in flow.evidence if piece.kind is not EvidenceKind.ENDPOINT]
