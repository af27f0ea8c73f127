"""Counts for the header and the closing summary."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from typing import Final

from rich.text import Text

from flowsonar.model import Confidence, EndpointRecord, FlowRecord
from flowsonar.outputs.row import amount, is_end
from flowsonar.verdicts.explain import CONFIDENCE_STYLES
from flowsonar.verdicts.visible import visible

__all__ = ["Tally", "counters_line"]

SERVICES: Final = 40
"""Lines of the summary; what is left is one more line."""


class Tally:
    """Flows and bytes by label, and how many of the living flows have which confidence.

    Bounded: labels come from the signatures, living flows are as many as the flow table holds.
    """

    def __init__(self) -> None:
        self._labels: dict[tuple[str, str, Confidence], list[int]] = {}
        self._open: dict[int, Confidence] = {}
        self._ended: Counter[Confidence] = Counter()

    def add(self, record: FlowRecord | EndpointRecord) -> None:
        """Count a record."""
        confidence = record.verdict.confidence
        if isinstance(record, EndpointRecord):
            self._label(record, 0)
            self._ended[confidence] += 1
        elif is_end(record):
            self._open.pop(record.flow_id, None)
            self._ended[confidence] += 1
            self._label(record, record.counters.bytes_toserver + record.counters.bytes_toclient)
        else:
            self._open[record.flow_id] = confidence

    def confidences(self) -> dict[Confidence, int]:
        """Flows by confidence, ended and labelled living ones, the surest first."""
        counts = self._ended + Counter(self._open.values())
        return {confidence: counts[confidence] for confidence in Confidence}

    def summary(self) -> Text:
        """Tell what there was, the heaviest first."""
        text = Text()
        rows = sorted(self._labels.items(), key=lambda item: (-item[1][1], -item[1][0], item[0]))
        if not rows:
            return text
        text.append(f"{'service':<22} {'confidence':<10} {'flows':>9} {'bytes':>8}\n", style="bold")
        for (service, over, confidence), (flows, size) in rows[:SERVICES]:
            label = f"{visible(service, 30)} ({over})" if over else visible(service, 30)
            text.append(f"{label:<22} ")
            text.append(f"{confidence:<10}", style=CONFIDENCE_STYLES[confidence])
            text.append(f" {flows:>9} {amount(size):>8}\n")
        if len(rows) > SERVICES:
            rest = [counts for _, counts in rows[SERVICES:]]
            flows, size = sum(flows for flows, _ in rest), sum(size for _, size in rest)
            text.append(f"{f'{len(rest)} more':<22} {'':<10} {flows:>9} {amount(size):>8}\n")
        text.rstrip()
        return text

    def _label(self, record: FlowRecord | EndpointRecord, size: int) -> None:
        verdict = record.verdict
        counts = self._labels.setdefault((verdict.service or "unknown", verdict.over or "", verdict.confidence), [0, 0])
        counts[0] += 1
        counts[1] += size


def counters_line(counters: Mapping[str, int], confidences: Mapping[Confidence, int]) -> Text:
    """Say in one line what was seen, labelled and sent; what was dropped stands out."""
    text = Text()
    text.append(f"packets {amount(counters.get('frames', 0))}")
    drops = counters.get("kernel_drops", 0)
    text.append(f"  dropped {amount(drops)}", style="bold red" if drops else "")
    text.append(f"  flows {amount(counters.get('flows', 0))}")
    for confidence, count in confidences.items():
        text.append("  ")
        text.append(f"{confidence} {amount(count)}", style=CONFIDENCE_STYLES[confidence])
    if "connections" in counters or "datagrams" in counters:
        sent = counters.get("connections", 0) + counters.get("datagrams", 0)
        text.append(f"  probes {amount(sent)}")
    if counters.get("elapsed_ms"):
        text.append(f"  cpu {counters.get('cpu_ms', 0) / counters['elapsed_ms']:.0%}")
    return text
