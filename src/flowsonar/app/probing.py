"""Endpoints asked by name: `flowsonar probe`."""

from __future__ import annotations

import asyncio
import contextlib
import ipaddress
import socket
import time
from collections.abc import AsyncIterable, AsyncIterator, Iterable
from dataclasses import replace
from typing import Final

from flowsonar.app.asking import Asking
from flowsonar.app.parts import Parts
from flowsonar.config import Settings
from flowsonar.errors import StoreError
from flowsonar.model import Answer, Endpoint, EndpointRecord, Hints, Outcome, Question
from flowsonar.probes import AuditEntry
from flowsonar.probes.endpointset import EndpointSet
from flowsonar.probes.targets import Target
from flowsonar.probes.thrift import needed_of, report
from flowsonar.verdicts.fusion import fuse
from flowsonar.verdicts.store import Store

__all__ = ["Probing"]

_AHEAD: Final = 2048
"""Questions put before answers are awaited: enough to keep the prober busy, little enough to hold."""
_RESOLVING: Final = 16
"""Names looked up at a time."""
_NAMES: Final = 4096
"""Names whose addresses are remembered: one host may stand with many ports."""
_PROBLEMS: Final = 20
"""Problems told one by one; further ones are counted."""


class Probing:
    """Asks targets and gives one record each, in the order of the answers.

    Names are resolved with the system's resolver; every address is asked. `total` counts what was begun, `done`
    what was answered, `skipped` what `known` holds already. `again`: a target that comes twice is asked twice.
    """

    def __init__(
        self,
        targets: Iterable[Target] | AsyncIterable[Target],
        settings: Settings | None = None,
        *,
        keep: bool = True,
        known: EndpointSet | None = None,
        again: bool = False,
    ) -> None:
        self.settings = settings or Settings()
        self._targets = targets
        self._keep = keep
        self._store: Store | None = None
        self._known = known
        self._seen = None if again else EndpointSet()
        self._names: dict[Endpoint, str] = {}
        self._resolved: dict[str, asyncio.Future[list[str]]] = {}
        self._stopping = False
        self._wake = asyncio.Event()
        self._room = asyncio.Event()
        self._refused: list[Answer] = []
        self.total = 0
        self.done = 0
        self.skipped = 0
        self.problems: list[str] = []
        self.notes: list[str] = []
        """What went wrong beside the asking: a store that cannot be kept."""
        self.more_problems = 0
        """Those that are not told one by one."""
        self.thrift: list[str] = []
        """At the end: what was spent beside what an order of questions that knew everything would have spent."""
        self.planned: list[tuple[Question, list[str]]] = []
        """With `dry_run`: what would be asked, since you last emptied it."""

    @property
    def stopped(self) -> bool:
        """Whether it was ended before its end."""
        return self._stopping

    def stop(self) -> None:
        """Ask nothing more; what is under way ends as `cancelled`."""
        self._stopping = True
        self._wake.set()

    async def __aiter__(self) -> AsyncIterator[EndpointRecord]:
        async for records in self.batches():
            for record in records:
                yield record

    async def batches(self) -> AsyncIterator[list[EndpointRecord]]:
        """Give what was answered at about the same time together."""
        parts = Parts.load(self.settings)
        self._open_store()
        asking = Asking(self.settings, parts, audit=self._audit, wake=self._wake.set)
        if self._store is not None:
            asking.remember(self._store.lately())
        self.planned = asking.planned
        feeding = asyncio.get_running_loop().create_task(self._feed(asking))
        feeding.add_done_callback(lambda _: self._wake.set())
        try:
            while True:
                self._wake.clear()
                self._room.set()
                if records := [self._record(answer, parts) for answer in self._answers(asking)]:
                    yield records
                    continue
                if self._stopping or (feeding.done() and not asking.busy):
                    break
                await self._wake.wait()
            feeding.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await feeding
            await asking.close()
            self.thrift = report(asking.counters())
            if records := [self._record(answer, parts) for answer in self._answers(asking)]:
                yield records
        finally:
            feeding.cancel()
            await asking.close()
            self._close_store()

    # -- targets ------------------------------------------------------------------------------------------------

    async def _feed(self, asking: Asking) -> None:
        """Ask about the targets as they come, a bounded number ahead of the answers."""
        targets = self._each()
        turn = asyncio.Lock()
        workers = [asyncio.ensure_future(self._work(asking, targets, turn)) for _ in range(_RESOLVING)]
        try:
            await asyncio.gather(*workers)
        finally:
            for worker in workers:
                worker.cancel()
            await asyncio.gather(*workers, return_exceptions=True)

    async def _work(self, asking: Asking, targets: AsyncIterator[Target], turn: asyncio.Lock) -> None:
        """Take targets by turns: a name that is looked up holds only one worker."""
        while True:
            async with turn:
                while asking.busy + len(self._refused) >= _AHEAD:
                    self._room.clear()
                    await self._room.wait()
                target = await anext(targets, None)
                if target is None:
                    return
                addresses = _address(target.host)
                if addresses:
                    self._ask(asking, target, addresses[0])
                    if not self.total % _AHEAD:
                        await asyncio.sleep(0)  # a long list does not keep the answers waiting
                    continue
            for address in await self._resolve(target.host):
                self._ask(asking, target, address)

    def _ask(self, asking: Asking, target: Target, address: str) -> None:
        endpoint = Endpoint(target.transport, address, target.port)
        if self._seen is not None and not self._seen.add(endpoint):
            return
        if self._known is not None and endpoint in self._known:
            self.skipped += 1
            return
        self.total += 1
        name = None if address == target.host or _address(target.host) else target.host
        if name is not None:
            self._names[endpoint] = name
        why = asking.why_not(endpoint)
        if why is not None:
            self._refused.append(Answer(endpoint=endpoint, outcome=Outcome.NOT_PERMITTED, detail=why))
            self._wake.set()
            return
        hints = target.hints or Hints()
        if name is not None and hints.server_name is None:
            hints = replace(hints, server_name=name)
        asking.ask([Question(endpoint=endpoint, hints=hints)])

    async def _each(self) -> AsyncIterator[Target]:
        if isinstance(self._targets, AsyncIterable):
            async for target in self._targets:
                yield target
        else:
            for target in self._targets:
                yield target

    async def _resolve(self, host: str) -> list[str]:
        """Every address of a name; asked once for it."""
        known = self._resolved.get(host)
        if known is None:
            if len(self._resolved) >= _NAMES:
                self._resolved.pop(next(iter(self._resolved)))
            known = self._resolved[host] = asyncio.ensure_future(self._look_up(host))
        return await asyncio.shield(known)

    async def _look_up(self, host: str) -> list[str]:
        try:
            found = await asyncio.get_running_loop().getaddrinfo(host, None, type=socket.SOCK_STREAM)
        except (OSError, UnicodeError) as error:
            self._problem(f"{host}: cannot be resolved: {error}")
            return []
        return list(dict.fromkeys(str(entry[4][0]) for entry in found))

    def _problem(self, text: str) -> None:
        if len(self.problems) < _PROBLEMS:
            self.problems.append(text)
        else:
            self.more_problems += 1

    # -- answers ------------------------------------------------------------------------------------------------

    def _answers(self, asking: Asking) -> list[Answer]:
        refused, self._refused = self._refused, []
        return refused + asking.take()

    def _record(self, answer: Answer, parts: Parts) -> EndpointRecord:
        now_ns = time.time_ns()
        self.done += 1
        name, signatures = self._names.pop(answer.endpoint, None), parts.signatures
        verdict = fuse(answer.evidence, signatures.traffic_class, name, signatures.parents)
        if self._store is not None and answer.outcome not in (Outcome.NOT_PERMITTED, Outcome.CANCELLED):
            if verdict.service is None:
                self._store.failed(answer.endpoint, answer.outcome, now_ns / 1e9, verdict)
            else:
                self._store.learned(answer.endpoint, verdict, now_ns / 1e9)
        return EndpointRecord(
            time_ns=now_ns,
            endpoint=answer.endpoint,
            verdict=verdict,
            outcome=answer.outcome,
            connections=answer.connections,
            datagrams=answer.datagrams,
            needed=needed_of(answer, signatures.probe),
            bytes_sent=answer.bytes_sent,
            rtt_ms=answer.rtt_ms,
            verdict_ms=answer.took_ms,
            detail=answer.detail,
        )

    # -- the store ----------------------------------------------------------------------------------------------

    def _open_store(self) -> None:
        if not self._keep:
            return
        try:
            self._store = Store(self.settings.store)
        except StoreError as error:
            self.notes.append(f"{error}; going on without it, verdicts are not kept")

    def _close_store(self) -> None:
        if self._store is not None:
            try:
                self._store.close()
            except StoreError as error:
                self.notes.append(str(error))

    def _audit(self, entry: AuditEntry) -> None:
        if self._store is not None:
            self._store.audit(entry)


def _address(host: str) -> list[str]:
    """The address in canonical form that a host is written as; empty for a name."""
    try:
        return [str(ipaddress.ip_address(host))]
    except ValueError:
        return []
