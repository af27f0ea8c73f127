"""Wires the parts, owns tasks and shutdown; no logic of its own. One module per job."""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from flowsonar.app.parts import Parts
    from flowsonar.app.probing import Probing
    from flowsonar.app.reading import Progress, Reading
    from flowsonar.app.watching import Watching

__all__ = ["Parts", "Probing", "Progress", "Reading", "Watching"]

_MODULES = {"Parts": "parts", "Probing": "probing", "Progress": "reading", "Reading": "reading", "Watching": "watching"}


def __getattr__(name: str) -> Any:
    """Import a job's module when the job is asked for: reading a capture needs no sockets, TLS or store."""
    if name not in _MODULES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(f"{__name__}.{_MODULES[name]}"), name)
