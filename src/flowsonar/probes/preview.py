"""What would be asked if nothing answered: the dry run, by the same planner that asks for real."""

from __future__ import annotations

from collections.abc import Sequence

from flowsonar.config import Settings
from flowsonar.model import Question, Transport
from flowsonar.probes.moves import Ask, Heard, Listen, Secure, Seen, Spread, Stop, TlsState
from flowsonar.probes.order import Catalogue
from flowsonar.probes.session import planner_for
from flowsonar.signatures.sample import first_message, shown

__all__ = ["preview"]

_MOVES = 128
"""More moves than any conversation has."""


def preview(
    question: Question,
    signatures: Catalogue,
    settings: Settings,
    prior: Sequence[str] = (),
    *,
    expected: str | None = None,
    amplifying: bool = True,
) -> list[str]:
    """One line a move. Each move is taken as met with silence: a real conversation ends as soon as it can.

    `expected`: what the port had elsewhere; `amplifying`: whether questions with large answers are permitted there.
    """
    planner = planner_for(signatures, settings)
    rtt_ms = question.hints.rtt_ms
    seen = Seen(
        rtt_s=None if rtt_ms is None else rtt_ms / 1000, unanswered_left=planner.max_unanswered, expected=expected
    )
    rehearsal = _Rehearsal(question, seen, amplifying=amplifying)
    for _ in range(_MOVES):
        match planner.next(question, seen, prior):
            case Stop():
                break
            case Spread() as move:
                rehearsal.lines.append(f"and {move.number} at a time, each on a new connection:")
                seen.spread.add(move.over)
                began_s = seen.elapsed_s
                while (beside := planner.beside(question, seen, move.over, prior)) is not None:
                    before_s = seen.elapsed_s
                    rehearsal.make(beside)
                    seen.elapsed_s = before_s + (seen.elapsed_s - before_s) / move.number
                    seen.spent, seen.unanswered_left = seen.spent - 1, seen.unanswered_left - 1
                assert seen.elapsed_s >= began_s
            case move:
                rehearsal.make(move)
    return rehearsal.lines or ["nothing: no signature has a question for it"]


class _Rehearsal:
    """Makes moves that nobody answers."""

    def __init__(self, question: Question, seen: Seen, *, amplifying: bool) -> None:
        self._question = question
        self._seen = seen
        self._amplifying = amplifying
        self._udp = question.endpoint.transport is Transport.UDP
        self.lines: list[str] = []

    def make(self, move: Listen | Secure | Ask) -> None:
        """One line, and what silence makes of the conversation."""
        seen = self._seen
        match move:
            case Listen(seconds=seconds):
                self.lines.append(f"listen for {seconds:.2f} s")
                seen.patient = bool(seen.tried)
                seen.listened_s.setdefault(move.over, seconds)
                seen.elapsed_s += seconds
                seen.spent += not seen.open and not self._udp
                seen.silences += 1
                seen.open = True
            case Secure():
                name = self._question.hints.server_name
                self.lines.append("open TLS" + (f" for {name}" if name else ""))
                seen.spent += 1
                seen.tls, seen.open, seen.last = TlsState.FAILED, False, Heard.SILENT
                seen.securing = True
                seen.elapsed_s += 0.2
            case Ask():
                self._ask(move)

    def _ask(self, move: Ask) -> None:
        seen, probe, endpoint = self._seen, move.probe, self._question.endpoint
        fresh = not seen.open or move.fresh
        where = "" if self._udp or not fresh else " on a new connection"
        if probe.amplifies and not self._amplifying:
            self.lines.append(f"not {probe.id}: its answer is large and the endpoint is outside the default scope")
        else:
            message = first_message(probe, endpoint, self._question.hints.server_name)
            said = f": {shown(message)}" if message is not None else ""
            self.lines.append(f"ask {probe.id}{where}, wait {move.seconds:.2f} s{said}")
        seen.patient = seen.patient or (probe, move.over) in seen.tried
        seen.tried.append((probe, move.over))
        seen.spent += 1 if self._udp else int(fresh)
        seen.elapsed_s += move.seconds
        seen.silences += 1
        seen.open, seen.said, seen.last = True, True, Heard.SILENT
