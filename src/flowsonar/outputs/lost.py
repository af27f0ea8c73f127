"""What a run did not count or dropped, as one line: for tables and for programs alike."""

from __future__ import annotations

from collections.abc import Mapping

__all__ = ["lost_line"]


def lost_line(counters: Mapping[str, int]) -> str:
    """Name every drop and bound that was reached, by its counter; empty when there was none."""
    told = [
        f"{name} {count}"
        for name, count in sorted(counters.items())
        if count and (name.startswith(("frames_", "flows_evicted")) or "drop" in name or name == "turned_away")
    ]
    return f"not counted or dropped: {', '.join(told)}" if told else ""
