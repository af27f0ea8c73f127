"""The SQLite file under the verdict store: opening, schema and its migrations, short transactions, clear errors.

WAL mode with `synchronous = NORMAL`: a transaction that was committed outlives the process however it ends; after a
power failure the file is whole, and may lack the last moments. Two processes may use one file: writers wait for each
other at most `BUSY_S`.
"""

from __future__ import annotations

import contextlib
import os
import sqlite3
import time
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, Final

from flowsonar.errors import StoreError

__all__ = ["BusyError", "Database"]

BUSY_S: Final = 2.0
"""Another instance's transactions last milliseconds; who waits longer does better without."""

APPLICATION_ID: Final = 0x666C736E  # "flsn", in the header of the file (SQLite's application_id)

_MIGRATIONS: Final[tuple[str, ...]] = (
    """
    CREATE TABLE endpoint (
        address TEXT NOT NULL,
        port INTEGER NOT NULL,
        transport TEXT NOT NULL,
        decided_s REAL NOT NULL,
        expires_s REAL NOT NULL,
        failures INTEGER NOT NULL,
        outcome TEXT,
        retry_s REAL NOT NULL,
        stale_s REAL NOT NULL,
        verdict BLOB,
        PRIMARY KEY (address, port, transport)
    ) WITHOUT ROWID;
    CREATE INDEX endpoint_stale ON endpoint (stale_s);
    CREATE TABLE history (
        id INTEGER PRIMARY KEY,
        address TEXT NOT NULL,
        port INTEGER NOT NULL,
        transport TEXT NOT NULL,
        time_s REAL NOT NULL,
        event TEXT NOT NULL,
        service TEXT,
        over TEXT,
        product TEXT,
        version TEXT,
        confidence TEXT NOT NULL
    );
    CREATE INDEX history_endpoint ON history (address, port, transport);
    CREATE TABLE audit (
        id INTEGER PRIMARY KEY,
        address TEXT NOT NULL,
        port INTEGER NOT NULL,
        transport TEXT NOT NULL,
        time_s REAL NOT NULL,
        action TEXT NOT NULL,
        probe TEXT NOT NULL,
        bytes INTEGER NOT NULL,
        outcome TEXT,
        detail TEXT NOT NULL
    );
    CREATE INDEX audit_endpoint ON audit (address, port, transport);
    """,
)
"""The script at index n brings a file of schema version n to n + 1; the version stands in `user_version`."""

FIND: Final = """
    SELECT address, port, transport, decided_s, expires_s, failures, outcome, retry_s, verdict FROM endpoint
    WHERE address = :address AND (:port IS NULL OR port = :port) AND (:transport IS NULL OR transport = :transport)
    ORDER BY address, port, transport LIMIT 1024
"""
LATELY: Final = """
    SELECT address, port, transport, service FROM history
    WHERE event = 'learned' AND service IS NOT NULL ORDER BY id DESC LIMIT ?
"""
SELECT: Final = """
    SELECT address, port, transport, decided_s, expires_s, failures, outcome, retry_s, verdict FROM endpoint
    WHERE address = ? AND port = ? AND transport = ?
"""
VALID: Final = """
    SELECT address, port, transport, decided_s, expires_s, failures, outcome, retry_s, verdict FROM endpoint
    WHERE expires_s > ? ORDER BY decided_s DESC LIMIT ?
"""
HISTORY: Final = """
    SELECT time_s, event, service, over, product, version, confidence FROM history
    WHERE address = ? AND port = ? AND transport = ? ORDER BY id DESC LIMIT 16
"""
AUDIT: Final = """
    SELECT time_s, action, probe, bytes, outcome, detail FROM audit
    WHERE address = ? AND port = ? AND transport = ? ORDER BY id DESC LIMIT 64
"""
PUT: Final = """
    INSERT OR REPLACE INTO endpoint
    (address, port, transport, decided_s, expires_s, failures, outcome, retry_s, verdict, stale_s)
    VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)
"""
DELETE: Final = "DELETE FROM endpoint WHERE address = ? AND port = ? AND transport = ?"
PUT_HISTORY: Final = """
    INSERT INTO history (address, port, transport, time_s, event, service, over, product, version, confidence)
    VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)
"""
PUT_AUDIT: Final = """
    INSERT INTO audit (address, port, transport, time_s, action, probe, bytes, outcome, detail)
    VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)
"""

