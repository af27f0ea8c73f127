"""What the demonstration shows: each verdict as it happens, then truth and label side by side."""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Mapping
from typing import Any, Protocol

from rich.console import Console
from rich.table import Table
from rich.text import Text

from flowsonar.demo.plan import Judgement, Planned, label_of
from flowsonar.demo.results import Asked, FlowSeen, Results, Row

__all__ = ["JsonScreen", "Screen", "TextScreen", "evidence_in_words"]

_KINDS = {
    "reply": "it answered our probe",
    "payload": "the flow's own bytes",
    "announced": "announced by another flow",
    "endpoint": "the endpoint is known by now",
    "behaviour": "how it behaves",
    "name": "the name that goes with it",
    "port": "the port number alone",
}
_STYLES = {
    Judgement.RIGHT: "green",
    Judgement.PARTLY: "yellow",
    Judgement.MISSED: "yellow",
    Judgement.WRONG: "bold red",
}
SHOWN_EVIDENCE = 2
"""Pieces of evidence shown for a verdict; the others are in the records."""


class Screen(Protocol):
    """Where the demonstration tells what it does."""

    hold_s: float
    """How long a verdict is held back, so that a better one a moment later takes its place."""

    def note(self, text: str) -> None:
        """Say what happens now."""
        ...

    def problem(self, text: str) -> None:
        """Say what went wrong."""
        ...

    def verdict(self, seen: FlowSeen) -> None:
        """Show a flow whose label is new."""
        ...

    def summary(self, results: Results, asked: Asked | None, took_s: float) -> None:
        """Show the end."""
        ...


def evidence_in_words(record: Mapping[str, Any]) -> list[str]:
    """The strongest pieces of evidence of a record, as sentences for people."""
    ours = record.get("flowsonar") or {}
    words = []
    for piece in ours.get("evidence") or ():
        kind = str(piece.get("kind"))
        text = _KINDS.get(kind, kind)
        if kind == "reply" and piece.get("probe"):
            side = f" by the {piece['side']}" if piece.get("side") == "initiator" else ""
            text = f"answer to our probe {piece['probe']}{side}"
        detail = str(piece.get("detail") or piece.get("signature") or "")
        words.append(f"{text}: {detail}" if detail else text)
    return list(dict.fromkeys(words))


def _printable(text: str) -> str:
    """What a peer said must not steer the terminal."""
    return "".join(character if character.isprintable() else "\N{REPLACEMENT CHARACTER}" for character in text)


def _product(ours: Mapping[str, Any]) -> str:
    return " ".join(str(ours[key]) for key in ("product", "version") if ours.get(key))


def _endpoint(address: Any, port: Any) -> str:
    return f"[{address}]:{port}" if ":" in str(address) else f"{address}:{port}"


def _milliseconds(value: float | None) -> str:
    if value is None:
        return "-"
    return f"{value:.1f} ms" if value < 100 else f"{value / 1000:.2f} s"


def _asked(asked: tuple[int, int] | None) -> str:
    if asked is None:
        return "-"
    parts = [f"{number} {name}" for number, name in zip(asked, ("conn", "dgram"), strict=True) if number]
    return ", ".join(parts) or "nothing"


