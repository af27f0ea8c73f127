"""Conversations that go as others went: learned from whole sessions, held without planning and weighing anew.

Most endpoints of a list are alike: they greet, or answer the first question, and the reply says what they are. How a
session went about which nothing was known beforehand, on a short path, is remembered: its first moves, and what was
made of a reply for which these patterns hold. The next conversation makes the same moves. As soon as anything else
happens, or other patterns hold, a session is told what happened so far and goes on from there: what is said here is
what a session says. Without sockets: `Brief.talk()` yields commands and is sent events (see `dialogue`).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Final, NamedTuple

from flowsonar import limits
from flowsonar.model import Answer, Confidence, Evidence, EvidenceKind, Hints, Outcome, Question, Transport
from flowsonar.probes.dialogue import (
    Close,
    Closed,
    Command,
    Connect,
    Connected,
    Event,
    Received,
    Send,
    Sent,
    Talk,
    TimedOut,
    Wait,
)
from flowsonar.probes.exchange import packed
from flowsonar.probes.session import Session
from flowsonar.probes.weighing import shown, tells_tls
from flowsonar.protocols.http import body_to_come
from flowsonar.signatures.catalogue import SignatureSet
from flowsonar.signatures.conditions import is_echo
from flowsonar.signatures.language import ProbeSpec
from flowsonar.signatures.matcher import Match, Matcher, Reply
from flowsonar.signatures.templates import ConnectionFacts

__all__ = ["Brief", "Briefs"]

NEAR_S: Final = 0.002
"""Round trips up to this make waits that differ by no more than themselves."""
_SCRIPTS: Final = 1024
"""Beginnings remembered; then all are forgotten."""
_VERDICTS: Final = 1024
"""What was made of replies, for each beginning; then all is forgotten."""
_SAME: Final = 64
"""Replies of which is remembered what they say; then all are forgotten. Many endpoints answer the very same."""
_SAME_BYTES: Final = 2048
"""Longer ones are not remembered."""
_STEPS: Final = 5
"""Commands of the longest conversation that is remembered: connect, listen, ask, hear, close."""
_NOTHING_SHOWN: Final = Hints()
_CLOSE: Final = Close()

_Said = tuple[Command, Event]


class _Question(NamedTuple):
    """What is asked where nothing was heard."""

    send: Send
    wait: Wait


class _Verdict(NamedTuple):
    """What was made of a reply."""

    matches: tuple[Match, ...]
    """Held, so that their numbers stay theirs."""
    evidence: tuple[Evidence, ...]
    shows: tuple[bool, ...]
    """Whose detail is the reply itself."""
    data: bytes
    """The reply that it was made of."""


class _Script:
    """How conversations with one beginning go."""

    __slots__ = ("connect", "listen", "question", "same", "verdicts")

    def __init__(self) -> None:
        self.connect: Connect | None = None  # None: nothing was learned yet
        self.listen: Wait | None = None  # None: it is asked at once
        self.question: _Question | None = None
        self.verdicts: dict[tuple[object, ...], _Verdict] = {}
        self.same: dict[tuple[bool, bytes], tuple[Evidence, ...]] = {}
        """Of replies that say the same whoever gives them, by whether they were asked for."""


class Briefs:
    """What was learned, for the endpoints of one prober."""

    def __init__(self, signatures: SignatureSet, matcher: Matcher) -> None:
        self._signatures = signatures
        self._matcher = matcher
        self._formats = frozenset(signatures.parents.values())
        self._scripts: dict[tuple[object, ...], _Script] = {}
        self.counts = {"brief": 0}
        """Conversations that needed no session."""

    def brief(
        self,
        question: Question,
        prior: Sequence[str | None],
        *,
        now_s: float,
        session: Callable[[], Session],
        note: Callable[[Evidence], None],
    ) -> Brief | None:
        """A conversation of this kind, where the question is one for it; `session` makes the whole one."""
        endpoint = question.endpoint
        if endpoint.transport is not Transport.TCP or question.hints != _NOTHING_SHOWN:
            return None
        key = (self._signatures.by_port(Transport.TCP, endpoint.port), ":" in endpoint.address, *prior)
        script = self._scripts.get(key)
        if script is None:
            if len(self._scripts) >= _SCRIPTS:
                self._scripts.clear()
            script = self._scripts[key] = _Script()
        return Brief(self, script, question, now_s, session, note)

    def reply(self, question: Question, connected: Connected, data: bytes, asked: Send | None) -> Reply:
        """What a session would give the matcher."""
        facts = ConnectionFacts(
            target_address=packed(question.endpoint.address),
            target_port=question.endpoint.port,
            prober_address=packed(connected.local_address),
            prober_port=connected.local_port,
        )
        return Reply(
            probe="listen" if asked is None else asked.probe,
            step=0,
            data=data,
            transport=Transport.TCP,
            sent=facts.sent(),
            message=b"" if asked is None else asked.data,
        )

    def judged(
        self, script: _Script, question: Question, connected: Connected, data: bytes, asked: Send | None
    ) -> tuple[Evidence, ...] | None:
        """What a session would make of a reply; None where that is not known."""
        key = (asked is None, data)
        known = script.same.get(key)
        if known is not None:
            return known
        reply = self.reply(question, connected, data, asked)
        evidence = self._judged(script, reply)
        if evidence is not None and len(data) <= _SAME_BYTES and self._matcher.is_anyones(reply):
            if len(script.same) >= _SAME:
                script.same.clear()
            script.same[key] = evidence
        return evidence

    def _judged(self, script: _Script, reply: Reply) -> tuple[Evidence, ...] | None:
        data = reply.data
        if is_echo(data, reply.message):
            return None
        matches = self._matcher.reply(reply)
        verdict = script.verdicts.get(self._key(reply, matches))
        if verdict is None:
            return None
        if data == verdict.data:
            return verdict.evidence
        if tells_tls(reply, matches[:1]) or (matches[0].service in self._formats and body_to_come(data)):
            return None
        return tuple(
            _about(piece, reply, shows=shows) for piece, shows in zip(verdict.evidence, verdict.shows, strict=True)
        )

    def _key(self, reply: Reply, matches: Sequence[Match]) -> tuple[object, ...]:
        # with recog's knowledge matches are made anew each time: then they themselves are compared
        return reply.probe, *(map(id, matches) if self._matcher.knowledge is None else matches)

    # -- learning -----------------------------------------------------------------------------------------------

    def learn(self, script: _Script, question: Question, said: Sequence[_Said], answer: Answer) -> None:
        """Remember how a session went, as far as another may go like it."""
        if not said or not _is_near(said[0][1]):
            return
        connect, connected = said[0]
        listen, rest = None, said[1:]
        asked: Send | None = None
        if rest and type(rest[0][0]) is Wait:
            listen, heard = rest[0]
            rest = rest[1:]
            if type(heard) is Received:
                rest = [(listen, heard), *rest]
            elif type(heard) is not TimedOut or heard.unacknowledged:
                return
        assert isinstance(connect, Connect)
        assert isinstance(connected, Connected)
        if script.connect is None:
            script.connect, script.listen = connect, listen if isinstance(listen, Wait) else None
        if rest and isinstance(rest[0][0], Send):
            asked, sent = rest[0][0], rest[0][1]
            rest = rest[1:]
            if not self._is_constant(asked) or type(sent) is not Sent or sent.held_s:
                return
        if [(type(command), type(event)) for command, event in rest] != [(Wait, Received), (Close, Closed)]:
            return
        wait, received = rest[0]
        assert isinstance(wait, Wait)
        assert isinstance(received, Received)
        if asked is not None:
            if script.question is None:
                script.question = _Question(asked, wait)
            elif script.question.send != asked:
                return
        self._learn_verdict(script, self.reply(question, connected, received.data, asked), answer)

    def _learn_verdict(self, script: _Script, reply: Reply, answer: Answer) -> None:
        matches = self._matcher.reply(reply)
        details = {match.pattern: match.detail for match in matches}
        if answer.outcome is not Outcome.ANSWERED or answer.connections != 1 or not answer.evidence:
            return
        if not any(piece.confidence is Confidence.CONFIRMED for piece in answer.evidence):
            return
        shows = []
        for piece in answer.evidence:
            signature = self._signatures.services.get(piece.service or "")
            if piece.kind is not EvidenceKind.REPLY or signature is None or signature.announced is not None:
                return
            detail = details.get(piece.signature or "")
            if detail is None or piece.data != reply.data[: limits.EVIDENCE_BYTES]:
                return
            if piece.detail != (detail or shown(reply)):
                return
            shows.append(not detail)
        if len(script.verdicts) >= _VERDICTS:
            script.verdicts.clear()
        script.same.clear()  # what a session made of it since counts
        script.verdicts[self._key(reply, matches)] = _Verdict(tuple(matches), answer.evidence, tuple(shows), reply.data)

    def _is_constant(self, asked: Send) -> bool:
        """Whether everybody is asked the very same by this probe, and its one reply is all there is to it."""
        probe: ProbeSpec | None = self._signatures.probe(asked.probe)
        if probe is None or len(probe.steps) != 1 or probe.special is not None or probe.starttls or asked.amplifies:
            return False
        step = probe.steps[0]
        if step.send is None or step.expect is not None or step.within_ms is not None:
            return False
        return all(isinstance(part, bytes) or getattr(part, "name", "") == "agent" for part in step.send.parts)


class Brief:
    """Asks one endpoint. `talk` is run once."""

    __slots__ = ("_began_s", "_briefs", "_make", "_note", "_question", "_script", "_session")

    def __init__(
        self,
        briefs: Briefs,
        script: _Script,
        question: Question,
        now_s: float,
        session: Callable[[], Session],
        note: Callable[[Evidence], None],
    ) -> None:
        self._briefs = briefs
        self._script = script
        self._question = question
        self._began_s = now_s
        self._make = session
        self._note = note
        self._session: Session | None = None

    @property
    def evidence(self) -> tuple[Evidence, ...]:
        """What was found so far."""
        return self._session.evidence if self._session is not None else ()

    def answer(self, outcome: Outcome, detail: str, now_s: float) -> Answer:
        """What the conversation came to, where it was cut short from outside."""
        if self._session is not None:
            return self._session.answer(outcome, detail, now_s)
        took_ms = (now_s - self._began_s) * 1000
        return Answer(endpoint=self._question.endpoint, outcome=outcome, detail=detail, took_ms=took_ms)

    def talk(self) -> Talk[Answer]:
        """The whole conversation."""
        script = self._script
        connect, listen, question = script.connect, script.listen, script.question
        if connect is None:
            return (yield from self._whole([]))
        event: Event
        connected = event = yield connect
        said: list[_Said] = [(connect, event)]
        if not _is_near(event):
            return (yield from self._whole(said))
        if listen is not None:
            event = yield listen
            said.append((listen, event))
        asked: Send | None = None
        quiet = listen is None or (type(event) is TimedOut and not event.unacknowledged)
        if quiet and question is not None:
            asked = question.send
            event = yield asked
            said.append((asked, event))
            if type(event) is not Sent or event.held_s:
                return (yield from self._whole(said))
            event = yield question.wait
            said.append((question.wait, event))
        if type(event) is Received:
            assert isinstance(connected, Connected)
            evidence = self._briefs.judged(script, self._question, connected, event.data, asked)
            if evidence is not None:
                for piece in evidence:
                    self._note(piece)
                closed = yield _CLOSE
                self._briefs.counts["brief"] += 1
                return Answer(
                    endpoint=self._question.endpoint,
                    outcome=Outcome.ANSWERED,
                    evidence=evidence,
                    connections=1,
                    bytes_sent=0 if asked is None else len(asked.data),
                    rtt_ms=(connected.rtt_s or 0.0) * 1000,
                    took_ms=(closed.at_s - self._began_s) * 1000,
                )
        return (yield from self._whole(said))

    def _whole(self, said: Sequence[_Said]) -> Talk[Answer]:
        """Let a session go on after what was said, and learn from it."""
        session = self._session = self._make()
        talk = session.talk()
        told: list[_Said] = []
        try:
            command = next(talk)
            for before, event in said:
                if not _is_same(command, before):
                    break  # another one would have been asked: it begins anew
                told.append((command, event))
                command = talk.send(event)
            else:
                while True:
                    event = yield command
                    if len(told) <= _STEPS:
                        told.append((command, event))
                    command = talk.send(event)
        except StopIteration as stop:
            answer: Answer = stop.value
            if len(told) <= _STEPS:
                self._briefs.learn(self._script, self._question, told, answer)
            return answer
        finally:
            talk.close()
        yield _CLOSE
        answer = yield from self._whole(())
        return replace(answer, connections=answer.connections + 1)


def _is_near(event: Event) -> bool:
    return type(event) is Connected and event.rtt_s is not None and event.rtt_s <= NEAR_S and not event.held_s


def _is_same(command: Command, before: Command) -> bool:
    """Whether a session says what was said; how long it would have waited may differ by what is near."""
    if type(command) is not type(before):
        return False
    if isinstance(command, Wait) and isinstance(before, Wait):
        return abs(command.seconds - before.seconds) < 4 * NEAR_S
    if isinstance(command, Connect) and isinstance(before, Connect):
        return command.probe == before.probe
    return command == before


def _about(piece: Evidence, reply: Reply, *, shows: bool) -> Evidence:
    """The same evidence, of another reply."""
    detail = shown(reply) if shows else piece.detail
    return piece._replace(detail=detail, data=reply.data[: limits.EVIDENCE_BYTES])
