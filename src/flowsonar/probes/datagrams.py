"""What to ask next over UDP: there is no handshake, one datagram tells little, and answers may come late.

The first questions are waited for; the others follow each other within milliseconds, for every datagram that comes is
compared to all that were asked.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from flowsonar.model import Confidence, Hints, Question, Side, Transport
from flowsonar.probes.moves import Ask, Listen, Move, Secure, Seen, Stop
from flowsonar.probes.ranking import Ranking
from flowsonar.probes.waits import Waits
from flowsonar.protocols.quic import is_long_header

__all__ = ["Datagrams"]

DATAGRAMS: Final = 2
"""Datagrams that may be sent to an endpoint that answered as a service does, for each connection that one may have."""
REPEATS: Final = 3
"""Times that a probe is put again because its answer came late in a dialogue, or only counts when it comes twice."""
RETRY_AFTER_S: Final = 1.2
"""A datagram may be lost: the best one is sent once more this long after the beginning."""


class Datagrams:
    """Says the next move for a UDP endpoint. Holds nothing but the bounds."""

    def __init__(self, ranking: Ranking, waits: Waits, *, max_probes: int, max_unanswered: int) -> None:
        self._ranking = ranking
        self._waits = waits
        self._most = DATAGRAMS * max_probes
        self._most_unanswered = max(self._most, max_unanswered)

    def next(self, question: Question, seen: Seen, prior: Sequence[str]) -> Move:
        """The next move."""
        if question.hints.beside and seen.tried:
            return Stop("one question was enough")
        if not seen.tried and not seen.securing and _shows_quic(question.hints):
            return Secure()
        most_unanswered = min(self._most_unanswered, seen.most)
        most = min(self._most, seen.most) if seen.candidates else most_unanswered
        if seen.again is not None:
            if seen.repeats < REPEATS and seen.spent < most_unanswered:
                return Ask(seen.again, self._waits.reply_s(seen, strong=True))
            return Stop("out of datagrams")
        for probe, strong in self._ranking.ranked(question, seen, None, prior):
            if seen.spent + probe.connections > most - (0 if seen.heard else 1) and seen.tried:
                continue
            if not strong and seen.best is Confidence.LIKELY:
                return Stop("likely, and nothing left that would tell more")
            if seen.echoes and probe.service != "echo":
                continue
            return Ask(probe, self._waits.datagram_s(seen, strong=strong))
        if seen.best is Confidence.LIKELY or not seen.tried or seen.patient or seen.heard:
            return Stop("nothing left to ask")
        return self._again(seen, most)

    def carries(self, question: Question, seen: Seen) -> bool:
        """Whether it is QUIC that nobody has looked into yet."""
        quic = question.endpoint.transport is Transport.UDP and seen.best_service == "quic"
        return quic and not seen.securing and not self._waits.over(seen)

    def _again(self, seen: Seen, most: int) -> Move:
        """Nothing was heard: wait, and send the best once more."""
        left_s = self._waits.left_s(seen)
        if seen.elapsed_s < RETRY_AFTER_S and seen.spent < most:
            return Listen(min(RETRY_AFTER_S - seen.elapsed_s, left_s))
        first = next((probe for probe, _ in seen.tried if probe.connections == 1), None)
        if seen.spent < most and first is not None:
            return Ask(first, left_s)
        return Listen(left_s)


def _shows_quic(hints: Hints) -> bool:
    """Whether the flow's client speaks QUIC to the endpoint: its Initial says with which names."""
    return hints.side is Side.RESPONDER and is_long_header(hints.initiator_bytes)
