"""flowsonar: real-time traffic type detection by asking the endpoints.

    async for record in flowsonar.watch("eth0"): ...      live flows, labelled as they are recognised
    async for record in flowsonar.read("day.pcap"): ...   a capture
    async for record in flowsonar.probe("192.0.2.7:22"): ...
    for record in flowsonar.read_sync("day.pcap"): ...    the same without asyncio, for notebooks

Records are `flowsonar.model.FlowRecord` and `EndpointRecord`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:  # what is needed is imported when it is used: `flowsonar --help` needs none of it
    from collections.abc import AsyncIterator, Iterator
    from pathlib import Path

    from flowsonar.app import Watching
    from flowsonar.app.reading import Reading
    from flowsonar.config import Settings
    from flowsonar.model import EndpointRecord, FlowRecord

__all__ = ["__version__", "probe", "read", "read_sync", "watch"]

__version__ = "0.1.0"


def watch(
    *interfaces: str,
    settings: Settings | None = None,
    duration_s: float | None = None,
    write: str | Path | None = None,
    filter_expression: str | None = None,
) -> Watching:
    """Watch interfaces; an asynchronous iterator of `FlowRecord`, with `stop()` and `counters()`.

    Needs the right to open raw sockets (root or CAP_NET_RAW). `write` keeps the packets as pcapng. Raises
    CaptureError when iteration begins and an interface cannot be opened.
    """
    from flowsonar.app import Watching

    return Watching(interfaces, settings, duration_s=duration_s, write=write, filter_expression=filter_expression)


async def read(
    *captures: str | Path, settings: Settings | None = None, ask: bool = False, workers: int = 1
) -> AsyncIterator[FlowRecord]:
    """Flows of captures (pcap, pcapng, gzip'd; `-` is standard input); with `ask`, endpoints are asked now.

    `workers`: processes that share the work, for files and without `ask`; 0 for one on each core. Raises CaptureError
    where a capture cannot be opened.
    """
    reading = _reading(captures, settings, 1 if ask else workers)
    if not ask:
        async for record in reading:
            yield record
        return
    async for batch in reading.asking():
        for record in batch:
            yield record


def read_sync(*captures: str | Path, settings: Settings | None = None, workers: int = 1) -> Iterator[FlowRecord]:
    """Like `read` without asking, as a plain iterator."""
    return iter(_reading(captures, settings, workers))


def _reading(captures: tuple[str | Path, ...], settings: Settings | None, workers: int) -> Reading:
    from flowsonar.app import Reading

    if workers == 1:
        return Reading(captures, settings)
    from flowsonar.app.workers import WorkerReading, workers_of

    count = workers_of(workers)
    return WorkerReading(captures, settings, workers=count) if count > 1 else Reading(captures, settings)


async def probe(*targets: str, settings: Settings | None = None) -> AsyncIterator[EndpointRecord]:
    """Ask endpoints (`host:port`, `host:port/udp`, `[v6]:port`, ranges); records in the order of the answers.

    Raises ConfigError where a target is not understood.
    """
    from flowsonar.app import Probing
    from flowsonar.probes.targets import parse_target

    expressions = [parse_target(text) for text in targets]
    async for record in Probing((one for expression in expressions for one in expression), settings):
        yield record
