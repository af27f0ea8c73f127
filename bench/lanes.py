"""How captures go through the fast lane: `python -m bench.lanes CAPTURE...` prints its counters.

To be looked at after changes to what Python keeps of a flow: state that `app/learning.py` does not know makes flows
leave the lane, which no test of equal records can see. `learned` goes down run by run until nothing new is met.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence

from flowsonar.app import Reading

__all__ = ["lanes"]


def lanes(captures: Sequence[str]) -> list[str]:
    """The rows of a table: flows in all, those that stayed in the lane, those that left it, shapes learned."""
    rows = [
        "| capture | flows | in the lane | left it | for want of room | shapes learned | steps made |",
        "|---" * 7 + "|",
    ]
    for capture in captures:
        reading = Reading([capture])
        for _ in reading.lines():
            pass
        names = ("flows", "lane_flows", "lane_left", "lane_no_room", "lane_learned", "lane_steps")
        counts = [f"{reading.counters.get(name, 0):,}" for name in names]
        rows.append("| " + " | ".join([capture, *counts]) + " |")
    return rows


if __name__ == "__main__":
    print("\n".join(lanes(sys.argv[1:])))
