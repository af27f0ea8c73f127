"""Every mode that `make lab-traffic` plays: one module a family, each with its `MODES`."""

from __future__ import annotations

import importlib
import pkgutil

from lab.traffic.mode import Mode

__all__ = ["families"]


def families() -> dict[str, tuple[Mode, ...]]:
    """The modes of each module of this folder that has some."""
    names = sorted(found.name for found in pkgutil.iter_modules(__path__))
    modules = {name: importlib.import_module(f"{__name__}.{name}") for name in names}
    return {name: module.MODES for name, module in modules.items() if hasattr(module, "MODES")}
