"""Selects the C core or, where it was not built, nothing: `flows` and `capture` then use their Python references."""

from __future__ import annotations

import importlib
import os
from types import ModuleType

__all__ = ["BUILD", "NATIVE", "core", "reason", "stale"]

BUILD = 5
"""What the C core must give as its own (`CORE_BUILD` in binding.h): both go up by one when either side changes what it
expects of the other, so that a core of an older build is never used by newer Python."""

core: ModuleType | None = None
"""The C extension, None where it is missing or `FLOWSONAR_NATIVE=skip` is set."""

reason = ""
"""Why the C extension is not used."""

stale = False
"""Whether it is there, but of another build than the Python side."""

if os.environ.get("FLOWSONAR_NATIVE") == "skip":
    reason = "FLOWSONAR_NATIVE=skip is set"
else:
    try:
        core = importlib.import_module("flowsonar._native._core")
        if getattr(core, "BUILD", 0) != BUILD:
            core, stale = None, True
            reason = "the C core is of another build than the program: build it again with `pip install -e .`"
    except ImportError as error:
        reason = (
            f"the C extension is not there ({error}): install gcc and the Python headers, then install flowsonar again"
        )

NATIVE = core is not None
"""Whether packets are decoded in C."""
