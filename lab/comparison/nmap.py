"""nmap -sV on the same endpoints: a process an endpoint, so that each has its time, a few at a time."""

from __future__ import annotations

import time
import xml.etree.ElementTree as ET
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

from lab.comparison.said import NOTHING, Names, Said
from lab.programs import Program, Programs

__all__ = ["command", "parse", "scan"]

_AT_ONCE = 32
"""They wait most of the time."""
_SAID_EVERY_S = 30.0
_HOST_TIMEOUT = "200s"
"""A silent port takes nmap 165 s."""
_UDP_TIMEOUT = "60s"


def command(transport: str, address: str, port: int, file: Path) -> list[str]:
    """The command with its defaults for one endpoint; the XML goes to `file`."""
    kind = ["-sU"] if transport == "udp" else []
    family = ["-6"] if ":" in address else []
    bound = ["--host-timeout", _UDP_TIMEOUT if transport == "udp" else _HOST_TIMEOUT]
    return ["nmap", "-Pn", "-n", *family, *kind, "-sV", *bound, "-p", str(port), "-oX", str(file), address]


def parse(document: str, names: Names) -> Said:
    """What nmap's XML says of its one port."""
    try:
        node = ET.fromstring(document).find(".//port/service")
    except ET.ParseError:
        return NOTHING
    if node is None or node.get("method") != "probed":
        guessed = "" if node is None else f"{node.get('name', '')} (by port)"
        return Said(text=guessed or "unknown")
    name = node.get("name", "")
    service, over = names.ours(name)
    if node.get("tunnel") == "ssl":
        over = "tls" if service not in {None, "tls"} else None
        service = service or "tls"
    product, version = node.get("product"), node.get("version")
    shown = f"ssl/{name}" if node.get("tunnel") else name
    text = " ".join(word for word in (shown, product, version) if word)
    return Said(service=service, over=over, product=product, version=version, text=text)


def scan(
    programs: Programs,
    namespace: str,
    endpoints: Sequence[tuple[str, str, int]],
    folder: Path,
    names: Names,
    say: Callable[[str], None],
) -> dict[tuple[str, str, int], Said]:
    """Ask nmap about each endpoint; waits for all of them, and says now and then how far it is."""
    folder.mkdir(parents=True, exist_ok=True)
    waiting, said_s = list(endpoints), time.monotonic()
    running: list[tuple[tuple[str, str, int], Program, Path]] = []
    found: dict[tuple[str, str, int], Said] = {}
    while waiting or running:
        while waiting and len(running) < _AT_ONCE:
            endpoint = waiting.pop(0)
            file = folder / f"{endpoint[0]}-{endpoint[2]}-{4 if '.' in endpoint[1] else 6}.xml"
            running.append((endpoint, programs.start(namespace, command(*endpoint, file), name="nmap"), file))
        time.sleep(0.05)
        if time.monotonic() - said_s > _SAID_EVERY_S:
            said_s = time.monotonic()
            say(f"    {len(found)} of {len(endpoints)} done")
        for item in list(running):
            endpoint, program, file = item
            if program.running:
                continue
            running.remove(item)
            seconds = time.monotonic() - program.started_s
            try:
                said = parse(file.read_text(errors="replace"), names)
            except OSError:
                said = Said(text="nmap failed")
            found[endpoint] = replace(said, ms=seconds * 1000)
    return found
