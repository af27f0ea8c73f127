"""The tables of docs/skype.md, made from what `flowsonar read --json` says of the two recorded Skype clients.

    python -m bench.skypepage --shared ../shared

A test compares the page with it, so the page cannot say what the program does not.
"""

from __future__ import annotations

import argparse
import json
import re
import subprocess
import sys
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

__all__ = ["CAPTURES", "flows", "main", "stage", "table"]

CAPTURES = ("SkypeIRC.cap", "skype.pcap")
_STAGES: tuple[tuple[str, str, str], ...] = (
    ("UDP", "sent again", "UDP probe, refused for its address and sent again"),
    ("UDP", "fragments", "UDP probe, answered in fragments"),
    ("UDP", "both ways", "UDP probe, accepted or refused, and what follows"),
    ("UDP", "acknowledgement", "UDP probe, acknowledged in clear"),
    ("UDP", "UDP probe", "UDP probe without an answer, from a port that other flows prove"),
    ("UDP", "", "another datagram of a proven port"),
    ("TCP", "version check|report of the installation", "HTTP communication with ui.skype.com"),
    ("TCP", "imitated TLS|constant", "TCP to a server on 443, in the clothes of TLS"),
    ("TCP", "login server", "authentication at a login server (33033)"),
    ("TCP", "event server", "event server (12350)"),
    ("TCP", "search server", "search server (13392)"),
    ("TCP", "TCP to a server", "login dialogue or known server on another port"),
    ("TCP", "super node, the client's", "TCP handshake with a super node"),
    ("TCP", "with a node", "TCP handshake of a peer with this node"),
    ("TCP", "super node or peer", "TCP to a super node or peer that UDP has shown"),
    ("TCP", "handshake's lengths", "TCP to super nodes and peers, by the handshake's lengths"),
    ("TCP", "port ", "port alone, nothing was answered"),
)
_NOTE = re.compile(r"; another flow of the port:.*$")


def flows(capture: Path) -> list[dict[str, Any]]:
    """The flow records of a capture."""
    command = [sys.executable, "-m", "flowsonar", "read", "--json", str(capture)]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    return [record for line in done.stdout.splitlines() if (record := json.loads(line))["event_type"] == "flow"]


def stage(record: dict[str, Any]) -> str | None:
    """The step of classic Skype's life that a flow shows; None for a flow that is not Skype's."""
    said = record["flowsonar"]
    if said["service"] != "skype":
        return None
    detail = _NOTE.sub("", "; ".join(piece["detail"] for piece in said["evidence"] if piece["service"] == "skype"))
    for proto, pattern, name in _STAGES:
        if record["proto"] == proto and re.search(pattern, detail):
            return name
    return "not told apart"


def table(records: Iterable[dict[str, Any]]) -> list[str]:
    """Flows by step and confidence in Markdown, in the order of the steps."""
    counts: dict[tuple[str, str], int] = {}
    other = total = 0
    for record in records:
        total += 1
        name = stage(record)
        if name is None:
            other += 1
            continue
        where = name, record["flowsonar"]["confidence"]
        counts[where] = counts.get(where, 0) + 1
    order = {name: place for place, (_, _, name) in enumerate(_STAGES)}
    lines = ["| step | flows | confidence |", "|---|---|---|"]
    for name, confidence in sorted(counts, key=lambda item: (order.get(item[0], len(order)), item[1])):
        lines.append(f"| {name} | {counts[name, confidence]} | {confidence} |")
    return [*lines, f"| not Skype's | {other} of {total} | |"]


def main(words: Sequence[str] | None = None) -> None:
    """Print the tables."""
    parser = argparse.ArgumentParser(prog="python -m bench.skypepage", description=__doc__)
    parser.add_argument("--shared", type=Path, default=Path("../shared"), metavar="DIR")
    chosen = parser.parse_args(words)
    for capture in CAPTURES:
        print(capture, "", *table(flows(chosen.shared / "corpus" / "skype" / capture)), "", sep="\n")


if __name__ == "__main__":
    main()
