"""What would be asked if nothing answered: the dry run, by the same planner that asks for real."""

from __future__ import annotations

from collections.abc import Sequence

from flowsonar.config import Settings
from flowsonar.model import Question, Transport
from flowsonar.probes.planner import Ask, Catalogue, Heard, Listen, Planner, Secure, Seen, Stop, TlsState
from flowsonar.signatures.sample import first_message, shown

__all__ = ["preview"]

_MOVES = 32
"""More moves than any conversation has."""


def preview(
    question: Question, signatures: Catalogue, settings: Settings, prior: Sequence[str] = (), *, amplifying: bool = True
) -> list[str]:
    """One line a move. Each move is taken as met with silence: a real conversation ends as soon as it can.

    `amplifying`: whether questions with large answers are permitted there.
    """
    budget = settings.budget
    planner = Planner(signatures, max_probes=budget.max_probes, timeout_s=budget.timeout_s)
    rtt_ms = question.hints.rtt_ms
    seen = Seen(rtt_s=None if rtt_ms is None else rtt_ms / 1000)
    udp = question.endpoint.transport is Transport.UDP
    lines: list[str] = []
    for _ in range(_MOVES):
        move = planner.next(question, seen, prior)
        fresh = not seen.open
        match move:
            case Stop():
                return lines or ["nothing: no signature has a question for it"]
            case Listen(seconds=seconds):
                lines.append(f"listen for {seconds:.2f} s")
                seen.patient = bool(seen.tried)
                seen.listened_s.setdefault(move.over, seconds)
                seen.elapsed_s += seconds
                seen.spent += fresh and not udp
                seen.silences += 1
                seen.open = True
            case Secure():
                lines.append("open TLS" + (f" for {name}" if (name := question.hints.server_name) else ""))
                seen.spent += 1
                seen.tls, seen.open, seen.last = TlsState.FAILED, False, Heard.SILENT
                seen.elapsed_s += 0.2
            case Ask(probe=probe, seconds=seconds):
                where = "" if udp or not (fresh or move.fresh) else " on a new connection"
                if probe.amplifies and not amplifying:
                    lines.append(f"not {probe.id}: its answer is large and the endpoint is outside the default scope")
                else:
                    message = first_message(probe, question.endpoint, question.hints.server_name)
                    said = f": {shown(message)}" if message is not None else ""
                    lines.append(f"ask {probe.id}{where}, wait {seconds:.2f} s{said}")
                seen.patient = seen.patient or (probe, move.over) in seen.tried
                seen.tried.append((probe, move.over))
                seen.spent += 1 if udp else int(fresh or move.fresh)
                seen.elapsed_s += seconds
                seen.silences += 1
                seen.open, seen.said, seen.last = True, True, Heard.SILENT
    return lines
