"""The flow table: packets in, events out. C where it was built, the Python reference elsewhere."""

from __future__ import annotations

import os
from typing import Any, Protocol, cast

from flowsonar import _native, limits
from flowsonar.config import FlowSettings
from flowsonar.errors import ConfigError
from flowsonar.flows.events import Closed, Established, FlowEvent, Opened, Payload
from flowsonar.model import Block

__all__ = ["CAPACITY_MAX", "FOLLOW_PREFIXES", "FOLLOW_PREFIX_BYTES", "TIMEOUT_MAX_S", "FlowTable", "make_table"]

CAPACITY_MAX = 1 << 24
"""4 GiB of table."""

TIMEOUT_MAX_S = 1e8
"""Three years: far beyond use, and 64 bits of nanoseconds never overflow."""

FOLLOW_PREFIXES, FOLLOW_PREFIX_BYTES = 32, 64
"""Prefixes are compared one after the other with each flow's first payload."""


class FlowTable(Protocol):
    """What both tables do. One thread at a time; a call from another meanwhile is a RuntimeError."""

    def feed(self, block: Block) -> list[FlowEvent]:
        """Count a block's frames to their flows; what happened, in order. ValueError: `frames` is not whole entries."""
        ...

    def expire(self, now_ns: int) -> list[FlowEvent]:
        """Close what is idle at `now_ns`, on the clock that the packets' times are of."""
        ...

    def finish(self) -> list[FlowEvent]:
        """Close everything: the capture ended."""
        ...

    def follow(self, flow: int) -> None:
        """Report all payloads of up to `limits.FOLLOWED_BYTES` from now on; a flow that ended is no error."""
        ...

    def release(self, flow: int) -> None:
        """Report no payload of this flow any more."""
        ...

    def bytes_of(self, flow: int) -> int:
        """Bytes of IP of both directions so far; 0 for a flow that ended."""
        ...

    def counters(self) -> dict[str, int]:
        """Sums since the beginning: `frames` is `packets` (counted to a flow) and all `frames_*` (why not)."""
        ...

    def __len__(self) -> int:
        """Flows in the table."""
        ...


def make_table(
    settings: FlowSettings,
    *,
    follow: tuple[bytes, ...] = (),
    native: bool | None = None,
    seed: bytes | None = None,
    lanes: tuple[Any, ...] | None = None,
) -> FlowTable:
    """An empty table; raises ConfigError.

    `follow`: a TCP flow whose first payload in a direction starts with one of these is followed from there on.
    `native`: True for the C table, False for the reference, None for the best there is.
    `lanes`: what the fast lane needs (`app.lanes`), for the C table; None for a table that reports every flow.
    `seed`: 16 bytes for the hash, for tests; random otherwise, so that nobody can choose flows that collide.
    """
    if not 1 <= settings.capacity <= CAPACITY_MAX:
        raise ConfigError(f"flows.capacity is {settings.capacity}: give 1 to {CAPACITY_MAX}")
    for name in ("idle_timeout_s", "active_timeout_s"):
        value = getattr(settings, name)
        if not 0.001 <= value <= TIMEOUT_MAX_S:
            raise ConfigError(f"flows.{name} is {value}: give 0.001 to {TIMEOUT_MAX_S:.0f}")
    if len(follow) > FOLLOW_PREFIXES or not all(1 <= len(prefix) <= FOLLOW_PREFIX_BYTES for prefix in follow):
        raise ConfigError(f"follow: at most {FOLLOW_PREFIXES} prefixes of 1 to {FOLLOW_PREFIX_BYTES} bytes")
    if seed is not None and len(seed) != 16:
        raise ConfigError("seed: give 16 bytes")
    if native is None:
        native = hasattr(_native.core, "FlowTable")
    if not native:
        from flowsonar.flows._reference import ReferenceTable

        return ReferenceTable(settings, follow)
    if _native.core is None:
        raise ConfigError(f"no native flow table: {_native.reason}")
    table = _native.core.FlowTable(
        capacity=settings.capacity,
        idle_ns=round(settings.idle_timeout_s * 1e9),
        active_ns=round(settings.active_timeout_s * 1e9),
        half_open_ns=round(min(limits.HALF_OPEN_TIMEOUT_S, settings.idle_timeout_s) * 1e9),
        follow=follow,
        seed=os.urandom(16) if seed is None else seed,
        events=(Opened, Established, Payload, Closed),
        budget=(
            limits.PAYLOAD_PACKETS_TCP,
            limits.PAYLOAD_PACKETS_UDP,
            limits.PAYLOAD_BYTES,
            limits.FOLLOWED_PACKETS,
            limits.FOLLOWED_BYTES,
            limits.FOLLOWED_DATAGRAMS,
        ),
        lanes=lanes,
    )
    return cast("FlowTable", table)
