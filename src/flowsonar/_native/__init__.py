"""Selects the C core or, where it was not built, nothing: `flows` and `capture` then use their Python references."""

from __future__ import annotations

import importlib
import os
from types import ModuleType

__all__ = ["NATIVE", "core", "reason"]

core: ModuleType | None = None
"""The C extension, None where it is missing or `FLOWSONAR_NATIVE=skip` is set."""

reason = ""
"""Why the C extension is not used."""

if os.environ.get("FLOWSONAR_NATIVE") == "skip":
    reason = "FLOWSONAR_NATIVE=skip is set"
else:
    try:
        core = importlib.import_module("flowsonar._native._core")
    except ImportError as error:
        reason = (
            f"the C extension is not there ({error}): install gcc and the Python headers, then install flowsonar again"
        )

NATIVE = core is not None
"""Whether packets are decoded in C."""
