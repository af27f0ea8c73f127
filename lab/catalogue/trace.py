"""What was asked of each endpoint, and when: the sequence of a run, read from the audit log of its verdict store."""

from __future__ import annotations

import sqlite3
from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

from lab.sonar import read_lines

__all__ = ["Asked", "asked", "lines"]

_MOVES = 24
"""Moves printed of one endpoint; the rest is counted."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Asked:
    """One endpoint: what it was called, by which question, and all that was done before."""

    endpoint: str
    service: str | None
    ms: float
    tries: int
    """Connections and datagrams."""
    told: str
    """The question whose answer gave the verdict; empty where there is none."""
    moves: tuple[str, ...]
    """`+ms connect probe` or `+ms probe bytes`, since the first."""


def asked(folder: Path) -> list[Asked]:
    """All endpoints of one batch: `probe.jsonl` and the audit log in `probe.db`."""
    said = {
        (record["proto"].lower(), record["dest_ip"], record["dest_port"]): record
        for record in read_lines(folder / "probe.jsonl")[0]
        if record.get("event_type") == "endpoint"
    }
    acts: dict[tuple[str, str, int], list[tuple[float, str, str, int]]] = defaultdict(list)
    with closing(sqlite3.connect(folder / "probe.db")) as store:
        rows = store.execute("SELECT transport, address, port, time_s, action, probe, bytes FROM audit ORDER BY id")
        for transport, address, port, *act in rows:
            acts[transport.lower(), address, port].append(tuple(act))
    return [_of(key, said[key]["flowsonar"], done) for key, done in acts.items() if key in said]


def _of(key: tuple[str, str, int], own: dict[str, object], done: Sequence[tuple[float, str, str, int]]) -> Asked:
    began_s = done[0][0]
    moves = [
        f"+{(time_s - began_s) * 1000:.0f} {f'connect {probe}' if action == 'connect' else f'{probe} {size}'}"
        for time_s, action, probe, size in done
        if action != "end"
    ]
    evidence = own.get("evidence") or ()
    assert isinstance(evidence, Sequence)
    service = own.get("service")
    told = next((str(one["probe"]) for one in evidence if one.get("probe")), "") if service else ""
    tries = sum(int(str(own.get(name) or 0)) for name in ("connections", "datagrams"))
    transport, address, port = key
    return Asked(
        endpoint=f"{address}:{port}/{transport}",
        service=None if service is None else str(service),
        ms=float(str(own.get("verdict_ms") or 0)),
        tries=tries,
        told=told,
        moves=tuple(moves),
    )


def lines(rows: Iterable[Asked]) -> list[str]:
    """A line an endpoint, the cheapest first; then how many endpoints each question told."""
    rows = sorted(rows, key=lambda row: (row.tries, row.ms))
    found = []
    for row in rows:
        more = f" and {len(row.moves) - _MOVES} more" if len(row.moves) > _MOVES else ""
        found.append(
            f"{row.endpoint} {row.service or 'unknown'} {row.ms:.0f} ms, {row.tries}, told by {row.told or 'nothing'}: "
            f"{', '.join(row.moves[:_MOVES])}{more}"
        )
    for transport in ("tcp", "udp"):
        told = Counter(row.told for row in rows if row.told and row.endpoint.endswith(transport))
        found.append(f"told over {transport}: " + ", ".join(f"{probe} {count}" for probe, count in told.most_common()))
    return found
