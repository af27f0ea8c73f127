"""What a flow shows by itself: patterns on first bytes, hellos, dialogues, announced flows, sequences."""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

from flowsonar.passive.follow import FOLLOW

if TYPE_CHECKING:
    from flowsonar.passive.flow import NOTHING, Findings, PassiveFlow
    from flowsonar.passive.reader import PassiveReader

__all__ = ["FOLLOW", "NOTHING", "Findings", "PassiveFlow", "PassiveReader"]

_MODULES = {"NOTHING": "flow", "Findings": "flow", "PassiveFlow": "flow", "PassiveReader": "reader"}


def __getattr__(name: str) -> Any:
    """Import the codecs when they are asked for: a capture whose shapes are all known needs none of them."""
    if name not in _MODULES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(f"{__name__}.{_MODULES[name]}"), name)
