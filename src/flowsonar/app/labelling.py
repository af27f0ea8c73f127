"""Flow records of other tools, given back with a label: who has only NetFlow gets labels too."""

from __future__ import annotations

import asyncio
import contextlib
import json
from collections import OrderedDict, deque
from collections.abc import AsyncIterator, Mapping
from typing import Any, Final

import orjson

from flowsonar.app.probing import Probing
from flowsonar.config import Settings
from flowsonar.model import Endpoint, EndpointRecord, Outcome
from flowsonar.outputs.eve import endpoint_label
from flowsonar.probes.flowlines import FlowLine
from flowsonar.probes.targets import Target

__all__ = ["Labelling"]

WINDOW: Final = 8192
"""Lines read ahead of the first one that waits for its answer."""
REMEMBERED: Final = 4 * WINDOW
"""Labels of endpoints remembered; more than lines wait, so that none is forgotten that one of them needs."""


class Labelling:
    """Asks the responder of every record once and gives the records back as JSON lines, in their order.

    The first `skip` records are left out: a run before wrote them. `labels` are what it found.
    """

    def __init__(
        self,
        records: AsyncIterator[FlowLine],
        settings: Settings | None = None,
        *,
        keep: bool = True,
        skip: int = 0,
        labels: Mapping[str, bytes] | None = None,
    ) -> None:
        self._records = records
        self._skip = skip
        self._labels: OrderedDict[str, bytes] = OrderedDict(labels or {})
        self._asked: set[str] = set()
        self._waiting: deque[tuple[Mapping[str, Any], str, str]] = deque()
        self._ready: list[bytes] = []
        self._news = asyncio.Event()
        self._room = asyncio.Event()
        self.probing = Probing(self._targets(), settings, keep=keep, again=True)
        self.answered: list[EndpointRecord] = []
        """Records of the endpoints since you last emptied it."""
        self.written = 0

    def stop(self) -> None:
        """Ask nothing more; lines whose answer is missing are not given."""
        self.probing.stop()

    async def batches(self) -> AsyncIterator[list[bytes]]:
        """Give lines as they are ready."""
        working = asyncio.get_running_loop().create_task(self._listen())
        working.add_done_callback(lambda _: self._news.set())
        try:
            while True:
                self._news.clear()
                ready, self._ready = self._ready, []
                if ready:
                    self.written += len(ready)
                    self._room.set()
                    yield ready
                    continue
                if working.done():
                    working.result()
                    return
                await self._news.wait()
        finally:
            working.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await working

    async def _listen(self) -> None:
        async for records in self.probing.batches():
            for record in records:
                if record.outcome is not Outcome.CANCELLED:
                    self._learn(record)
            self.answered += records
            self._give()

    def _learn(self, record: EndpointRecord) -> None:
        key = _key(record.endpoint)
        self._asked.discard(key)
        self._labels[key] = _dumps({**endpoint_label(record), "asked": key})
        while len(self._labels) > REMEMBERED:
            self._labels.popitem(last=False)

    async def _targets(self) -> AsyncIterator[Target]:
        async for record in self._records:
            if self._skip:
                self._skip -= 1
                continue
            while len(self._waiting) + len(self._ready) >= WINDOW:
                self._room.clear()
                await self._room.wait()
            target = record.target
            key = "" if target is None else _key(Endpoint(target.transport, target.host, target.port))
            self._waiting.append((record.fields, key, record.why))
            if key in self._labels:
                self._labels.move_to_end(key)
            elif target is not None and key not in self._asked:
                self._asked.add(key)
                yield target
            self._give()
        self._give()

    def _give(self) -> None:
        """Move what has its label, as far as the order lets it."""
        while self._waiting:
            fields, key, why = self._waiting[0]
            label = self._labels.get(key) if key else _NOBODY % _dumps(why)
            if label is None:
                break
            self._waiting.popleft()
            self._ready.append(_joined(fields, label))
        self._room.set()
        if self._ready:
            self._news.set()


_NOBODY: Final = b'{"service":null,"confidence":"unknown","outcome":"not-permitted","detail":%s,"asked":null}'


def _key(endpoint: Endpoint) -> str:
    host = f"[{endpoint.address}]" if ":" in endpoint.address else endpoint.address
    return f"{host}:{endpoint.port}/{endpoint.transport}"


def _joined(fields: Mapping[str, Any], label: bytes) -> bytes:
    shown = {key: value for key, value in fields.items() if key != "flowsonar"}
    inner = _dumps(shown)[:-1]
    return inner + (b"," if len(inner) > 1 else b"") + b'"flowsonar":' + label + b"}\n"


def _dumps(value: object) -> bytes:
    try:
        return orjson.dumps(value)
    except (TypeError, ValueError, RecursionError):  # a lone surrogate, a number beyond 64 bits, a deep nest
        return json.dumps(value, separators=(",", ":"), ensure_ascii=True).encode()
