"""The verdict store: what is known of endpoints, kept across runs, cheap to ask once per flow.

In front of the file stands a bounded memory of the endpoints met lately. Writes are gathered and committed together
every `COMMIT_S` on the running event loop (at once where none runs), so a killed process loses no more than that.

Once open, the store never raises: when the disk is full or the file breaks, `problem` says so, memory goes on serving,
what could not be written is counted in `lost` and writing is tried again after `REPAIR_S`. `close` raises StoreError
when something was lost.
"""

from __future__ import annotations

import asyncio
import logging
import os
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from flowsonar.errors import StoreError
from flowsonar.model import Confidence, Endpoint, EvidenceKind, Outcome, Transport, Verdict
from flowsonar.verdicts import database as sql
from flowsonar.verdicts.database import BusyError, Database, Write
from flowsonar.verdicts.stored import (
    Stored,
    audit_row,
    change_row,
    endpoint_key,
    pack_verdict,
    stored_from,
    verdict_from,
)

if TYPE_CHECKING:
    from flowsonar.probes.audit import AuditEntry

__all__ = ["Store", "default_path"]

_log = logging.getLogger(__name__)

LIVES_S: Final = {Confidence.CONFIRMED: 24 * 3600.0, Confidence.LIKELY: 3600.0, Confidence.GUESS: 600.0}
"""How long a verdict is believed: a service that was proven moves rarely; a guess is worth little in ten minutes."""
SHARED_AFTER: Final = 2
"""An endpoint whose verdict was contradicted so often, each time within the life of a proven one, has several services
behind it (sslh, HAProxy): what it was last is likely for a flow that shows nothing, and no more. Once is a change."""
FIRST_RETRY_S: Final = 30.0
"""An endpoint that gave nothing rests this long, then twice as long each time ..."""
LAST_RETRY_S: Final = 3600.0
"""... up to an hour."""
LIKELY_REST_S: Final = 30.0
"""One that was asked and is no more than likely rests as well: the next flow's question would bring the same."""

COMMIT_S: Final = 0.1
"""The most that a killed process loses."""
RUNNING_BUSY_S: Final = 0.25
"""How long one commit may wait for another instance's: packets are waiting too."""
REPAIR_S: Final = 60.0
"""Writing is tried again this long after it failed."""
RELOAD_S: Final = 60.0
"""Memory is compared with the file this often, for another instance may have learned something."""

MEMORY_ENTRIES: Final = 1 << 16
"""Endpoints in memory, about 600 bytes each; the one that came first leaves first."""
LATELY: Final = 4096
"""Findings that a new run begins with: it knows where it left off, and reading them takes milliseconds."""
PENDING_ROWS: Final = 4096
"""Rows that wait for a commit before it is made at once."""
PRUNE_S: Final = 600.0
"""What is too old or too much leaves the file this often."""


class _Entry:
    """One endpoint in memory. `verdict` is without its evidence: memory is for labels."""

    __slots__ = ("decided_s", "expires_s", "failures", "loaded_s", "outcome", "retry_s", "verdict")

    def __init__(self, loaded_s: float) -> None:
        self.loaded_s = loaded_s
        self.verdict: Verdict | None = None
        self.decided_s = 0.0
        self.expires_s = 0.0
        self.failures = 0
        self.outcome: str | None = None
        self.retry_s = 0.0


def default_path() -> Path:
    """`$XDG_STATE_HOME/flowsonar/verdicts.db`, by default under `~/.local/state` (XDG Base Directory 0.8)."""
    state = os.environ.get("XDG_STATE_HOME", "")
    folder = Path(state) if state.startswith("/") else Path.home() / ".local" / "state"
    return folder / "flowsonar" / "verdicts.db"


