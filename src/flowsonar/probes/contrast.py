"""Two connections side by side on which one letter differs: who treats them differently knows the word.

A peer that is slow to prove itself (BitTorrent's message stream encryption waits for its turn to send) is quick to
close. So while the slow dialogue waits, a word of the protocol is said on one connection, and the same word with one
letter changed on another. The signature has the bytes: a probe with `special = "contrast"` and three steps, the wrong
word, the right one, and what may follow either.

| the slow dialogue | wrong word | right word | what it shows |
|---|---|---|---|
| still waits | word and rest: goes on | word and rest: closed | takes more than the word, but not what it names |
| was closed at once | closed | goes on, and is closed after the rest | takes nothing but the word |

What goes on gets its rest byte by byte: who closes by chance would have closed at one of them. The wrong word gets as
many bytes as the right one, for a server may count them: as the length of something in BER, `B` is 66.

The wrong word is said to its end first, and looked at again after the right one was closed, so a server that closes or
accepts at the ticks of a clock, or closes who is silent for long, treats both alike or closes the wrong one first.
Without sockets: `talk` is a part of a conversation (see `dialogue`).
"""

from __future__ import annotations

import random
from collections.abc import Callable
from typing import Final

from flowsonar.model import Confidence
from flowsonar.probes.dialogue import Attend, Attended, Begun, Beside, Close, Ended, Line, Talk, TimedOut
from flowsonar.probes.exchange import Exchange
from flowsonar.probes.replies import Judge
from flowsonar.signatures.language import ProbeSpec
from flowsonar.signatures.templates import render

__all__ = ["CONTRAST", "Contrast"]

CONTRAST: Final = "contrast"
"""The `special` of such a probe."""
HEADSTART_S: Final = 0.03
"""How long the slow dialogue has for itself: most peers answer it within this, and nothing else is needed."""
AT_ONCE_S: Final = 0.01
"""Added to two round trips: who closes at what it does not know, or takes one connection of an address only, has done
so by then."""
STAYS_S: Final = 0.05
"""Who closes at once would have."""
REFUSED_S: Final = 0.2
"""The same where the dialogue was closed at once: who does that closes at the wrong word too, if late when busy."""
AFTER_S: Final = 0.02
"""The wrong word's connection gets so much longer than the right one's."""
BYTES: Final = 18
"""Of the right word's rest that come one by one: the word of 28 bytes and they are less than a handshake's 48."""
PAUSE_S: Final = 0.0015
"""Between two of them, so that each is read by itself."""
CLOSES_S: Final = 1.6
"""Longest wait for the end of a connection: some clients look at theirs once a second."""


class Contrast:
    """One try beside a dialogue on `slow`. `make` gives an exchange of its own each time it is called."""

    def __init__(
        self, probe: ProbeSpec, slow: Exchange, make: Callable[[], Exchange], judge: Judge, pick: random.Random
    ) -> None:
        self._probe = probe
        self._slow = slow
        self._make = make
        self._judge = judge
        self._pick = pick
        self.over = False
        """It has come to its end."""
        self.both = False
        """The right word's connection was opened as well: with the dialogue's own there are three."""
        self.stood = False
        """The wrong word and its rest were let stand to the end."""
        self._ended = False  # the right word's connection was closed without a byte, when it should be
        self._done = False  # and its part is over

    def talk(self) -> Talk[None]:
        """The whole of it."""
        try:
            line = self._slow.line
            yield Attend(HEADSTART_S + 2 * (self._slow.seen.rtt_s or 0.0))
            if line is None or line.heard or self._slow.seen.one_at_a_time:
                return
            if self._judge.best is Confidence.UNKNOWN:
                yield from self._words(line, refused=line.end is not None)
        finally:
            self.over = True

    def _words(self, slow: Line, *, refused: bool) -> Talk[None]:
        exchange = self._make()
        try:
            wrong = yield from exchange.open(None, self._probe.id)
            if wrong is None:
                return
            yield from self._say(exchange, wrong, 0)
            event = yield from wrong.hear((REFUSED_S if refused else AT_ONCE_S) + 2 * (wrong.rtt_s or 0.0))
            if refused:
                yield Close()
            if not isinstance(event, Ended if refused else TimedOut):
                exchange.seen.one_at_a_time = isinstance(event, Ended)
                return
            if not refused and (slow.heard or not (yield from self._goes_on(exchange, wrong)) or slow.heard):
                return  # the dialogue goes on, with a second connection of its own
            self.both, self.stood = True, not refused
            begun = yield Beside(self._right(refused=refused))
            assert isinstance(begun, Begun)
            yield from self._await(wrong, begun.at_s, refused=refused)
        finally:
            exchange.leave()

    def _await(self, wrong: Line, now_s: float, *, refused: bool) -> Talk[None]:
        """Wait for what becomes of the right word, and judge."""
        until_s = now_s + 2 * CLOSES_S
        while not self._done and now_s < until_s:
            event = yield Attend(until_s - now_s)
            now_s = wrong.now_s = event.at_s
            if isinstance(event, Attended) and event.readable and not refused:
                self.stood = False
                return  # the wrong word was answered, or closed
        if self._ended and not refused:
            later = yield from wrong.hear(AFTER_S)
            self.stood = self._ended = isinstance(later, TimedOut)
        if self._ended:
            self._judge.went_through(self._probe, {}, b"", None, reached=self._probe.confidence)

    def _right(self, *, refused: bool) -> Talk[None]:
        """Say the right word on a connection of its own."""
        exchange = self._make()
        try:
            line = yield from exchange.open(None, self._probe.id)
            if line is None:
                return
            yield from self._say(exchange, line, 1)
            if refused:
                event = yield from line.hear(STAYS_S)
                if not isinstance(event, TimedOut) or not (yield from self._goes_on(exchange, line, BYTES)):
                    return
            yield from self._say(exchange, line, 2)
            event = yield from line.hear(CLOSES_S)
            self._ended = isinstance(event, Ended) and exchange.failed is None
        finally:
            exchange.leave()
            self._done = True

    def _goes_on(self, exchange: Exchange, line: Line, number: int | None = None) -> Talk[bool]:
        """Whether the connection stands and is silent after each byte of the rest, or of so many."""
        rest = self._bytes(exchange, line, 2)[:number]
        for place in range(len(rest)):
            yield from exchange.say(line, rest[place : place + 1], self._probe)
            event = yield from line.hear(PAUSE_S)
            if not isinstance(event, TimedOut) or exchange.failed is not None:
                return False
        return True

    def _say(self, exchange: Exchange, line: Line, step: int) -> Talk[None]:
        yield from exchange.say(line, self._bytes(exchange, line, step), self._probe)

    def _bytes(self, exchange: Exchange, line: Line, step: int) -> bytes:
        template = self._probe.steps[step].send
        assert template is not None
        return render(template, exchange.facts(line), {}, self._pick).data
