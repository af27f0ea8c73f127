"""Why an endpoint has its label: everything the store knows of it, for people.

One `rich.text.Text`, so that no console reads markup in it; `.plain` is the same without colours. Every word that came
from the network passes `visible`, every byte is shown as hex and text.
"""

from __future__ import annotations

import time
from typing import Final

from rich.text import Text

from flowsonar.model import Confidence, Endpoint, Evidence, Verdict
from flowsonar.protocols import skype
from flowsonar.verdicts.stored import Asked, Change, Stored
from flowsonar.verdicts.visible import hexdump, visible

__all__ = ["CONFIDENCE_STYLES", "explain"]

CONFIDENCE_STYLES: Final = {
    Confidence.CONFIRMED: "bold green",
    Confidence.LIKELY: "yellow",
    Confidence.GUESS: "cyan",
    Confidence.UNKNOWN: "dim",
}

_KIND_SENTENCES: Final = {
    "reply": "it answered our probe",
    "payload": "the flow's own bytes",
    "announced": "another flow said that this one would come",
    "endpoint": "known from before",
    "behaviour": "how it acts",
    "name": "a name that goes with it",
    "port": "the port number alone",
}


def explain(stored: Stored, now_s: float | None = None) -> Text:
    """Tell verdict, evidence piece by piece, conflicts, failures, history and what was asked."""
    now_s = time.time() if now_s is None else now_s
    text = Text()
    _headline(text, stored, now_s)
    _evidence(text, stored.verdict)
    if stored.failures:
        how = visible(stored.outcome) if stored.outcome else "nothing that identifies it"
        often = "once" if stored.failures == 1 else f"{stored.failures} times in a row"
        text.append(f"  asked in vain   {often}, last: {how}")
        if stored.retry_s > now_s:
            text.append(f"; not asked again for {_duration(stored.retry_s - now_s)}")
        text.append("\n")
    _history(text, stored.history)
    _asked(text, stored.asked)
    text.rstrip()
    return text


def _headline(text: Text, stored: Stored, now_s: float) -> None:
    verdict = stored.verdict
    text.append(_endpoint(stored.endpoint), style="bold")
    text.append("  ")
    text.append(_service(verdict), style=CONFIDENCE_STYLES[verdict.confidence])
    text.append(f"  {verdict.confidence}\n")
    product = " ".join(visible(part) for part in (verdict.product, verdict.version) if part)
    lines = [
        ("product", product),
        ("cpe", visible(verdict.cpe or "")),
        ("class", verdict.traffic_class.value if verdict.service else ""),
        ("name", visible(verdict.name or "")),
        ("decided", _validity(stored, now_s)),
        ("conflicts", ", ".join(visible(other) for other in verdict.conflicts)),
    ]
    for name, value in lines:
        if value:
            text.append(f"  {name:<15} ", style="dim")
            text.append(value, style="red" if name == "conflicts" else "")
            text.append("\n")


def _validity(stored: Stored, now_s: float) -> str:
    if not stored.decided_s:
        return ""
    decided = f"{_moment(stored.decided_s)}, {_duration(now_s - stored.decided_s)} ago"
    if stored.verdict.service is None:
        return decided
    if stored.expires_s <= now_s:
        return f"{decided}; not valid any more"
    return f"{decided}; valid for {_duration(stored.expires_s - now_s)} more"


def _evidence(text: Text, verdict: Verdict) -> None:
    if not verdict.evidence:
        text.append("  no evidence is kept\n", style="dim")
    for number, piece in enumerate(verdict.evidence, 1):
        text.append(f"  evidence {number:<6} ", style="dim")
        text.append(_piece(piece))
        text.append("\n")
        shown = (("probe", piece.probe), ("signature", piece.signature), ("seen", piece.detail), ("says", _says(piece)))
        for name, value in shown:
            if value:
                text.append(f"    {name:<13} ", style="dim")
                text.append(visible(value))
                text.append("\n")
        for line in hexdump(piece.data):
            text.append(f"    {line}\n")


def _piece(piece: Evidence) -> str:
    service = visible(piece.service) if piece.service else "no known service"
    over = f" over {piece.over}" if piece.over else ""
    side = f", {piece.side}" if piece.side else ""
    product = " ".join(visible(part) for part in (piece.product, piece.version) if part)
    said = f" ({product})" if product else ""
    sentence = _KIND_SENTENCES.get(piece.kind, "")
    return f"{piece.kind}{side}: {sentence}: {service}{over}{said}, {piece.confidence}"


def _says(piece: Evidence) -> str:
    """What of the bytes stands in clear, where they need a decoder."""
    datagram = piece.probe == "skype/undecipherable-message" or (piece.signature or "").startswith("skype/udp")
    return skype.describe(piece.data) if datagram and piece.data else ""


def _history(text: Text, history: tuple[Change, ...]) -> None:
    for change in history:
        over = f" over {visible(change.over)}" if change.over else ""
        product = " ".join(visible(part) for part in (change.product, change.version) if part)
        text.append("  history         ", style="dim")
        label = f"{visible(change.service or 'unknown')}{over} {product}".rstrip()
        text.append(f"{_moment(change.time_s)}  {visible(change.event)}  {label}, {visible(change.confidence)}\n")


def _asked(text: Text, asked: tuple[Asked, ...]) -> None:
    for act in asked:
        probe = f" {visible(act.probe)}" if act.probe else ""
        size = f" {act.bytes} bytes" if act.bytes else ""
        end = f": {visible(act.outcome)}" if act.outcome else ""
        detail = f" ({visible(act.detail)})" if act.detail else ""
        text.append("  asked           ", style="dim")
        text.append(f"{_moment(act.time_s)}  {visible(act.action)}{probe}{size}{end}{detail}\n")


def _endpoint(endpoint: Endpoint) -> str:
    address = visible(endpoint.address)
    address = f"[{address}]" if ":" in address else address
    return f"{address}:{endpoint.port}/{endpoint.transport}"


def _service(verdict: Verdict) -> str:
    over = f" over {verdict.over}" if verdict.over else ""
    return f"{visible(verdict.service or 'unknown')}{over}"


def _moment(time_s: float) -> str:
    try:
        return time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(time_s))
    except (OverflowError, ValueError, OSError):  # a damaged row's time
        return "?"


def _duration(seconds: float) -> str:
    """`95.0` as `95 s`, `7200.0` as `2 h`: the largest unit of which there are at least two."""
    for size, unit in ((86400, "days"), (3600, "h"), (60, "min")):
        if seconds >= 2 * size:
            return f"{seconds / size:.0f} {unit}"
    return f"{max(0.0, seconds):.0f} s"
