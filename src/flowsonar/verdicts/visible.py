"""Text from the network made safe to show: nothing in it may steer a terminal or turn a line around.

Every output for people goes through here: the table, `explain`, summaries, error messages with peers' words in them.
"""

from __future__ import annotations

import unicodedata
from typing import Final

__all__ = ["hexdump", "visible"]

_TURNING: Final = frozenset({"R", "AL", "AN"})
"""Bidirectional classes (UAX #9) that reorder what stands around them on the line."""

TEXT_LIMIT: Final = 512
"""Characters shown of one text: more than any honest banner line, little enough for a screen."""


def visible(text: str, limit: int = TEXT_LIMIT) -> str:
    r"""Escape as `\x..`, `\u....` what is not plainly printable, and cut after `limit` characters with an ellipsis.

    Escaped are control characters, format characters (bidirectional overrides, zero width), surrogates, letters of
    right-to-left scripts and combining marks: a product's name is not worth a line that lies about its other columns.
    """
    cut = len(text) > limit
    if cut:
        text = text[: limit - 1]
    if not (text.isascii() and text.isprintable()):
        text = "".join([character if _plain(character) else _escaped(character) for character in text])
    return text + "…" if cut else text


def hexdump(data: bytes, width: int = 16) -> list[str]:
    """Lines of offset, bytes as hex and as text, as `hexdump -C` lays them out."""
    lines = []
    for offset in range(0, len(data), width):
        row = data[offset : offset + width]
        text = "".join([chr(byte) if 0x20 <= byte < 0x7F else "." for byte in row])
        lines.append(f"{offset:04x}  {row.hex(' '):<{width * 3 - 1}}  |{text}|")
    return lines


def _plain(character: str) -> bool:
    if character.isascii():
        return character.isprintable()
    return (
        character.isprintable()
        and unicodedata.bidirectional(character) not in _TURNING
        and not unicodedata.category(character).startswith("M")
    )


def _escaped(character: str) -> str:
    code = ord(character)
    if code < 0x100:
        return {0x0A: "\\n", 0x0D: "\\r", 0x09: "\\t"}.get(code, f"\\x{code:02x}")
    return f"\\u{code:04x}" if code < 0x10000 else f"\\U{code:08x}"
