"""Where packets come from: live interfaces and capture files, as blocks of frames; and the way back into a file."""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from flowsonar.capture.capturefile import CaptureFile, open_capture
    from flowsonar.capture.pcapng import PcapngWriter
    from flowsonar.capture.ring import Ring

__all__ = ["CaptureFile", "PcapngWriter", "Ring", "open_capture"]

_MODULES = {"CaptureFile": "capturefile", "PcapngWriter": "pcapng", "Ring": "ring", "open_capture": "capturefile"}


def __getattr__(name: str) -> Any:
    """Import a part when it is asked for: reading a file needs no rings."""
    if name not in _MODULES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(f"{__name__}.{_MODULES[name]}"), name)
