"""flowsonar as its users run it: `flowsonar probe` on a list of endpoints, and `flowsonar read` of a capture."""

from __future__ import annotations

import ipaddress
import sys
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from lab.comparison.said import Said
from lab.sonar import read_lines

__all__ = ["probe_command", "probed", "read_command", "read_labels"]

_MAIN = (sys.executable, "-m", "flowsonar")
_RANKS = {"confirmed": 3, "likely": 2, "guess": 1}

_FREE = ("--rate", "2000", "--per-host", "2000")
"""All programs stand on one host: what protects a host would be measured, and nmap has nothing like it."""

Key = tuple[str, str, int]
"""Transport, address, port."""


def probe_command(endpoints: Iterable[Key], store: Path, more: Sequence[str] = ()) -> list[str]:
    """The command that asks endpoints: nothing but transport, host and port is told; `more` are further options."""
    targets = []
    for transport, address, port in endpoints:
        host = f"[{address}]" if ":" in address else address
        targets.append(f"{host}:{port}" + ("/udp" if transport == "udp" else ""))
    return [*_MAIN, "probe", "--json", "--store", str(store), *_FREE, *more, *targets]


def probed(file: Path) -> dict[Key, Said]:
    """What `flowsonar probe --json` wrote."""
    found = {}
    for record in read_lines(file)[0]:
        if record.get("event_type") == "endpoint":
            key = (str(record["proto"]).lower(), _address(record["dest_ip"]), int(record["dest_port"]))
            found[key] = _said(record)
    return found


def read_command(capture: Path) -> list[str]:
    """The command that reads a capture."""
    return [*_MAIN, "read", "--json", str(capture)]


def read_labels(file: Path, address: Sequence[str]) -> dict[tuple[str, int], Said]:
    """The best label of the flows with each (transport, port) of one of these addresses."""
    found: dict[tuple[str, int], Said] = {}
    for record in read_lines(file)[0]:
        if record.get("event_type") != "flow" or "dest_port" not in record:
            continue
        sides = ((record["dest_ip"], record["dest_port"]), (record["src_ip"], record["src_port"]))
        said = _said(record)
        for where, port in sides:
            if _address(where) in address:
                key = (str(record["proto"]).lower(), int(port))
                if _rank(said) > _rank(found.get(key)):
                    found[key] = said
    return found


def _rank(said: Said | None) -> int:
    return -1 if said is None else _RANKS.get(said.confidence, 0)


def _said(record: dict[str, Any]) -> Said:
    own = record.get("flowsonar", {})
    return Said(
        service=own.get("service"),
        over=own.get("over"),
        product=own.get("product"),
        version=own.get("version"),
        confidence=str(own.get("confidence", "")),
        ms=own.get("verdict_ms"),
        tries=int(own.get("connections", 0)) + int(own.get("datagrams", 0)),
        bytes_sent=int(own.get("bytes_sent", 0)),
        certificate=_certificate(own),
        text=_outcome(own),
    )


def _certificate(own: dict[str, Any]) -> str:
    details = (str(item.get("detail", "")) for item in own.get("evidence", ()))
    return next((detail for detail in details if "certificate for " in detail), "")


def _outcome(own: dict[str, Any]) -> str:
    if own.get("service") or not own.get("outcome"):
        return ""
    heard = [item.get("detail", "") for item in own.get("evidence", ())]
    return " ".join(["unknown:", own["outcome"], *heard[:1]])


def _address(text: object) -> str:
    return str(ipaddress.ip_address(str(text)))
