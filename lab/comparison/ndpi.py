"""nDPI's reader on a capture of the programs' real clients."""

from __future__ import annotations

import csv
import subprocess
from collections.abc import Collection
from pathlib import Path

from lab.comparison.said import Names, Said

__all__ = ["labels", "parse", "parse_name"]

_LIMIT_S = 60


def labels(capture: Path, folder: Path, addresses: Collection[str], names: Names) -> dict[tuple[str, int], Said]:
    """The protocol that ndpiReader names for each (transport, port) of one of `addresses`; empty where it fails."""
    file = folder / "ndpi.csv"
    command = ["ndpiReader", "-i", str(capture), "-C", str(file), "-q"]
    try:
        subprocess.run(command, capture_output=True, check=False, timeout=_LIMIT_S)
        return parse(file.read_text(errors="replace"), addresses, names)
    except (OSError, subprocess.TimeoutExpired):
        return {}


def parse(text: str, addresses: Collection[str], names: Names) -> dict[tuple[str, int], Said]:
    """Read ndpiReader's CSV; of several flows of a port the first that has a name counts."""
    found: dict[tuple[str, int], Said] = {}
    transports = {"6": "tcp", "17": "udp", "TCP": "tcp", "UDP": "udp"}
    for row in csv.DictReader(text.splitlines()):
        transport = transports.get(row.get("protocol") or "", "")
        name = row.get("ndpi_proto") or ""
        for side in ("src", "dst"):
            port = row.get(f"{side}_port") or ""
            if transport and port.isdecimal() and row.get(f"{side}_ip") in addresses:
                said = parse_name(name, names)
                if found.get((transport, int(port)), Said()).service is None:
                    found[transport, int(port)] = said
    return found


def parse_name(name: str, names: Names) -> Said:
    """`TLS.HTTP` is HTTP inside TLS; the last part that names something counts."""
    parts = name.split(".")
    service, over = names.ours(parts[-1])
    if len(parts) > 1 and parts[0].lower() in {"tls", "quic", "dtls"} and service not in {None, "tls"}:
        over = parts[0].lower()
    return Said(service=service, over=over, text=name)
