"""Who knows a secret: one word that only it makes sense of, and as many random bytes on a connection beside.

Both sides of a dialogue with arithmetic (`special/computed`) show keys, and what only the two of them can work out from
these ends the connection, where random bytes do not. The signature has the bytes: a probe with `special = "proof"` and
four steps.

| step | first connection | second, begun behind the first one's hash |
|---|---|---|
| 0 | our key: theirs comes back | the same: another one comes back |
| 1 | | random bytes right behind the key: goes on |
| 2 | the hash, as many bytes: closed; this is worth `reached` | |
| 3 | | more random bytes: goes on; then the hash: closed |

Who closes at a number of bytes or messages, or at what it does not understand, closes the second connection before its
hash; who closes neither, or both, knows nothing. Where only one connection of an address is taken, the second comes
after the first. Where another dialogue of the service (`contrast`) has come to something, or has opened two connections
when the first key comes, there is none: three are enough.
Without sockets: `talk` is a part of a conversation (see `dialogue`).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import TYPE_CHECKING, Final

from flowsonar.model import Confidence
from flowsonar.probes.dialogue import Attend, Attended, Beside, Close, Ended, Line, Nudge, Received, Talk
from flowsonar.probes.moves import Ask
from flowsonar.probes.replies import Judge
from flowsonar.probes.steps import Steps

if TYPE_CHECKING:
    from flowsonar.probes.contrast import Contrast
    from flowsonar.probes.questions import Questions

__all__ = ["PROOF", "STEPS", "TURNS_S", "TURN_S", "Proof"]

PROOF: Final = "proof"
"""The `special` of such a probe."""
STEPS: Final = 4
TURNS_S: Final = 2.2
"""Wait for the first words of a dialogue that the flow itself points to: two turns of a second, as aria2 makes them."""
TURN_S: Final = 0.2
"""Who takes so long for the first answer works in turns."""
AFTER_S: Final = 0.005
"""So long after their key a connection is to stand: who answers and then closes does it in one go. A round trip stands
for that wait, for who closes before our hash has reached it does not close at the hash."""
_KEY, _RANDOM, _HASH, _MORE = range(STEPS)


class Proof:
    """One try. `beside` makes questions on a connection of their own; `suspect`: the flow points to the service."""

    def __init__(
        self,
        move: Ask,
        questions: Questions,
        beside: Callable[[], Questions],
        steps: Steps,
        judge: Judge,
        *,
        suspect: bool,
    ) -> None:
        self._probe = move.probe
        self._exchange = questions.exchange
        self._questions = questions
        self._judge = judge
        self._suspect = suspect
        self._make: Callable[[], _Side] = lambda: _Side(move, beside(), steps.anew(), suspect=suspect)
        self._first = _Side(move, questions, steps, suspect=suspect)
        self._second = self._make()
        self._closes_s: float | None = None  # so long after the hash the first connection was closed
        self._over = False  # the first connection has come to nothing

    def talk(self) -> Talk[None]:
        """The whole of it."""
        first = self._first
        try:
            if not (yield from first.open()):
                return
            yield from first.say(_KEY)
            yield from first.hear_key()
            if first.key and (yield from self._hash()):
                yield from self._conclude()
        finally:
            self._over = True
        yield Nudge()

    def _hash(self) -> Talk[bool]:
        """Say the hash on the first connection; whether it was that what ended it."""
        first, second, exchange = self._first, self._second, self._exchange
        if not (yield from first.stays_silent(AFTER_S - first.trip_s)):
            return False
        yield from first.say(_HASH)
        if not exchange.seen.one_at_a_time and not self._judge.has_other_proof(self._probe) and not self._words:
            yield from first.beside(self._beside(second))
        if not (yield from first.is_closed()):
            return False
        self._closes_s = first.since_s
        yield from first.close()
        exchange.seen.one_at_a_time = exchange.seen.one_at_a_time or second.refused
        if second.over and not second.refused:
            return False  # it was closed at as many bytes
        reached = self._probe.steps[_HASH].reached
        if reached is not None:
            if self._judge.has_other_proof(self._probe):
                reached = Confidence.CONFIRMED
            self._judge.went_through(self._probe, {}, first.key, None, reached=reached)
        return self._judge.best is not Confidence.CONFIRMED

    @property
    def _words(self) -> Contrast | None:
        """What was put beside and has opened two connections: then it stands for the second one of this."""
        contrast = self._questions.contrast
        return contrast if contrast is not None and contrast.both else None

    def _weigh_words(self, words: Contrast) -> Talk[None]:
        """Await what was put beside: where it comes to nothing, that a random word was let stand is to do."""
        exchange = self._exchange
        while not words.over and exchange.left_s > 0:
            event = yield Attend(exchange.left_s)
            exchange.now_s = event.at_s
        if self._judge.has_other_proof(self._probe):
            self._judge.went_through(self._probe, {}, self._first.key, None)
        elif not words.stood and exchange.failed is None:
            self._judge.take_back(self._probe)

    def _conclude(self) -> Talk[None]:
        """Let the second connection go through the same, and say what it came to."""
        exchange, second = self._exchange, self._second
        if self._words is not None and not second.begun:
            yield from self._weigh_words(self._words)
            return
        if second.refused:
            second = self._second = self._make()
        yield Nudge() if second.begun else Beside(self._beside(second))
        while not second.over and exchange.left_s > 0:
            event = yield Attend(exchange.left_s)
            exchange.now_s = event.at_s
        if second.proved and second.key != self._first.key:
            self._judge.went_through(self._probe, {}, second.key, None)
        elif not self._is_excused():
            self._judge.take_back(self._probe)

    def _is_excused(self) -> bool:
        """Whether what the second connection left open says nothing against what the first has shown.

        So where we were cut off; and where the flow points to the service, the first key took long, and the second
        was only not answered in time: who works in turns may take several of them. Who answered at once the first
        time, and not the second, answers as he likes.
        """
        second = self._second
        if self._exchange.failed is not None:
            return True
        slow = self._suspect and self._first.key_s >= TURN_S
        return slow and second.silent and (not second.key or self._exchange.left_s <= 0)

    def _beside(self, side: _Side) -> Talk[None]:
        """The second connection: as many bytes as the first, then what becomes of that, then its own hash."""
        try:
            if not (yield from side.open()):
                return
            yield from side.say(_KEY)
            yield from side.say(_RANDOM)
            yield from side.hear_key()
            if not side.key or not (yield from side.stays_silent(AFTER_S)):
                return
            while self._closes_s is None and not self._over:
                event = yield Attend(side.exchange.left_s)
                if not (yield from side.take(event)):
                    return
            if not self._over:
                yield from self._go_through(side, self._closes_s or 0.0)
        finally:
            side.over = True

    @staticmethod
    def _go_through(side: _Side, closes_s: float) -> Talk[None]:
        if not (yield from side.goes_on(closes_s)):
            return
        yield from side.say(_MORE)
        if (yield from side.goes_on(closes_s)):
            yield from side.say(_HASH)
            side.proved = yield from side.is_closed()


class _Side:
    """One of the two connections."""

    def __init__(self, move: Ask, questions: Questions, steps: Steps, *, suspect: bool) -> None:
        self._move = move
        self._questions = questions
        self._steps = steps
        self._suspect = suspect
        self._line: Line | None = None
        self.exchange = questions.exchange
        self.key = b""
        """Theirs; empty while there is none."""
        self.key_s = 0.0
        """How long it took."""
        self.room = 0
        """Bytes that may still come behind the key, where it came alone."""
        self.begun = self.over = self.proved = self.silent = False
        """It was opened; it has ended; it was closed at the hash; the last question was not answered in time."""

    @property
    def refused(self) -> bool:
        """It was closed before it was answered anything."""
        return self.over and not self.key and not self.silent

    @property
    def trip_s(self) -> float:
        """A round trip, as the handshake took it; 0 where nobody knows."""
        return self._standing.rtt_s or 0.0

    @property
    def since_s(self) -> float:
        """Since the last message was said, on this connection's clock."""
        return self._standing.now_s - self._steps.said_s

    @property
    def _standing(self) -> Line:
        assert self._line is not None
        return self._line

    def open(self) -> Talk[bool]:
        """Open it, or take the one that stands; whether there is one."""
        self.begun = True
        self._line = yield from self._questions.line_for(self._move, self._steps, self._move.probe.steps[_KEY])
        return self._line is not None

    def say(self, number: int) -> Talk[None]:
        """Say the message of a step."""
        line, probe = self._standing, self._move.probe
        self._steps.number = number
        asked = self._questions.message(self._steps, probe.steps[number], line)
        yield from self.exchange.say(line, asked.message.data, probe)
        self._steps.said_s = line.now_s
        if number == _KEY:
            expect = probe.steps[_KEY].expect
            self._asked = asked if expect is None or expect.length is None else replace(asked, whole=expect.length[0])

    def hear_key(self) -> Talk[None]:
        """Wait for their key."""
        line, step = self._standing, self._move.probe.steps[_KEY]
        seconds = self._move.seconds if step.within_ms is None else step.within_ms / 1000
        began_s, seconds = line.now_s, max(seconds, TURNS_S) if self._suspect else seconds
        reply = yield from self.exchange.hear(line, self._asked, min(seconds, self.exchange.left_s))
        self.silent = not reply.data and not reply.closed
        if self._questions.holds(step, reply) and self.exchange.failed is None and line.end is None:
            assert step.expect is not None
            assert step.expect.length is not None
            least, most = step.expect.length
            self.key, self.key_s = reply.data[:least], line.now_s - began_s
            self.room = most - least if len(reply.data) == least else 0
            self._steps.previous.append(reply.data)

    def beside(self, talk: Talk[None]) -> Talk[None]:
        """Begin another conversation."""
        begun = yield Beside(talk)
        self.exchange.now_s = self._standing.now_s = begun.at_s

    def stays_silent(self, seconds: float) -> Talk[bool]:
        """Whether the connection stands so long after the key; what belongs to the key has come after `AFTER_S`."""
        ended = yield from self._ends(min(max(0.0, seconds), self.exchange.left_s))
        if seconds >= AFTER_S:
            self.room = 0
        return not ended

    def take(self, event: object) -> Talk[bool]:
        """After having attended: take what came; whether the connection goes on, and there is time left."""
        line = self._standing
        if isinstance(event, Attended):
            self.exchange.now_s = line.now_s = event.at_s
            if event.readable and (yield from self._ends(0.0)):
                return False
        return self.exchange.left_s > 0

    def goes_on(self, closes_s: float) -> Talk[bool]:
        """Whether the connection stands after the time in which who closes would have closed it.

        `closes_s` is how long that took elsewhere.
        """
        line = self._standing
        seconds = self._steps.stays_s(rtt_s=line.rtt_s, closes_s=closes_s, now_s=line.now_s)
        return not (yield from self._ends(min(seconds, self.exchange.left_s)))

    def is_closed(self) -> Talk[bool]:
        """Whether the connection is closed in time, without too many bytes before."""
        within_ms = self._move.probe.steps[_HASH].within_ms
        seconds = self._move.seconds if within_ms is None else within_ms / 1000
        yield from self._ends(min(seconds, self.exchange.left_s))
        end = self._standing.end
        self.silent = end is None
        by_it = end is not None and not end.unacknowledged
        return by_it and self.room >= 0 and self.exchange.failed is None

    def close(self) -> Talk[None]:
        """Give it up."""
        exchange = self.exchange
        exchange.leave()
        exchange.line = None
        exchange.now_s = self._standing.now_s
        closed = yield Close()
        exchange.now_s = closed.at_s

    def _ends(self, seconds: float) -> Talk[bool]:
        """Listen so long, or until the connection ends or says more than belongs to the key; whether it did."""
        line = self._standing
        until_s = line.now_s + seconds
        while True:
            event = yield from line.hear(max(0.0, until_s - line.now_s))
            self.exchange.now_s = line.now_s
            if isinstance(event, Received):
                self.exchange.seen.heard += len(event.data)
                self.room -= len(event.data)
                if self.room < 0:
                    return True
            else:
                return isinstance(event, Ended)