ENDPOINT_ROWS: Final = 500_000
"""A few hundred bytes each; those that are not valid any more leave first."""
HISTORY_ROWS: Final = 100_000
"""Label changes, about 100 bytes each; the oldest leave."""
AUDIT_ROWS: Final = 500_000
"""Acts of probes, about 100 bytes each; the oldest leave."""
KEEP_S: Final = 30 * 24 * 3600.0
"""Audit entries, and endpoints that are not valid any more, leave after a month."""

Write = tuple[str, Sequence[Sequence[Any]]]
"""A statement and the rows it is run with."""


def prunes(now_s: float) -> list[Write]:
    """Delete what is too old or too much. Audit entries come in the order of time, so the first ones tell."""
    month_ago_s = now_s - KEEP_S
    return [
        ("DELETE FROM audit WHERE id <= (SELECT max(id) FROM audit) - ?", [(AUDIT_ROWS,)]),
        (
            "DELETE FROM audit WHERE id IN (SELECT id FROM audit ORDER BY id LIMIT 20000) AND time_s < ?",
            [(month_ago_s,)],
        ),
        ("DELETE FROM history WHERE id <= (SELECT max(id) FROM history) - ?", [(HISTORY_ROWS,)]),
        ("DELETE FROM endpoint WHERE stale_s < ?", [(month_ago_s,)]),
        (
            """
            DELETE FROM endpoint WHERE stale_s <= (SELECT stale_s FROM endpoint ORDER BY stale_s DESC LIMIT 1 OFFSET ?)
            """,
            [(ENDPOINT_ROWS,)],
        ),
    ]


class BusyError(StoreError):
    """Another process holds the file; what was to be written can be tried again."""


class Database:
    """One connection. Every failure is a StoreError whose text names the file and what to do."""

    def __init__(self, path: Path) -> None:
        """Open, or create with rights for its owner alone. Raises StoreError."""
        self.path = path
        try:
            _create(path)
        except OSError as error:
            raise StoreError(
                f"{path}: the verdict store cannot be created ({error.strerror}): "
                "name another file with `store` in the settings or --store"
            ) from error
        connection = None
        try:
            connection = sqlite3.connect(path, timeout=BUSY_S, isolation_level=None)
            _prepare(connection)
            _migrate(connection, path)
        except sqlite3.Error as error:
            if connection is not None:
                connection.close()
            raise self._explained(error) from error
        except StoreError:
            assert connection is not None
            connection.close()
            raise
        self.connection = connection

    def wait(self, busy_s: float) -> None:
        """Set how long a transaction waits for another process's."""
        self.connection.execute(f"PRAGMA busy_timeout = {int(busy_s * 1000)}")

    def read(self, query: str, values: Sequence[Any] | Mapping[str, Any]) -> list[tuple[Any, ...]]:
        """Rows of a query. Raises StoreError."""
        try:
            return self.connection.execute(query, values).fetchall()
        except sqlite3.Error as error:
            raise self._explained(error) from error

    def write(self, writes: Iterable[Write]) -> None:
        """Run statements as one transaction: all or nothing. Raises StoreError, BusyError where it may be repeated."""
        try:
            self.connection.execute("BEGIN IMMEDIATE")
            try:
                for statement, rows in writes:
                    self.connection.executemany(statement, rows)
                self.connection.execute("COMMIT")
            except BaseException:
                if self.connection.in_transaction:
                    with contextlib.suppress(sqlite3.Error):  # what failed first is what is told
                        self.connection.execute("ROLLBACK")
                raise
        except sqlite3.Error as error:
            raise self._explained(error) from error

    def close(self) -> None:
        """Close; the last connection folds the write-ahead log into the file."""
        with contextlib.suppress(sqlite3.Error):  # everything is committed; a full disk only leaves the log beside it
            self.connection.close()

    def _explained(self, error: sqlite3.Error) -> StoreError:
        code = (getattr(error, "sqlite_errorcode", None) or 0) & 0xFF
        if code in (sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED):
            return BusyError(f"{self.path}: the verdict store is held by another process; it will be tried again")
        if code in (sqlite3.SQLITE_NOTADB, sqlite3.SQLITE_CORRUPT):
            return StoreError(
                f"{self.path}: not a usable verdict store ({error}): move the file away, a new one will be made"
            )
        if code == sqlite3.SQLITE_FULL:
            return StoreError(f"{self.path}: no room for verdicts, the disk is full: free some space")
        if code in (sqlite3.SQLITE_READONLY, sqlite3.SQLITE_CANTOPEN, sqlite3.SQLITE_PERM):
            return StoreError(
                f"{self.path}: the verdict store cannot be written ({error}): "
                "run as its owner, or name another file with `store` in the settings or --store"
            )
        return StoreError(f"{self.path}: the verdict store failed ({error}): check the disk it is on")


