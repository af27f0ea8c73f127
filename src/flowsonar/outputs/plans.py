"""What would be asked of an endpoint, as one line: for people or for programs."""

from __future__ import annotations

from collections.abc import Sequence

import orjson

from flowsonar.model import Endpoint
from flowsonar.outputs.eve import proto

__all__ = ["plan_line"]


def plan_line(endpoint: Endpoint, moves: Sequence[str], *, json: bool) -> bytes:
    """Make one line with its end."""
    if json:
        record = {
            "event_type": "plan",
            "dest_ip": endpoint.address,
            "dest_port": endpoint.port,
            "proto": proto(endpoint.transport, endpoint.address),
            "flowsonar": {"plan": list(moves)},
        }
        return orjson.dumps(record, option=orjson.OPT_APPEND_NEWLINE)
    where = f"[{endpoint.address}]" if ":" in endpoint.address else endpoint.address
    return f"would ask {where}:{endpoint.port}/{endpoint.transport}: {'; '.join(moves)}\n".encode("utf-8", "replace")