class Store:
    """The verdicts of one file; for one thread. All `now_s` are seconds since the epoch."""

    def __init__(self, path: str | Path | None = None, *, clock: Callable[[], float] = time.monotonic) -> None:
        """Open, or create. Raises StoreError where the file cannot be used; its text says what to do."""
        try:
            self.path = default_path() if path is None else Path(path)
        except RuntimeError as error:  # no home folder is known
            raise StoreError("no place for the verdict store: set XDG_STATE_HOME, or use --store FILE") from error
        self._database: Database | None = Database(self.path)
        self._database.wait(RUNNING_BUSY_S)
        self._clock = clock
        self._memory: dict[Endpoint, _Entry] = {}
        self._contradicted: dict[Endpoint, tuple[int, float]] = {}  # how often, and when last, in this run
        self._rows: dict[Endpoint, tuple[Any, ...] | None] = {}  # None: to be deleted
        self._history: list[tuple[Any, ...]] = []
        self._audit: list[tuple[Any, ...]] = []
        self._timer: asyncio.TimerHandle | None = None
        self._due_s = 0.0
        self._prune_s = clock()
        self._broken_until_s: float | None = None
        self.problem: str | None = None
        """The first failure of this run, one line; None while all is well."""
        self.lost = 0
        """Rows that could not be written."""

    # -- verdicts -----------------------------------------------------------------------------------------------

    def verdict(self, endpoint: Endpoint, now_s: float) -> Verdict | None:
        """Give the verdict about an endpoint while it is valid, without its evidence."""
        entry = self._memory.get(endpoint)
        if entry is None or not -RELOAD_S < now_s - entry.loaded_s < RELOAD_S:
            entry = self._load(endpoint, now_s)
        # The second test: what was decided in the future was decided by a clock that was wrong.
        if entry.expires_s <= now_s or entry.decided_s > now_s + RELOAD_S:
            return None
        known = entry.verdict
        if known is not None and known.confidence is Confidence.CONFIRMED and self._is_shared(endpoint, now_s):
            return known._replace(confidence=Confidence.LIKELY)
        return known

    def may_ask(self, endpoint: Endpoint, now_s: float) -> bool:
        """Whether the rest after earlier failures, or after an answer that proved nothing, is over."""
        return not self.rests_until(endpoint, now_s)

    def rests_until(self, endpoint: Endpoint, now_s: float) -> float:
        """Until when it is not to be asked; 0 where it may be."""
        entry = self._memory.get(endpoint)
        if entry is None or not -RELOAD_S < now_s - entry.loaded_s < RELOAD_S:
            entry = self._load(endpoint, now_s)
        known = entry.verdict
        if known is not None and known.confidence is Confidence.LIKELY and 0 <= now_s - entry.decided_s < LIKELY_REST_S:
            return entry.decided_s + LIKELY_REST_S
        return entry.retry_s if now_s < entry.retry_s <= now_s + LAST_RETRY_S else 0.0

    def learned(self, endpoint: Endpoint, verdict: Verdict, now_s: float) -> None:
        """Keep a verdict for as long as its confidence deserves.

        A verdict that rests on the cache does not renew it; one that only repeats what is known, or is weaker, changes
        nothing while the known one is valid. An unknown verdict counts as a failure, with its evidence kept.
        """
        if verdict.service is None:
            self.failed(endpoint, None, now_s, verdict)
            return
        entry = self._entry(endpoint, now_s)
        known = entry.verdict
        life_s = LIVES_S.get(verdict.confidence, FIRST_RETRY_S)
        if known is not None and known.service == verdict.service and now_s < entry.expires_s:
            if known.confidence.rank > verdict.confidence.rank:
                return
            if _label(known) == _label(verdict) and now_s - entry.decided_s < life_s / 10 and not entry.failures:
                return
        if _rests_on_cache(verdict):
            return
        if known is None or _label(known) != _label(verdict):
            self._history.append(change_row(endpoint, "learned", verdict, now_s))
        entry.verdict = verdict._replace(evidence=())
        entry.decided_s = now_s
        entry.expires_s = now_s + life_s
        entry.failures, entry.outcome, entry.retry_s = 0, None, 0.0
        self._put(endpoint, entry, pack_verdict(verdict))

    def failed(self, endpoint: Endpoint, outcome: Outcome | None, now_s: float, verdict: Verdict | None = None) -> None:
        """Note that asking gave nothing; the endpoint rests, longer each time. `verdict` may bring what it answered."""
        entry = self._entry(endpoint, now_s)
        entry.failures += 1
        entry.outcome = None if outcome is None else outcome.value
        entry.retry_s = now_s + min(LAST_RETRY_S, FIRST_RETRY_S * 2 ** min(entry.failures - 1, 16))
        known = entry.verdict is not None and entry.expires_s > now_s
        if verdict is not None and verdict.evidence and not known:
            entry.verdict, entry.decided_s, entry.expires_s = None, now_s, 0.0
            self._put(endpoint, entry, pack_verdict(verdict))
        else:
            self._put(endpoint, entry, self._packed(endpoint))

    def believed(self, now_s: float) -> Iterator[tuple[Endpoint, Verdict]]:
        """All valid verdicts, those of the file the newest first; they are in memory then, as far as that goes."""
        self.flush()
        try:
            rows = [] if self._database is None else self._database.read(sql.VALID, (now_s, MEMORY_ENTRIES))
        except StoreError as error:
            self._fail(error)
            rows = []
        for row in reversed(rows):
            endpoint = Endpoint(Transport(row[2]), row[0], row[1])
            if endpoint not in self._memory:
                self._remember(endpoint, _entry_of(row, now_s))
        for endpoint in list(self._memory):
            verdict = self.verdict(endpoint, now_s)
            if verdict is not None and verdict.service is not None:
                yield endpoint, verdict

    def times(self, endpoint: Endpoint) -> tuple[float, float]:
        """Until when the verdict that `verdict` gave is valid, and until when an equal one changes nothing."""
        entry = self._memory[endpoint]
        assert entry.verdict is not None
        return entry.expires_s, _renewed_s(entry.verdict, entry.decided_s, entry.failures)

    def forget(self, endpoint: Endpoint) -> None:
        """Drop a verdict that a flow's own bytes contradict."""
        now_s = time.time()
        entry = self._entry(endpoint, now_s)
        if entry.verdict is not None:
            self._history.append(change_row(endpoint, "forgotten", entry.verdict, now_s))
            self._note_contradiction(endpoint, now_s)
        self._remember(endpoint, _Entry(now_s))
        self._rows[endpoint] = None
        self._schedule()

    def _note_contradiction(self, endpoint: Endpoint, now_s: float) -> None:
        times, last_s = self._contradicted.pop(endpoint, (0, 0.0))
        lately = abs(now_s - last_s) < LIVES_S[Confidence.CONFIRMED]
        self._contradicted[endpoint] = (times + 1 if lately else 1, now_s)
        if len(self._contradicted) > MEMORY_ENTRIES:
            del self._contradicted[next(iter(self._contradicted))]

    def _is_shared(self, endpoint: Endpoint, now_s: float) -> bool:
        """Whether several services take turns behind an endpoint."""
        times, last_s = self._contradicted.get(endpoint, (0, 0.0))
        return times >= SHARED_AFTER and abs(now_s - last_s) < LIVES_S[Confidence.CONFIRMED]

    def find(self, address: str, port: int | None = None, transport: Transport | None = None) -> list[Stored]:
        """Give all that is known of an address, by port, valid or not, with its history and what was asked.

        Raises StoreError: who asks this wants to know.
        """
        self.flush()
        if self._database is None:
            return []
        values = {"address": address, "port": port, "transport": None if transport is None else transport.value}
        found = []
        for row in self._database.read(sql.FIND, values):
            key = row[:3]
            found.append(stored_from(row, self._database.read(sql.HISTORY, key), self._database.read(sql.AUDIT, key)))
        return found

    # -- audit --------------------------------------------------------------------------------------------------

    def lately(self, most: int = LATELY) -> list[tuple[Endpoint, str]]:
        """Endpoints identified last and their services, the oldest first; empty where the file cannot be read."""
        if self._database is None:
            return []
        try:
            rows = self._database.read(sql.LATELY, (most,))
            return [(Endpoint(Transport(kind), address, port), service) for address, port, kind, service in rows[::-1]]
        except (StoreError, ValueError):
            return []

    def audit(self, entry: AuditEntry) -> None:
        """Note one act of a probe."""
        self._audit.append(audit_row(entry))
        self._schedule()

    # -- to the file and back -----------------------------------------------------------------------------------

    def flush(self) -> None:
        """Write what waits."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        if not self._waiting:
            return
        if self._database is None or (self._broken_until_s is not None and self._clock() < self._broken_until_s):
            self._lose()
            return
        try:
            self._database.write(self._writes())
        except BusyError as error:
            if self._waiting > 4 * PENDING_ROWS:  # held for long by another process: what waits is bounded
                self._fail(error)
            else:
                self._arm()
        except StoreError as error:
            self._fail(error)
        else:
            self._broken_until_s = None
            self._clear()

    def close(self) -> None:
        """Write what waits and close. Raises StoreError when something was lost in this run."""
        if self._database is None:
            return
        self._broken_until_s = None  # one last try
        self._database.wait(sql.BUSY_S)
        self.flush()
        if self._waiting:
            self._fail(StoreError(f"{self.path}: the verdict store was held by another process until the end"))
        if self._timer is not None:
            self._timer.cancel()
        self._database.close()
        self._database = None
        if self.lost:
            raise StoreError(f"{self.problem} ({self.lost} entries were not kept)")

    @property
    def _waiting(self) -> int:
        return len(self._rows) + len(self._history) + len(self._audit)

    def _writes(self) -> list[Write]:
        writes: list[Write] = []
        rows = [row for row in self._rows.values() if row is not None]
        gone = [endpoint_key(endpoint) for endpoint, row in self._rows.items() if row is None]
        if rows:
            writes.append((sql.PUT, rows))
        if gone:
            writes.append((sql.DELETE, gone))
        if self._history:
            writes.append((sql.PUT_HISTORY, self._history))
        if self._audit:
            writes.append((sql.PUT_AUDIT, self._audit))
        if self._clock() >= self._prune_s:
            self._prune_s = self._clock() + PRUNE_S
            writes += sql.prunes(time.time())
        return writes

    def _entry(self, endpoint: Endpoint, now_s: float) -> _Entry:
        return self._memory.get(endpoint) or self._load(endpoint, now_s)

    def _load(self, endpoint: Endpoint, now_s: float) -> _Entry:
        """Read an endpoint from the file into memory."""
        entry = self._memory.get(endpoint)
        if entry is not None and (endpoint in self._rows or self._broken_until_s is not None):
            entry.loaded_s = now_s  # memory knows more than the file
            return entry
        if endpoint in self._rows:
            self.flush()
        row = self._row(endpoint)
        entry = _Entry(now_s) if row is None else _entry_of(row, now_s)
        self._remember(endpoint, entry)
        return entry

    def _row(self, endpoint: Endpoint) -> tuple[Any, ...] | None:
        if self._database is None:
            return None
        try:
            rows = self._database.read(sql.SELECT, endpoint_key(endpoint))
        except BusyError:
            return None
        except StoreError as error:
            self._fail(error)
            return None
        return rows[0] if rows else None

    def _packed(self, endpoint: Endpoint) -> bytes | None:
        """Find the verdict as the file has it, or will have it."""
        row = self._rows[endpoint] if endpoint in self._rows else self._row(endpoint)
        return None if row is None else row[8]

    def _remember(self, endpoint: Endpoint, entry: _Entry) -> None:
        memory = self._memory
        memory[endpoint] = entry
        if len(memory) > MEMORY_ENTRIES:
            del memory[next(iter(memory))]

    def _put(self, endpoint: Endpoint, entry: _Entry, packed: bytes | None) -> None:
        stale_s = max(entry.expires_s, entry.retry_s)
        times = (entry.decided_s, entry.expires_s, entry.failures, entry.outcome, entry.retry_s)
        self._rows[endpoint] = (*endpoint_key(endpoint), *times, packed, stale_s)
        self._schedule()

    def _schedule(self) -> None:
        if self._timer is None:
            if not self._arm():
                self.flush()
        elif self._waiting >= PENDING_ROWS or self._clock() > self._due_s:
            self.flush()  # much waits, or the loop that should have called is gone

    def _arm(self) -> bool:
        """Have the running event loop flush soon; False where none runs."""
        try:
            loop = asyncio.get_running_loop()
        except RuntimeError:
            return False
        self._timer = loop.call_later(COMMIT_S, self.flush)
        self._due_s = self._clock() + 10 * COMMIT_S
        return True

    def _clear(self) -> None:
        self._rows.clear()
        self._history.clear()
        self._audit.clear()

    def _lose(self) -> None:
        self.lost += self._waiting
        self._clear()

    def _fail(self, error: StoreError) -> None:
        self._broken_until_s = self._clock() + REPAIR_S
        self._lose()
        if self.problem is None:
            self.problem = str(error)
            _log.warning("%s", error)


def _label(verdict: Verdict) -> tuple[object, ...]:
    return verdict.service, verdict.over, verdict.confidence, verdict.product, verdict.version


def _entry_of(row: tuple[Any, ...], now_s: float) -> _Entry:
    """What a row of the file tells."""
    entry = _Entry(now_s)
    entry.decided_s, entry.expires_s, entry.failures, entry.outcome, entry.retry_s = row[3:8]
    verdict = verdict_from(row[8])
    if verdict.service is not None:
        entry.verdict = verdict._replace(evidence=())
    return entry


def _renewed_s(verdict: Verdict, decided_s: float, failures: int) -> float:
    return 0.0 if failures else decided_s + LIVES_S.get(verdict.confidence, FIRST_RETRY_S) / 10


def _rests_on_cache(verdict: Verdict) -> bool:
    for piece in verdict.evidence:  # strongest first
        if piece.service == verdict.service:
            return piece.kind is EvidenceKind.ENDPOINT
    return False
