"""What matches prove: one side's words, beside what the other side has said."""

from __future__ import annotations

from typing import Final

from flowsonar.model import Confidence, Evidence, Side
from flowsonar.passive import evidence
from flowsonar.passive.flow import PassiveFlow
from flowsonar.passive.names import skype_request
from flowsonar.protocols import http, skype
from flowsonar.signatures.catalogue import SignatureSet
from flowsonar.signatures.rules import Match

__all__ = ["Judge"]

_INITIATOR: Final = Side.INITIATOR
_CONFIRMED: Final = Confidence.CONFIRMED
_LIKELY: Final = Confidence.LIKELY.rank
_TCP: Final = 6
_PLAIN_ANSWERS: Final = frozenset({"redis/value"})
"""Answers that say little alone (`+OK`, `:1`), and all after a question in the same framing."""


class Judge:
    """Knows of which patterns the files say that they prove nothing alone."""

    def __init__(self, signatures: SignatureSet) -> None:
        self._on_port = signatures.on_port
        self._greetings = signatures.greetings
        self._one_sided = signatures.one_sided
        self._is_slight = signatures.is_slight

    def __call__(
        self, flow: PassiveFlow, side: Side, data: bytes, matches: list[Match], *, asks: bool
    ) -> tuple[Evidence, ...]:
        """Turn the matches of one side's bytes into evidence; `asks`: the side asks, it does not answer."""
        if http.is_request(data):
            ours = skype_request(flow, data, side)
            if ours is not None:
                flow.note(ours)
                flow.finish()  # whatever the server answers, it is Skype's own request
                return (ours,)
        found = [evidence.from_match(match, side, data) for match in evidence.winners(matches)]
        best = found[0]
        direction = 0 if side is _INITIATOR else 1
        other = flow.said[1 - direction]
        if flow.said[direction] is None or self._greets(flow.said[direction]):
            flow.say(direction, best)
        fits = other is not None and self._fit(best, other)
        if flow.mirrored or (asks and not fits) or (not asks and _unasked(flow)):
            found = [evidence.at_most_likely(one) for one in found]
        elif fits and best.confidence is not _CONFIRMED and data != skype.BARE_404:
            detail = evidence.joined(best.detail, "both sides fit")
            found[0] = best._replace(confidence=_CONFIRMED, detail=detail)
        if not fits and flow.opened.midstream and flow.protocol == _TCP:
            found = [self._in_the_middle(one) for one in found]
        for one in found:
            flow.note(one)
        return tuple(found)

    def _in_the_middle(self, one: Evidence) -> Evidence:
        """What one side's bytes prove that are not the first ones: a few bits are there by chance."""
        if one.confidence.rank < _LIKELY or one.signature is None or not self._is_slight(one.signature):
            return one
        return one._replace(confidence=Confidence.GUESS)

    def has_told(self, flow: PassiveFlow, direction: int) -> bool:
        """Whether a direction's own words named a service; a greeting that anybody can say did not."""
        said = flow.said[direction]
        return said is not None and said.confidence.rank >= _LIKELY and not self._greets(said)

    def granted(self, flow: PassiveFlow) -> Evidence | None:
        """What a server's greeting proves now that the client went along; None where there is nothing more."""
        said = flow.said[1]
        if flow.confirmed or flow.mirrored or said is None or said.confidence is not _CONFIRMED:
            return None
        return said if flow.services.keys() <= {said.service} else None

    def waits(self, flow: PassiveFlow) -> bool:
        """Whether a side has only greeted and what comes next may prove more."""
        return not flow.confirmed and (self._greets(flow.said[0]) or self._greets(flow.said[1]))

    def _greets(self, said: Evidence | None) -> bool:
        return said is not None and said.signature in self._greetings

    def _fit(self, one: Evidence, other: Evidence) -> bool:
        """Whether a question and an answer of one service, each at least likely, prove it together."""
        if one.service != other.service:
            return False
        server = one if one.side is Side.RESPONDER else other
        if server.confidence is _CONFIRMED:
            return True  # it spoke before it was asked
        if self._greets(one) or self._greets(other):
            return False
        if self._one_sided.get(one.signature or "", one) is self._one_sided.get(other.signature or "", other):
            return False  # two clients, or two servers
        if {one.signature, other.signature} <= self._on_port:
            return False  # bytes that mean something only on that port: twice likely is still likely
        return (one.confidence.rank >= _LIKELY or one.signature in _PLAIN_ANSWERS) and other.confidence.rank >= _LIKELY


def _unasked(flow: PassiveFlow) -> bool:
    """Whether a server speaks before its client said anything: any port may say anything to who listens."""
    return flow.protocol == _TCP and not flow.counts[0] and not flow.opened.midstream