class TextScreen:
    """For people."""

    hold_s = 0.06

    def __init__(self, console: Console | None = None) -> None:
        self.console = console or Console(highlight=False, soft_wrap=True, width=None if sys.stdout.isatty() else 140)
        self._start = time.monotonic()

    def note(self, text: str) -> None:
        """One dim line."""
        self.console.print(Text(text, style="dim"))

    def problem(self, text: str) -> None:
        """One yellow line."""
        self.console.print(Text(text, style="yellow"))

    def verdict(self, seen: FlowSeen) -> None:
        """A line for the verdict, below it the flow and the evidence."""
        record, planned = seen.record, seen.planned
        ours = record.get("flowsonar") or {}
        source = _endpoint(record.get("src_ip"), record.get("src_port"))
        target = _endpoint(record.get("dest_ip"), record.get("dest_port"))
        style = _STYLES[seen.judgement]
        line = Text(f"{time.monotonic() - self._start:5.1f} s  ")
        line.append(f"{label_of(record):<9}", style=f"bold {style}")
        line.append(f" {ours.get('confidence', 'unknown'):<9}", style=style)
        line.append(f" truth {planned.truth:<9} {seen.judgement:<6}", style=style)
        line.append(f" {_milliseconds(ours.get('verdict_ms')):>8}")
        line.append(f"  {planned.title}")
        self.console.print(line)
        product = _product(ours)
        about = f"{source} → {target}/{str(record.get('proto')).lower()}"
        if product:
            about += f", says it is {_printable(product)}"
        self.console.print(Text(f"         {about}", style="dim"))
        for words in evidence_in_words(record)[:SHOWN_EVIDENCE]:
            self.console.print(Text(f"         · {_printable(words)}", style="dim"))

    def summary(self, results: Results, asked: Asked | None, took_s: float) -> None:
        """The table and one closing line."""
        table = Table(title="Truth and label", title_justify="left", box=None, pad_edge=False)
        for heading in ("service", "truth", "label", "confidence", "flows", "after", "asked", ""):
            justify = "right" if heading in {"flows", "after"} else "left"
            table.add_column(heading, justify=justify, no_wrap=heading != "service")  # type: ignore[arg-type]
        rows = results.rows(asked)
        for row in rows:
            table.add_row(*_cells(row), style=None if row.judgement is Judgement.RIGHT else _STYLES[row.judgement])
        self.console.print()
        self.console.print(table, soft_wrap=False)
        self.console.print()
        for record in results.unplanned.values():
            source = _endpoint(record.get("src_ip"), record.get("src_port"))
            target = _endpoint(record.get("dest_ip"), record.get("dest_port"))
            self.problem(f"a flow that nobody planned: {source} → {target} labelled {label_of(record)}")
        right = sum(row.judgement is Judgement.RIGHT for row in rows)
        times = [row.verdict_ms for row in rows if row.verdict_ms is not None and row.planned.service is not None]
        median = f", half of the services within {_milliseconds(sorted(times)[len(times) // 2])}" if times else ""
        style = "bold green" if results.right() else "bold red"
        text = f"{right} of {len(rows)} right{median}; {len(results.flows)} flows in {took_s:.0f} s"
        self.console.print(Text(text, style=style))


def _cells(row: Row) -> tuple[str, ...]:
    return (
        row.planned.title,
        row.planned.truth,
        row.label,
        row.confidence,
        str(row.flows),
        _milliseconds(row.verdict_ms),
        _asked(row.asked),
        str(row.judgement),
    )


class JsonScreen:
    """For programs: flowsonar's own records with a `demo` object, and a closing `demo` record."""

    hold_s = 0.0

    def _line(self, value: Mapping[str, Any]) -> None:
        sys.stdout.write(json.dumps(value) + "\n")
        sys.stdout.flush()

    def note(self, text: str) -> None:
        """Nothing: a program needs no small talk."""

    def problem(self, text: str) -> None:
        """To standard error."""
        print(f"flowsonar: {text}", file=sys.stderr)

    def verdict(self, seen: FlowSeen) -> None:
        """The record and what is true."""
        self._line({**seen.record, "demo": {**_truth(seen.planned), "judgement": str(seen.judgement)}})

    def summary(self, results: Results, asked: Asked | None, took_s: float) -> None:
        """One object with a list of services."""
        services = [
            {
                **_truth(row.planned),
                "label": row.label,
                "confidence": row.confidence,
                "flows": row.flows,
                "verdict_ms": row.verdict_ms,
                "connections": row.asked[0] if row.asked else None,
                "datagrams": row.asked[1] if row.asked else None,
                "judgement": str(row.judgement),
            }
            for row in results.rows(asked)
        ]
        closing = {"services": services, "unplanned": len(results.unplanned), "right": results.right()}
        self._line({"event_type": "demo", "demo": {**closing, "took_s": round(took_s, 1)}})


def _truth(planned: Planned) -> dict[str, Any]:
    return {"service": planned.title, "truth": planned.truth, "address": planned.address, "port": planned.port}
