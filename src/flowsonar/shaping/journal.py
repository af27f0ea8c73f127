"""What was marked and by which rule, kept beside the verdict store so that `explain` can say it later.

Losing it loses explanations, never a mark: whatever goes wrong with the file is told once and otherwise ignored.
"""

from __future__ import annotations

import sqlite3
import time
from collections.abc import Iterable
from pathlib import Path
from typing import Final, NamedTuple

from flowsonar.model import FlowKey, MarkRecord
from flowsonar.shaping.classes import dscp_name
from flowsonar.verdicts.visible import visible

__all__ = ["Journal", "Marked", "beside", "marked", "marks_of"]

KEPT: Final = 100_000
"""Marks kept; the oldest leave."""
_SURPLUS: Final = 4096
"""How many more there may be before some leave: not with every write."""
_BUSY_S: Final = 0.1

_SCHEMA: Final = """
create table if not exists marks (
    number integer primary key, time_ns integer, transport text, address text, port integer, to_address text,
    to_port integer, service text, confidence text, action text, class text, dscp integer, rule text
);
create index if not exists marks_address on marks (address, number);
create index if not exists marks_to_address on marks (to_address, number);
"""
_PUT: Final = """insert into marks (time_ns, transport, address, port, to_address, to_port, service, confidence, action,
class, dscp, rule) values (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)"""
_FIND: Final = """select time_ns, transport, address, port, to_address, to_port, service, confidence, action, class,
dscp, rule from marks where number in (
    select number from marks where address = :address and (:port is null or port = :port)
    and (:transport is null or transport = :transport)
    union select number from marks where to_address = :address and (:port is null or to_port = :port)
    and (:transport is null or transport = :transport)
) order by number desc limit :most"""


class Marked(NamedTuple):
    """One mark as it was kept; `to_address` is empty for all flows of an endpoint."""

    time_ns: int
    transport: str
    address: str
    port: int
    to_address: str
    to_port: int
    service: str
    confidence: str
    action: str
    traffic_class: str | None
    dscp: int | None
    rule: str


def beside(store: Path) -> Path:
    """The journal that belongs to a verdict store."""
    return store.with_name(f"{store.stem}-marks.db")


class Journal:
    """Written by the one program that marks."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.problem: str | None = None
        """The first failure; after it nothing is kept."""
        self._since = 0
        self._database: sqlite3.Connection | None = None
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            self._database = sqlite3.connect(path, timeout=_BUSY_S, isolation_level=None)
            self._database.execute("pragma journal_mode = wal")
            self._database.execute("pragma synchronous = off")
            self._database.executescript(_SCHEMA)
        except (OSError, sqlite3.Error) as error:
            self._fail(error)

    def keep(self, records: Iterable[MarkRecord]) -> None:
        """Write records, in one transaction."""
        rows = [_row(record) for record in records]
        if self._database is None or not rows:
            return
        try:
            self._database.execute("begin")
            self._database.executemany(_PUT, rows)
            self._since += len(rows)
            if self._since >= _SURPLUS:
                self._since = 0
                self._database.execute("delete from marks where number <= (select max(number) from marks) - ?", (KEPT,))
            self._database.execute("commit")
        except sqlite3.Error as error:
            self._fail(error)

    def close(self) -> None:
        """No mark is kept after this."""
        if self._database is not None:
            self._database.close()
            self._database = None

    def _fail(self, error: Exception) -> None:
        self.problem = f"{self.path}: marks are not kept for `explain` ({error})"
        if self._database is not None:
            self._database.close()
            self._database = None


def marks_of(path: Path, address: str, port: int | None, transport: str | None, most: int = 10) -> list[Marked]:
    """Find the latest marks of an address's flows, the newest first; none where nothing was kept."""
    if not path.exists():
        return []
    try:
        database = sqlite3.connect(f"{path.absolute().as_uri()}?mode=ro", uri=True, timeout=_BUSY_S)
    except sqlite3.Error:
        return []
    try:
        values = {"address": address, "port": port, "transport": transport, "most": most}
        return [Marked(*row) for row in database.execute(_FIND, values)]
    except (sqlite3.Error, TypeError):
        return []
    finally:
        database.close()


def marked(mark: Marked) -> str:
    """One mark for people, as `explain` prints it."""
    moment = time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(mark.time_ns // 1_000_000_000))
    there = f" > {_at(mark.to_address, mark.to_port)}" if mark.to_address else ", all its flows"
    dscp = "" if mark.dscp is None else f", DSCP {dscp_name(mark.dscp)}"
    outcome = f"class {visible(mark.traffic_class)}{dscp}" if mark.traffic_class else "left as it is"
    label = f"{visible(mark.service or 'unknown')} {visible(mark.confidence)}"
    which = f"{_at(mark.address, mark.port)}{there} ({visible(mark.transport)})"
    return f"  {visible(mark.action):<15} {moment}  {which}: {label}: {outcome}, by {visible(mark.rule)}"


def _at(address: str, port: int) -> str:
    return f"[{visible(address)}]:{port}" if ":" in address else f"{visible(address)}:{port}"


def _row(record: MarkRecord) -> tuple[object, ...]:
    key = record.key
    if isinstance(key, FlowKey):
        _, address, port, to_address, to_port, _ = key
    else:
        address, port, to_address, to_port = key.address, key.port, "", 0
    where = (key.transport.value, address, port, to_address, to_port)
    verdict = record.verdict
    named = (verdict.service or "", verdict.confidence.value, record.action.value)
    name = None if record.traffic_class is None else record.traffic_class.value
    return (record.time_ns, *where, *named, name, record.dscp, record.rule)
