"""The common part of the two worker processes: a namespace of their own, the plan comes in, news go out.

Conversation with the stage over standard input and output, one JSON value a line: `{"event": "separate"}` when the
namespace is there; then the stage joins it and sends addresses, plan and folder; then `{"event": "ready"}`, and what
the role has to say.
"""

from __future__ import annotations

import asyncio
import json
import sys
from collections.abc import Callable, Coroutine
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from flowsonar.demo.namespaces import Link, NamespaceError, configure, die_with_parent, separate
from flowsonar.demo.plan import Plan

__all__ = ["Setting", "run_worker", "say"]


@dataclass(frozen=True, slots=True)
class Setting:
    """What a worker needs to know."""

    plan: Plan
    folder: Path
    """For certificates, files and sockets; removed at the end."""
    local: tuple[str, ...]
    """Own IPv4 addresses."""
    ipv6: bool


def say(event: str, **more: Any) -> None:
    """Tell the stage."""
    sys.stdout.write(json.dumps({"event": event, **more}) + "\n")
    sys.stdout.flush()


def run_worker(link: Link, role: Callable[[Setting], Coroutine[None, None, None]]) -> int:
    """Run `role` in a namespace of its own on the side `link` of the gateway; returns the exit code."""
    die_with_parent()
    try:
        separate()
    except NamespaceError as error:
        say("failed", name="namespace", error=str(error))
        return 1
    say("separate")
    line = sys.stdin.readline()
    if not line:
        return 1
    given = json.loads(line)
    configure("eth0", given["addresses4"], given["addresses6"], link)
    setting = Setting(
        Plan.from_json(given["plan"]), Path(given["folder"]), tuple(given["addresses4"]), bool(given["addresses6"])
    )
    try:
        asyncio.run(role(setting))
    except (KeyboardInterrupt, BrokenPipeError):
        return 1
    return 0
