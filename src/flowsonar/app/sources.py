"""Where the flows of a live run come from: what a source does for `Watching`."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Protocol

from flowsonar.flows.events import FlowEvent

__all__ = ["Source"]


class Source(Protocol):
    """Gives flow events when asked. Opening comes before all else, closing after it; `close` may be called twice."""

    interfaces: tuple[str, ...]
    """Names for the events' interface numbers."""
    settle_s: float
    """How long what has happened may still be on its way to `events`."""

    def open(self) -> None:
        """Begin, so that nothing is lost while the rest of the program is loaded. Raises CaptureError."""

    def descriptors(self) -> list[int]:
        """Files whose readability means that there are events."""

    def events(self) -> Iterator[Sequence[FlowEvent]]:
        """Give what is there now, in parts."""

    def expire(self, now_ns: int) -> Sequence[FlowEvent]:
        """Give what time alone has ended."""

    def finish(self) -> Sequence[FlowEvent]:
        """End all flows that are open."""

    def follow(self, flow: int) -> None:
        """Report all short payloads of this flow."""

    def release(self, flow: int) -> None:
        """Report no payload of this flow any more."""

    def check(self) -> list[str]:
        """Look after what may have gone wrong, once a second; what people should know."""

    def counters(self) -> Mapping[str, int]:
        """What was seen and dropped."""

    def close(self) -> list[str]:
        """Let go of everything; what went wrong with it."""
