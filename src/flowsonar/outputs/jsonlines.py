"""JSON lines with Suricata's EVE field names."""

from __future__ import annotations

from collections.abc import Iterable
from typing import IO

from flowsonar.model import EndpointRecord, FlowRecord
from flowsonar.outputs.linesoutput import LinesOutput

__all__ = ["JsonOutput"]


class JsonOutput(LinesOutput):
    """Every record as one JSON object; `data` adds the bytes of the evidence as hex."""

    def __init__(
        self,
        *,
        live: bool,
        stream: IO[bytes] | None = None,
        name: str = "standard output",
        close: bool = False,
        data: bool = False,
    ) -> None:
        super().__init__(live=live, stream=stream, name=name, close=close)
        self._data = data

    def line(self, record: FlowRecord | EndpointRecord) -> bytes:
        """Make one line."""
        from flowsonar.outputs.eve import encode  # what the fast lane made is written without

        return encode(record, data=self._data)

    def write_ended(self, ended: Iterable[bytes | FlowRecord]) -> None:
        """Write records, and lines that are ready; raises as `write` does."""
        for one in ended:
            self._take(one if isinstance(one, bytes) else self.line(one))
        if self._live:
            self.flush()
