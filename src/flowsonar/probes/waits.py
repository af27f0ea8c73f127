"""How long to wait for what: a few round trips of the path, never longer than the time that is left."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

from flowsonar.model import Layer, Question, Side
from flowsonar.probes.moves import Seen, clamp
from flowsonar.probes.special.tls import looks_like_tls
from flowsonar.signatures.language import Speaker

__all__ = ["LEAST_S", "Waits"]

LISTEN_FLOOR_S: Final = 0.008
"""Most local servers greet within this; a few round trips are added where the path is longer. A later greeting is
known for what it is when it comes with the answer to our question."""
GREETING_TRIPS: Final = 1.0
"""Round trips from our connection to its greeting."""
LISTEN_INSIDE_S: Final = 0.022
"""Added inside TLS: after the work of a handshake a server takes longer to greet."""
LISTEN_NO_ALPN_S: Final = 0.2
"""Added inside TLS where the flow's client offered no ALPN: it is no browser, and the server may well speak first."""
LISTEN_CEILING_S: Final = 1.0
"""Longest first listen, where flow or port say that the server speaks first."""
LISTEN_LAST_S: Final = 0.6
"""Who hangs up on every question may greet those that ask nothing: libvncserver does after a tenth to a third."""
REPLY_FLOOR_S: Final = 0.15
"""A local server answers within this even on a busy machine; the first question's answer is waited for to the end."""
FIRST_FLOOR_S: Final = 0.25
"""The same for the first question: others follow side by side, and most that answer at all answer this one."""
BESIDE_FLOOR_S: Final = 0.25
"""The same where questions are put side by side: each has only this one chance."""
REPLY_CEILING_S: Final = 1.2
DATAGRAM_FLOOR_S: Final = 0.05
"""A server near by answers a datagram within this; a later answer is still heard when others were asked."""
DATAGRAM_GAP_S: Final = 0.008
"""Between datagrams that nothing points to: an answer to an earlier one is still heard, and known for what it is."""
DATAGRAMS_ALONE: Final = 2
"""Datagrams that are waited for before others follow: most endpoints are known by then."""
RTT_UNKNOWN_S: Final = 0.03
"""Of a host that nothing was heard of yet: over UDP no handshake tells."""
STAGGER_S: Final = 0.02
"""Between the beginnings of connections side by side, and two round trips of the path: who knows the question
answers within this, so the next one is often not needed."""
LEAST_S: Final = 0.02
"""With less time left than this nothing new is begun."""


class Waits:
    """Times in seconds, for a conversation that may take `timeout_s`."""

    def __init__(self, timeout_s: float) -> None:
        self.timeout_s = timeout_s

    def left_s(self, seen: Seen) -> float:
        """What is left of the time for the endpoint."""
        return max(0.0, self.timeout_s - seen.elapsed_s)

    def over(self, seen: Seen) -> bool:
        """Too little is left to begin anything."""
        return self.timeout_s - seen.elapsed_s < LEAST_S

    def reply_s(self, seen: Seen, *, strong: bool) -> float:
        """For a reply, before something else is tried; `strong`: something points to the service."""
        floor_s = 2 * REPLY_FLOOR_S if strong else REPLY_FLOOR_S if seen.tried else FIRST_FLOOR_S
        return min(clamp(3 * _rtt_s(seen) + floor_s, floor_s, REPLY_CEILING_S), self.left_s(seen))

    def beside_s(self, seen: Seen, *, strong: bool) -> float:
        """For a reply to one of several questions that are put at a time."""
        floor_s = 2 * BESIDE_FLOOR_S if strong else BESIDE_FLOOR_S
        return min(clamp(3 * _rtt_s(seen) + floor_s, floor_s, REPLY_CEILING_S), self.left_s(seen))

    def stagger_s(self, seen: Seen) -> float:
        """Between the beginnings of two connections side by side."""
        return min(STAGGER_S + 2 * _rtt_s(seen), REPLY_CEILING_S)

    def datagram_s(self, seen: Seen, *, strong: bool) -> float:
        """The same for a datagram; where nothing points to it, others follow soon."""
        if len(seen.tried) >= DATAGRAMS_ALONE and not strong:
            return min(DATAGRAM_GAP_S, self.left_s(seen))
        floor_s = 2 * DATAGRAM_FLOOR_S if strong else DATAGRAM_FLOOR_S
        return min(clamp(3 * _rtt_s(seen) + floor_s, floor_s, REPLY_CEILING_S), self.left_s(seen))

    def last_listen_s(self, seen: Seen) -> float:
        """For the greeting of a server that hangs up on whoever speaks first."""
        return min(LISTEN_LAST_S + 2 * _rtt_s(seen), self.left_s(seen))

    def listen_s(self, question: Question, seen: Seen, over: Layer | None, speakers: Iterable[Speaker] = ()) -> float:
        """How long to listen before speaking; 0: not at all. `speakers`: who speaks first in services pointed to."""
        if over in seen.listened_s or any(layer is over for _, layer in seen.tried):
            return 0.0
        hints = question.hints
        first = hints.first_speaker if hints.side is Side.RESPONDER and not hints.midstream else None
        rtt_s = _rtt_s(seen)
        patient_s = clamp(4 * rtt_s + 0.5, LISTEN_FLOOR_S, LISTEN_CEILING_S)
        if over is None and first is not None:
            return patient_s if first is Side.RESPONDER else 0.0
        for speaker in speakers:
            if speaker is not Speaker.EITHER:
                return patient_s if speaker is Speaker.SERVER else 0.0
        listen_s = GREETING_TRIPS * rtt_s + LISTEN_FLOOR_S
        if over is Layer.TLS:
            # who thinks long in the handshake is slow to greet too
            listen_s += LISTEN_INSIDE_S + max(0.0, seen.handshake_s - 2 * rtt_s)
            if looks_like_tls(hints.initiator_bytes) and not hints.alpn:
                listen_s += LISTEN_NO_ALPN_S  # who speaks HTTP would have offered it
        return clamp(listen_s, LISTEN_FLOOR_S, LISTEN_CEILING_S)


def _rtt_s(seen: Seen) -> float:
    return RTT_UNKNOWN_S if seen.rtt_s is None else seen.rtt_s
