"""flowsonar as the laboratory sees it: a process with arguments that prints JSON lines."""

from __future__ import annotations

import ipaddress
import json
import sys
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import Any

__all__ = ["How", "Label", "command", "labels", "read_lines"]


class How(StrEnum):
    """What a verdict stands on."""

    SHOWN = "shown"
    """The flow's own bytes."""
    ASKED = "asked"
    """An endpoint's answer."""
    CACHED = "cached"
    """An endpoint was known from before."""
    ANNOUNCED = "announced"
    """Another flow said so."""
    NONE = "-"


@dataclass(frozen=True, slots=True, kw_only=True)
class Label:
    """What flowsonar finally said of one flow."""

    transport: str
    source: tuple[str, int]
    destination: tuple[str, int]
    service: str | None
    over: str | None
    confidence: str
    product: str | None
    ms: float | None
    """From the flow's first packet to the first verdict that said the same."""
    how: How
    time: str
    """Of the record that named it first; sorts by time."""

    def __str__(self) -> str:
        """As it is printed."""
        if self.service is None:
            return "unknown"
        return f"{self.service} over {self.over}" if self.over else self.service


def command(interfaces: Sequence[str], scopes: Sequence[str], store: Path) -> list[str]:
    """The `flowsonar watch` of one situation."""
    arguments = [sys.executable, "-m", "flowsonar", "watch", "--json", "--store", str(store)]
    for interface in interfaces:
        arguments += ["-i", interface]
    for scope in scopes:
        arguments += ["--scope", scope]
    return arguments


def read_lines(file: Path) -> tuple[list[dict[str, Any]], int]:
    """The records of a file and the number of lines that are none; a last line that is not whole is left out."""
    records, broken = [], 0
    try:
        text = file.read_bytes()
    except FileNotFoundError:
        return [], 0
    for line in text[: text.rfind(b"\n") + 1].splitlines():
        try:
            record = json.loads(line)
        except ValueError:
            broken += 1
            continue
        if isinstance(record, dict):
            records.append(record)
        else:
            broken += 1
    return records, broken


def _how(record: dict[str, Any]) -> How:
    kinds = {item.get("kind") for item in record.get("flowsonar", {}).get("evidence", ())}
    for kind, how in (
        ("reply", How.ASKED),
        ("endpoint", How.CACHED),
        ("announced", How.ANNOUNCED),
        ("payload", How.SHOWN),
    ):
        if kind in kinds:
            return how
    return How.NONE


def _said(record: dict[str, Any]) -> tuple[str | None, str | None]:
    said = record.get("flowsonar", {})
    service = said.get("service")
    return (None if service in {None, "unknown"} else service), said.get("over")


def _address(text: object) -> str:
    return str(ipaddress.ip_address(str(text)))


def labels(records: Iterable[dict[str, Any]]) -> list[Label]:
    """One label per flow: its last record, with the time of the first that said the same."""
    flows: dict[object, list[dict[str, Any]]] = {}
    for record in records:
        if record.get("event_type") in {"verdict", "flow"} and str(record.get("proto")).lower() in {"tcp", "udp"}:
            flows.setdefault(record.get("flow_id"), []).append(record)
    found = []
    for events in flows.values():
        last = events[-1]
        same = next(event for event in events if _said(event) == _said(last))
        said = last.get("flowsonar", {})
        service, over = _said(last)
        found.append(
            Label(
                transport=str(last["proto"]).lower(),
                source=(_address(last["src_ip"]), int(last["src_port"])),
                destination=(_address(last["dest_ip"]), int(last["dest_port"])),
                service=service,
                over=over if service else None,
                confidence=str(said.get("confidence", "unknown")),
                product=said.get("product"),
                ms=same.get("flowsonar", {}).get("verdict_ms"),
                how=_how(same),
                time=str(same.get("timestamp", "")),
            )
        )
    return sorted(found, key=lambda label: label.time)
