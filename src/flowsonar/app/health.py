"""What this machine can do: looked at, not guessed."""

from __future__ import annotations

import importlib.util
import shutil
import socket
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

from flowsonar import _native
from flowsonar.errors import FlowsonarError

__all__ = ["Finding", "examine"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """One thing looked at."""

    what: str
    state: Literal["ok", "slower", "missing"]
    detail: str
    needed: bool = False
    """Without it the main job (`watch`) does not work."""


def examine() -> list[Finding]:
    """All findings, in the order in which the data goes."""
    return [*_capture(), *_packets(), *_signatures(), *_loop(), *_store(), *_shaping()]


def _capture() -> Iterator[Finding]:
    if not hasattr(socket, "AF_PACKET"):
        yield Finding(what="live capture", state="missing", detail="needs Linux (AF_PACKET)", needed=True)
        return
    try:
        socket.socket(socket.AF_PACKET, socket.SOCK_RAW, 0).close()
    except PermissionError:
        detail = "no right to open raw sockets: run as root, or give python CAP_NET_RAW; `read` and `probe` work"
        yield Finding(what="live capture", state="missing", detail=detail, needed=True)
    except OSError as error:
        yield Finding(what="live capture", state="missing", detail=f"{error.strerror}", needed=True)
    else:
        names = ", ".join(name for _, name in socket.if_nameindex())
        yield Finding(what="live capture", state="ok", detail=f"interfaces: {names}")
    found = shutil.which("tcpdump")
    yield Finding(
        what="capture filters",
        state="ok" if found else "missing",
        detail="--filter is compiled by tcpdump" if found else "--filter needs tcpdump: apt-get install tcpdump",
    )


def _packets() -> Iterator[Finding]:
    detail = "C core" if _native.NATIVE else f"Python, some hundred times slower: {_native.reason}"
    yield Finding(what="packet path", state="ok" if _native.NATIVE else "slower", detail=detail)


def _signatures() -> Iterator[Finding]:
    from flowsonar.signatures import Matcher, load_signatures

    try:
        signatures = load_signatures()
        matcher = Matcher(signatures)
    except FlowsonarError as error:
        yield Finding(what="signatures", state="missing", detail=str(error), needed=True)
        return
    yield Finding(what="signatures", state="ok", detail=f"{len(signatures.services)} services")
    if matcher.engine == "hyperscan":
        yield Finding(what="matching", state="ok", detail="hyperscan and RE2")
    else:
        yield Finding(what="matching", state="slower", detail="RE2 alone: pip install hyperscan where it has a wheel")


def _loop() -> Iterator[Finding]:
    there = importlib.util.find_spec("uvloop") is not None
    detail = "uvloop" if there else "asyncio's own: pip install uvloop for more questions a second"
    yield Finding(what="event loop", state="ok" if there else "slower", detail=detail)


def _store() -> Iterator[Finding]:
    from flowsonar.verdicts.store import Store, default_path

    try:
        Store(None).close()
    except FlowsonarError as error:
        yield Finding(what="verdict store", state="missing", detail=str(error))
    else:
        yield Finding(what="verdict store", state="ok", detail=str(default_path()))


def _shaping() -> Iterator[Finding]:
    from flowsonar.shaping.kernel import examine as tried
    from flowsonar.shaping.queues import best

    kernel = tried()
    if kernel.problem:
        yield Finding(what="shaping", state="missing", detail=kernel.problem)
    if not kernel.qdiscs:
        return
    marks = {"tables", "timeouts", "conntrack", "priority", "dscp"} - kernel.firewall
    if marks:
        yield Finding(what="marks", state="missing", detail=f"nftables without {', '.join(sorted(marks))}")
    else:
        nat = "with" if "nat" in kernel.firewall else "without"
        yield Finding(what="marks", state="ok", detail=f"nftables with connection marks, priorities, DSCP, {nat} NAT")
    parts = (("queues", kernel.qdiscs), ("classifiers", kernel.filters), ("actions", kernel.actions))
    has = "; ".join(f"{name}: {', '.join(sorted(found)) or 'none'}" for name, found in parts)
    led = f"ifb: {'yes' if kernel.ifb else 'no'}; clsact: {'yes' if kernel.clsact else 'no'}"
    yield Finding(what="traffic control", state="ok", detail=f"{has}; {led}")
    for choice in best(kernel):
        yield Finding(what=choice.what, state=choice.state, detail=choice.detail)