def _create(path: Path) -> None:
    if not path.parent.is_dir():
        path.parent.parent.mkdir(parents=True, exist_ok=True)
        path.parent.mkdir(mode=0o700, exist_ok=True)
    # Only a file that is not there yet may be opened by us: closing it would drop the locks that SQLite holds on it
    # for another connection of this process (sqlite.org/howtocorrupt.html, 2.2).
    with contextlib.suppress(FileExistsError):
        os.close(os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600))


def _prepare(connection: sqlite3.Connection) -> None:
    deadline_s = time.monotonic() + BUSY_S
    while True:
        try:
            connection.execute("PRAGMA journal_mode = WAL").fetchone()
            break
        except sqlite3.OperationalError as error:
            # SQLite does not wait by itself here; two instances that start on a new file meet at this point.
            if error.sqlite_errorcode & 0xFF != sqlite3.SQLITE_BUSY or time.monotonic() > deadline_s:
                raise
            time.sleep(0.01)
    connection.execute("PRAGMA synchronous = NORMAL")
    connection.execute("PRAGMA journal_size_limit = 4194304")


def _migrate(connection: sqlite3.Connection, path: Path) -> None:
    if _version(connection) == len(_MIGRATIONS) and _application(connection) == APPLICATION_ID:
        return
    connection.execute("BEGIN IMMEDIATE")  # of two instances one migrates, the other waits here and finds it done
    try:
        version = _known_version(connection, path)
        for script in _MIGRATIONS[version:]:
            for statement in script.split(";"):
                if statement.strip():
                    connection.execute(statement)
        connection.execute(f"PRAGMA user_version = {len(_MIGRATIONS)}")
        connection.execute(f"PRAGMA application_id = {APPLICATION_ID}")
        connection.execute("COMMIT")
    except BaseException:
        if connection.in_transaction:
            with contextlib.suppress(sqlite3.Error):
                connection.execute("ROLLBACK")
        raise


def _known_version(connection: sqlite3.Connection, path: Path) -> int:
    version = _version(connection)
    tables = connection.execute("SELECT count(*) FROM sqlite_master").fetchone()[0]
    if tables and _application(connection) != APPLICATION_ID:
        raise StoreError(f"{path}: this SQLite file belongs to another program: name another file")
    if version > len(_MIGRATIONS):
        raise StoreError(
            f"{path}: written by a newer flowsonar (schema {version}, this one knows {len(_MIGRATIONS)}): "
            "use that version, or name another file"
        )
    return version


def _version(connection: sqlite3.Connection) -> int:
    return int(connection.execute("PRAGMA user_version").fetchone()[0])


def _application(connection: sqlite3.Connection) -> int:
    return int(connection.execute("PRAGMA application_id").fetchone()[0])
