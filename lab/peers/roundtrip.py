"""Measures a round trip by connecting to a closed TCP port: `python -m lab.peers.roundtrip COUNT ADDRESS...`.

Prints one line an address: median and largest time in ms until the refusal came. It also fills the neighbour caches.
"""

from __future__ import annotations

import socket
import statistics
import sys
import time

__all__ = ["measure_ms"]

_CLOSED_PORT = 19_999


def measure_ms(address: str, count: int) -> list[float]:
    """Times until refusal; a try that got no answer within 3 s is left out."""
    found = []
    for _ in range(count):
        family = socket.AF_INET6 if ":" in address else socket.AF_INET
        with socket.socket(family, socket.SOCK_STREAM) as end:
            end.settimeout(3)
            started_ns = time.perf_counter_ns()
            try:
                end.connect((address, _CLOSED_PORT))
            except ConnectionRefusedError:
                found.append((time.perf_counter_ns() - started_ns) / 1e6)
            except OSError:
                continue
    return found


def main(arguments: list[str]) -> int:
    """Measure each address."""
    for address in arguments[1:]:
        times = measure_ms(address, int(arguments[0]))
        print(address, *(f"{value:.3f}" for value in (statistics.median(times), max(times))) if times else ("none",))
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
