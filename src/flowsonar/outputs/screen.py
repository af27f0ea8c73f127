"""The table on a terminal, drawn anew in place: counters on top, the newest and the heaviest flows below."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from typing import Final

from rich.console import Console, Group
from rich.live import Live
from rich.table import Table
from rich.text import Text

from flowsonar.model import EndpointRecord, FlowRecord
from flowsonar.outputs.row import HEADINGS, row_of
from flowsonar.outputs.tally import Tally, counters_line
from flowsonar.verdicts.explain import CONFIDENCE_STYLES

__all__ = ["Screen"]

ROWS: Final = 512
"""Flows remembered for the table: more than any terminal shows."""
DRAW_S: Final = 0.25
"""The table is drawn at most this often: people read slower, and packets wait meanwhile."""


_NEEDS: Final = {"proto": 90, "initiator": 100, "product": 125, "class": 140, "name": 150}
"""Columns that are left out on terminals narrower than this."""
_ELASTIC: Final = frozenset({"product", "how", "name"})
_COLOURED: Final = frozenset({"service", "confidence"})


class _Kept:
    __slots__ = ("record", "size")

    def __init__(self, record: FlowRecord | EndpointRecord, size: int) -> None:
        self.record = record
        self.size = size


class Screen:
    """A context manager; feed it records, call `refresh` as often as you like."""

    def __init__(self, console: Console, tally: Tally, *, clock: Callable[[], float] = time.monotonic) -> None:
        self._console = console
        self._tally = tally
        self._clock = clock
        self._drawn_s = clock() - DRAW_S
        self._kept: dict[object, _Kept] = {}
        self._counters: Mapping[str, int] = {}
        self._live = Live(
            console=console, auto_refresh=False, vertical_overflow="crop", redirect_stdout=False, redirect_stderr=False
        )

    def __enter__(self) -> Screen:
        self._live.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._live.update(self.render(), refresh=False)
        self._live.stop()

    def add(self, record: FlowRecord | EndpointRecord) -> None:
        """Take a record: it moves to the top."""
        key: object
        if isinstance(record, EndpointRecord):
            key, size = record.endpoint, 0
        else:
            key, size = record.flow_id, record.counters.bytes_toserver + record.counters.bytes_toclient
        before = self._kept.pop(key, None)
        self._kept[key] = _Kept(record, max(size, before.size if before else 0))
        if len(self._kept) > ROWS:
            del self._kept[next(iter(self._kept))]

    def refresh(self, counters: Callable[[], Mapping[str, int]]) -> None:
        """Draw, if it is time."""
        now_s = self._clock()
        if now_s - self._drawn_s >= DRAW_S:
            self._drawn_s = now_s
            self._counters = counters()
            self._live.update(self.render(), refresh=True)

    def say(self, text: Text) -> None:
        """Print something above the table."""
        self._live.console.print(text)

    def render(self) -> Group:
        """Make the table as it stands, as high as the terminal."""
        headings = _fitting(self._console.width)
        table = Table(box=None, expand=True, padding=(0, 1, 0, 0), header_style="bold")
        for heading in headings:
            table.add_column(
                heading,
                no_wrap=True,
                overflow="ellipsis",
                ratio=1 if heading in _ELASTIC else None,
                justify="right" if heading == "bytes" else "left",
            )
        for kept in self._chosen(max(1, self._console.height - 4)):
            row = dict(zip(HEADINGS, row_of(kept.record), strict=True))
            style = CONFIDENCE_STYLES[kept.record.verdict.confidence]
            table.add_row(*[Text(row[key], style=style if key in _COLOURED else "") for key in headings])
        return Group(counters_line(self._counters, self._tally.confidences()), table)

    def _chosen(self, places: int) -> list[_Kept]:
        """Newest first; a third of the places is for the heaviest of the others."""
        newest = list(reversed(self._kept.values()))
        if len(newest) <= places:
            return newest
        first = places - places // 3
        heaviest = sorted(newest[first:], key=lambda kept: kept.size, reverse=True)[: places - first]
        return newest[:first] + heaviest


def _fitting(width: int) -> list[str]:
    """Choose the columns that a terminal has room for."""
    return [heading for heading in HEADINGS if width >= _NEEDS.get(heading, 0)]
