"""nmap -sV on the same ports in the same run: what it says and how long it takes, beside flowsonar."""

from __future__ import annotations

import subprocess
import time
import xml.etree.ElementTree as ET
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from lab.programs import Program, Programs
from lab.services import Service
from lab.topology import ADDRESS4, GATEWAY, SERVER

__all__ = ["Scan", "parse", "scan", "table"]

_AT_ONCE = 6
_LIMIT_S = 120.0
"""For all ports together: a silent UDP port alone would take minutes."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Scan:
    """nmap's word on one port."""

    service: str
    """The laboratory's name."""
    said: str
    seconds: float | None
    """None when it was ended before it was done."""


def parse(document: str) -> str:
    """Service, tunnel and product of the first port in nmap's XML output."""
    try:
        node = ET.fromstring(document).find(".//port/service")
    except ET.ParseError:
        return "-"
    if node is None:
        return "-"
    tunnel = f" over {node.get('tunnel')}" if node.get("tunnel") else ""
    guessed = "" if node.get("method") == "probed" else " (by port)"
    return f"{node.get('name', '-')}{tunnel}{guessed} {node.get('product', '')}".strip()


def scan(programs: Programs, services: Sequence[Service], folder: Path) -> list[Scan]:
    """Scan each service's port with a process of its own, a few at a time."""
    folder.mkdir()
    waiting = [service for service in services if 4 in service.families]
    running: list[tuple[Service, Program, Path, float]] = []
    found: list[Scan] = []
    end_s = time.monotonic() + _LIMIT_S
    while (waiting or running) and time.monotonic() < end_s:
        while waiting and len(running) < _AT_ONCE:
            service = waiting.pop(0)
            file = folder / f"{service.name}.xml"
            kind = ["-sU"] if service.transport == "udp" else []
            where = ["-p", str(service.port), "-oX", str(file), ADDRESS4[SERVER]]
            program = programs.start(GATEWAY, ["nmap", "-Pn", "-n", *kind, "-sV", *where], name="nmap")
            running.append((service, program, file, time.monotonic()))
        for item in list(running):
            service, program, file, started_s = item
            try:
                program.process.wait(0.02)
            except subprocess.TimeoutExpired:
                continue
            running.remove(item)
            found.append(Scan(service=service.name, said=parse(file.read_text()), seconds=time.monotonic() - started_s))
    programs.stop(program for _, program, _, _ in running)
    ended = [service for service, *_ in running] + waiting
    return found + [Scan(service=service.name, said="-", seconds=None) for service in ended]


def table(scans: Iterable[Scan], ours_ms: dict[str, tuple[str, float | None]]) -> list[str]:
    """Put nmap's answers beside ours; `ours_ms` has label and time by service."""
    lines = [f"{'service':20}  {'nmap -sV says':44}  {'nmap s':>8}  {'flowsonar says':18}  {'flowsonar s':>11}"]
    for item in scans:
        label, ms = ours_ms.get(item.service, ("-", None))
        took = "-" if item.seconds is None else f"{item.seconds:.2f}"
        ours = "-" if ms is None else f"{ms / 1000:.4f}"
        lines.append(f"{item.service:20}  {item.said[:44]:44}  {took:>8}  {label:18}  {ours:>11}")
    return lines
