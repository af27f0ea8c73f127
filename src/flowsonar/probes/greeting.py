"""Where a greeting ends that came together with an answer.

Servers of many protocols speak first. Who asks before their greeting came reads it as the beginning of the answer.
"""

from __future__ import annotations

import re
from typing import Final

__all__ = ["split_greeting"]

_LINES: Final = 64
"""Lines of a greeting that are followed; longer ones are cut."""

_CODE: Final = re.compile(rb"[0-9]{3}-")


def split_greeting(data: bytes) -> tuple[bytes, bytes]:
    """The first line of a text protocol, or the lines of a reply with a code (RFC 959 section 4.2), and what follows.

    Where no line ends, all of it may be the greeting.
    """
    end = data.find(b"\n") + 1
    if not end:
        return data, b""
    if _CODE.match(data) is None:
        return data[:end], data[end:]
    last = data[:3] + b" "
    start = 0
    for _ in range(_LINES):
        if data.startswith(last, start):
            break
        start, end = end, data.find(b"\n", end) + 1
        if not end:
            return data, b""
    return data[:end], data[end:]
