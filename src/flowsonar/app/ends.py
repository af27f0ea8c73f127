"""Live flows whose ends are all that is wanted: followed in the fast lane, as those of captures are."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any

from flowsonar.app.packets import ring_blocks
from flowsonar.app.reading import Reading
from flowsonar.capture.live import LiveCapture
from flowsonar.config import Settings

if TYPE_CHECKING:
    from flowsonar.app.parts import Parts
    from flowsonar.flows.table import FlowTable

__all__ = ["Ends"]


class Ends(Reading):
    """`lines` gives them until `stop` is called or `duration_s` is over. Asks nobody.

    A flow that is idle ends when the next packets come, whosever they are. Raises CaptureError when iteration begins
    and an interface cannot be opened.
    """

    def __init__(
        self,
        interfaces: Sequence[str],
        settings: Settings | None = None,
        *,
        duration_s: float | None = None,
        filter_expression: str | None = None,
        parts: Parts | None = None,
    ) -> None:
        super().__init__((), settings, parts=parts)
        self._interfaces = tuple(dict.fromkeys(interfaces))
        self._filter = filter_expression or self.settings.capture.filter
        self._duration_s = duration_s
        self._live: LiveCapture | None = None
        self._blocks_wanted = ring_blocks(self.settings.capture)

    def end(self) -> None:
        """End the run as if nothing more came: what has come is recorded. For signal handlers."""
        if self._live is not None:
            self._live.stop()
        else:
            self._stopping = True

    def _opened(self) -> Iterator[tuple[str, Any]]:
        capture = LiveCapture(
            self._interfaces,
            blocks=self._blocks_wanted,
            rings=self.settings.capture.rings,
            filter=self._filter,
            duration_s=self._duration_s,
        )
        self._live = capture
        _ = self._parts.matcher  # now, while the rings keep the packets: what is not in the cache takes seconds
        yield ", ".join(self._interfaces), capture
        self.problems += capture.told

    def _sum_up(self, capture: Any, table: FlowTable, counts: dict[str, int]) -> None:
        super()._sum_up(capture, table, counts | capture.counters())
