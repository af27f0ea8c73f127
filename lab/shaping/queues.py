"""The gateway's other ways: flowsonar's queues with marks set by a hand that knows everything, and one shared queue.

    python -m lab.shaping.queues hand STATE PEERS.json | clear STATE

The hand knows the truth from the start: what it reaches is what marks can reach at best.
"""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

from flowsonar.model import TrafficClass
from flowsonar.shaping.applier import Applier
from flowsonar.shaping.classes import DEFAULT_CLASSES, by_name
from flowsonar.shaping.kernel import examine
from flowsonar.shaping.queues import Line, plan
from lab.shaping.network import DOWN_KBIT, UP_KBIT, server_address

__all__ = ["DOWN_SHAPED_KBIT", "UP_SHAPED_KBIT", "rules", "shared_queue"]

UP_SHAPED_KBIT, DOWN_SHAPED_KBIT = UP_KBIT * 96 // 100, DOWN_KBIT * 92 // 100
"""A little below the line: downloads need more room, since what comes in cannot be held back at once."""
_SHARED_MS = 100


def rules(peers: Sequence[tuple[str, int]]) -> str:
    """The firewall's rules of somebody who knows which endpoints are which."""
    bulk, call = by_name(DEFAULT_CLASSES, TrafficClass.BULK), by_name(DEFAULT_CLASSES, TrafficClass.REALTIME)
    plain = by_name(DEFAULT_CLASSES, TrafficClass.DEFAULT)
    elements = ", ".join(f"{address} . {port}" for address, port in peers)
    voice = f"meta l4proto udp ip {{}} {server_address(1)} meta priority set {call.classid} ip dscp set {call.dscp}"
    fetched = f"ip {{0}} . th {{1}} @peers meta priority set {bulk.classid} ip dscp set {bulk.dscp}"
    lines = [
        "table inet hand {",
        f"set peers {{ type ipv4_addr . inet_service; elements = {{ {elements} }}; }}",
        "chain out { type filter hook postrouting priority mangle;",
        *(voice.format(side) for side in ("saddr", "daddr")),
        fetched.format("saddr", "sport"),
        fetched.format("daddr", "dport"),
        # Acknowledgements do not wait among data: the other direction would stand still.
        f"meta priority {bulk.classid} meta l4proto tcp meta length < 100 meta priority set {plain.classid}",
        "}",
        "}",
    ]
    return "\n".join(lines) + "\n"


def shared_queue() -> list[str]:
    """Commands for tc: the same bandwidths, one queue a direction for all."""
    found = []
    for device, kbit in (("wan", UP_SHAPED_KBIT), ("lan", DOWN_SHAPED_KBIT)):
        limit = kbit * _SHARED_MS // 8
        found.append(f"qdisc replace dev {device} root tbf rate {kbit}kbit burst 3028 limit {limit}")
    return found


def main(arguments: Sequence[str]) -> int:
    """Set up, or take back."""
    state = Path(arguments[1])
    if arguments[0] == "clear":
        Applier.clear(state)
        subprocess.run(["nft", "delete", "table", "inet", "hand"], check=False, capture_output=True)
        return 0
    line = Line(wan="wan", up_kbit=UP_SHAPED_KBIT, down_kbit=DOWN_SHAPED_KBIT, lan=("lan",))
    chosen = plan(examine(), [line])
    print(chosen.text())
    Applier(state).apply(chosen)
    peers = json.loads(Path(arguments[2]).read_text())
    subprocess.run(["nft", "-f", "-"], input=rules(peers), text=True, check=True)
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
