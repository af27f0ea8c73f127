r"""Ruby's regular expressions in RE2's words, over bytes: what recog's files are written in.

The two differ in a few places: `^` and `$` are Ruby's line anchors always, its `m` means that `.` takes newlines, `\h`
is a hexadecimal digit, `\Z` the end or the newline before it, and patterns are over characters where ours are over
bytes. Look-around, back references and possessive repeats are not linear: RE2 refuses them, and so do we.
"""

from __future__ import annotations

import re
from typing import Final

__all__ = ["UntranslatableError", "to_re2"]

_TOKEN: Final = re.compile(
    r"(?P<name>\(\?<(?=[A-Za-z_]))|(?P<flags>\(\?[imx]*(?:-[imx]+)?[:)])|(?P<posix>\[:\^?[a-z]+:\])|(?P<open>\[\^?\]?)"
    r"|(?P<escape>\\(?:x[0-9A-Fa-f]{1,2}|u[0-9A-Fa-f]{4}|.))|(?P<other>.)",
    re.DOTALL,
)
_ESCAPES: Final = {
    "h": ("[0-9a-fA-F]", "0-9a-fA-F"),
    "Z": (r"(?:\n?\z)", None),
    "e": (r"\x1b", r"\x1b"),
    "R": (r"(?:\r\n|[\n\v\f\r])", None),
}
"""Outside a class and inside one."""

_ANY_CHARACTER: Final = r"(?:[\xc2-\xdf][\x80-\xbf]|[\xe0-\xef][\x80-\xbf]{2}|.)"
"""One character in UTF-8, or one byte of what is no UTF-8; where many may come, a byte will do."""


class UntranslatableError(ValueError):
    """RE2 has no words for it."""


def to_re2(pattern: str, *, ignore_case: bool = False, dot_all: bool = False) -> str:
    """The same expression for RE2 over the bytes of UTF-8 text. Raises UntranslatableError."""
    out = ["(?m" + "i" * ignore_case + "s" * dot_all + ")"]
    in_class = False
    for found in _TOKEN.finditer(pattern):
        kind, word = found.lastgroup, found[0]
        if kind == "escape":
            out.append(_escape(word, in_class=in_class))
        elif kind == "posix" and in_class:
            out.append(word)
        elif in_class:
            out.append(_in_class(word))
            in_class = word != "]"
        elif kind == "open":
            in_class = True
            out.append(word)
        elif kind == "posix":  # outside a class it is a class of these characters
            out.append(f"[{word[1:-1]}]")
        elif kind == "name":
            out.append("(?P<")
        elif kind == "flags":
            out.append(_flags(word))
        elif word == "." and pattern[found.end() : found.end() + 1] not in ("*", "+", "?", "{"):
            out.append(_ANY_CHARACTER)
        elif word.isascii():
            out.append(word)
        else:
            out.append(f"(?:{_bytes(word)})")
    return "".join(out)


def _escape(word: str, *, in_class: bool) -> str:
    letter = word[1]
    if letter in _ESCAPES:
        translated = _ESCAPES[letter][in_class]
        if translated is None:
            raise UntranslatableError(f"{word} inside a class")
        return translated
    if letter == "x":
        return "".join(("\\x", word[2:].lower().zfill(2)))
    if letter == "u":
        character = bytes.fromhex(word[2:]).decode("utf-16-be", "replace")
        if in_class and not character.isascii():
            raise UntranslatableError(f"{word} inside a class")
        return f"(?:{_bytes(character)})" if not character.isascii() else _bytes(character)
    if letter in "123456789kgGKXH":
        raise UntranslatableError(f"{word} is not linear, or not known to RE2")
    if not letter.isascii():
        return _bytes(letter)
    return word


def _in_class(word: str) -> str:
    """Bytes beyond ASCII in a class stand for themselves: the class is then over bytes."""
    if word.startswith("["):
        return word.replace("[", r"\[")
    return word if word.isascii() else _bytes(word)


def _flags(word: str) -> str:
    """Ruby's `m` is RE2's `s`; `x` (spaces and comments) is not translated."""
    if "x" in word:
        raise UntranslatableError("the flag x")
    return word.replace("m", "s")


def _bytes(text: str) -> str:
    return "".join(rf"\x{byte:02x}" for byte in text.encode())
