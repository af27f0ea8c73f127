"""Draws how long the call was under way, of what the laboratory wrote: `python -m lab.shaping.plot IN.json OUT.svg`."""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence
from pathlib import Path

__all__ = ["longest", "main"]

_EACH_S = 0.2

_COLOURS = {"idle": "#777777", "plain": "#c0392b", "shared": "#e08e0b", "hand": "#2980b9", "flowsonar": "#1e8449"}
_TITLES = {"plain": "nobody shapes", "shared": "one shared queue", "flowsonar": "flowsonar", "idle": "idle line"}


def longest(points: Sequence[Sequence[float]], each_s: float = _EACH_S) -> tuple[list[float], list[float]]:
    """(middle, longest delay) of each part of the time that long, of (seconds, milliseconds)."""
    found: dict[int, float] = {}
    for second, delay in points:
        part = int(second / each_s)
        found[part] = max(found.get(part, 0.0), delay)
    return [(part + 0.5) * each_s for part in sorted(found)], [found[part] for part in sorted(found)]


def main(arguments: Sequence[str]) -> int:
    """Two pictures above each other: the caller's voice out, the other's voice in."""
    import matplotlib  # noqa: PLC0415 - in the laboratory's environment only

    matplotlib.use("svg")
    matplotlib.rcParams["svg.hashsalt"] = "flowsonar"
    matplotlib.rcParams["svg.fonttype"] = "none"  # text as text, not as outlines of each letter
    from matplotlib import pyplot  # noqa: PLC0415 - likewise

    found = json.loads(Path(arguments[0]).read_text())
    line = found["line"]
    figure, axes = pyplot.subplots(2, 1, figsize=(9, 6), sharex=True)
    for axis, direction in zip(axes, ("up", "down"), strict=True):
        for way in ("plain", "shared", "flowsonar", "idle"):
            points = found["ways"].get(way, {}).get(direction, {}).get("points")
            if points:
                axis.plot(*longest(points), linewidth=1.1, color=_COLOURS[way], label=_TITLES[way])
        axis.set_yscale("log")
        axis.set_ylabel(f"ms under way, longest in {_EACH_S:g} s")
        axis.set_title(f"voice {direction}, line of {line[f'{direction}_kbit'] / 1000:g} Mbit/s", fontsize=10)
        axis.grid(visible=True, which="both", linewidth=0.3, color="#cccccc")
    axes[0].legend(loc="upper right", fontsize=8)
    axes[1].set_xlabel("seconds since 40 BitTorrent connections and an HTTPS download began")
    figure.tight_layout()
    figure.savefig(arguments[1], dpi=110, metadata={"Date": None})
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
