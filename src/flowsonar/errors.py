"""The few exceptions. Expected results are values (an `Outcome`), not exceptions."""

from __future__ import annotations

__all__ = [
    "CaptureError",
    "ConfigError",
    "FlowsonarError",
    "MalformedError",
    "OutputError",
    "ShapingError",
    "SignatureError",
    "StoreError",
]


class FlowsonarError(Exception):
    """Base of all; its text is one line that says what is wrong and what to do."""


class ConfigError(FlowsonarError):
    """A setting or argument is wrong; the text names the file and key, or the argument."""


class CaptureError(FlowsonarError):
    """A capture cannot be opened or read; the text names it and what to do."""


class SignatureError(FlowsonarError):
    """A signature file is wrong; the text is `file:line: what: what to do`."""


class StoreError(FlowsonarError):
    """The verdict store cannot be opened or written."""


class MalformedError(FlowsonarError):
    """A peer's bytes break their wire format. Raised by codecs only, and turned into a value in one place."""


class OutputError(FlowsonarError):
    """Records cannot be written; the text names the place and what to do."""


class ShapingError(FlowsonarError):
    """Marks or queues cannot be set up; the text says what is missing or in the way, and what to do."""
