"""Endpoints asked by name: `flowsonar probe`."""

from __future__ import annotations

import asyncio
import contextlib
import ipaddress
import socket
import time
from collections.abc import AsyncIterable, AsyncIterator, Iterable

from flowsonar.app.asking import Asking
from flowsonar.app.parts import Parts
from flowsonar.config import Settings
from flowsonar.errors import StoreError
from flowsonar.model import Answer, Endpoint, EndpointRecord, Hints, Outcome, Question
from flowsonar.probes import AuditEntry
from flowsonar.probes.targets import Target
from flowsonar.verdicts.fusion import fuse
from flowsonar.verdicts.store import Store

__all__ = ["Probing"]

_AHEAD = 2048
"""Questions put before answers are awaited: enough to keep the prober busy, little enough to hold."""


class Probing:
    """Asks targets and gives one record each, in the order of the answers.

    Names are resolved with the system's resolver; every address is asked. `total` counts what was begun, `done`
    what was answered.
    """

    def __init__(
        self,
        targets: Iterable[Target] | AsyncIterable[Target],
        settings: Settings | None = None,
        *,
        keep: bool = True,
    ) -> None:
        self.settings = settings or Settings()
        self._targets = targets
        self._keep = keep
        self._store: Store | None = None
        self._names: dict[Endpoint, str] = {}
        self._stopping = False
        self._wake = asyncio.Event()
        self._room = asyncio.Event()
        self._refused: list[Answer] = []
        self.total = 0
        self.done = 0
        self.problems: list[str] = []
        self.planned: list[tuple[Question, list[str]]] = []

    def stop(self) -> None:
        """Ask nothing more; what is under way ends as `cancelled`."""
        self._stopping = True
        self._wake.set()

    async def __aiter__(self) -> AsyncIterator[EndpointRecord]:
        parts = Parts.load(self.settings)
        self._open_store()
        asking = Asking(self.settings, parts, audit=self._audit, wake=self._wake.set)
        feeding = asyncio.get_running_loop().create_task(self._feed(asking))
        feeding.add_done_callback(lambda _: self._wake.set())
        try:
            while True:
                self._wake.clear()
                self._room.set()
                for answer in self._answers(asking):
                    yield self._record(answer, parts)
                if self._stopping or (feeding.done() and not asking.busy):
                    break
                await self._wake.wait()
            feeding.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await feeding
            await asking.close()
            for answer in self._answers(asking):
                yield self._record(answer, parts)
            self.planned = asking.planned
        finally:
            feeding.cancel()
            await asking.close()
            self._close_store()

    async def _feed(self, asking: Asking) -> None:
        """Ask about the targets as they come, a bounded number ahead of the answers."""
        async for endpoint in self._endpoints():
            why = asking.why_not(endpoint)
            if why is not None:
                self._refused.append(Answer(endpoint=endpoint, outcome=Outcome.NOT_PERMITTED, detail=why))
                self._wake.set()
            else:
                asking.ask([self._question(endpoint)])
            while asking.busy + len(self._refused) >= _AHEAD:
                self._room.clear()
                await self._room.wait()

    def _answers(self, asking: Asking) -> list[Answer]:
        refused, self._refused = self._refused, []
        return refused + asking.take()

    async def _endpoints(self) -> AsyncIterator[Endpoint]:
        seen: set[Endpoint] = set()
        async for target in self._each():
            for address in await self._resolve(target.host):
                endpoint = Endpoint(target.transport, address, target.port)
                if endpoint not in seen:
                    seen.add(endpoint)
                    self.total += 1
                    if address != target.host:
                        self._names[endpoint] = target.host
                    yield endpoint

    async def _each(self) -> AsyncIterator[Target]:
        if isinstance(self._targets, AsyncIterable):
            async for target in self._targets:
                yield target
        else:
            for target in self._targets:
                yield target

    async def _resolve(self, host: str) -> list[str]:
        try:
            return [str(ipaddress.ip_address(host))]
        except ValueError:
            pass
        try:
            found = await asyncio.get_running_loop().getaddrinfo(host, None, type=socket.SOCK_STREAM)
        except (OSError, UnicodeError) as error:
            self.problems.append(f"{host}: cannot be resolved: {error}")
            return []
        return list(dict.fromkeys(str(entry[4][0]) for entry in found))

    def _question(self, endpoint: Endpoint) -> Question:
        return Question(endpoint=endpoint, hints=Hints(server_name=self._names.get(endpoint)))

    def _record(self, answer: Answer, parts: Parts) -> EndpointRecord:
        now_ns = time.time_ns()
        self.done += 1
        signatures, name = parts.signatures, self._names.get(answer.endpoint)
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
            bytes_sent=answer.bytes_sent,
            rtt_ms=answer.rtt_ms,
            verdict_ms=answer.took_ms,
            detail=answer.detail,
        )

    def _open_store(self) -> None:
        if not self._keep:
            return
        try:
            self._store = Store(self.settings.store)
        except StoreError as error:
            self.problems.append(f"{error}; going on without it, verdicts are not kept")

    def _close_store(self) -> None:
        if self._store is not None:
            try:
                self._store.close()
            except StoreError as error:
                self.problems.append(str(error))

    def _audit(self, entry: AuditEntry) -> None:
        if self._store is not None:
            self._store.audit(entry)
