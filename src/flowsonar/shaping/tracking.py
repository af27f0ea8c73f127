"""The kernel's table of connections: how full it is, and whether it counts their bytes.

Rules that look at a connection's bytes switch the counting on for good. So what was set before is written down before
such rules come, and set again when they go: also by `--clear`, after a kill -9.
"""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path
from typing import Final

from flowsonar.shaping.applier import default_state

__all__ = ["remember", "restore", "used"]

_SETTINGS: Final = Path("/proc/sys/net/netfilter")
_COUNTING: Final = "nf_conntrack_acct"


def used() -> float | None:
    """How full the table is, 0 to 1; None where there is none."""
    try:
        count, most = (int((_SETTINGS / f"nf_conntrack_{what}").read_text()) for what in ("count", "max"))
    except (OSError, ValueError):
        return None
    return count / most if most else None


def remember() -> None:
    """Write down whether bytes are counted, unless an earlier run has and could not set it again."""
    state = _state()
    with suppress(OSError):
        if not state.exists():
            state.parent.mkdir(parents=True, exist_ok=True)
            state.write_text((_SETTINGS / _COUNTING).read_text())


def restore() -> None:
    """Set it as it was."""
    state = _state()
    with suppress(OSError):
        before = state.read_text()
        if before != (_SETTINGS / _COUNTING).read_text():
            (_SETTINGS / _COUNTING).write_text(before)
        state.unlink()


def _state() -> Path:
    queues = default_state()
    return queues.with_name(queues.name.replace("queues", "counting"))
