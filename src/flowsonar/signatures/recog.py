"""rapid7/recog's fingerprints: XML files to values, with what is wrong said by file and line.

Specification: the files themselves and their `fingerprints.xsd` (BSD-2-Clause, not part of flowsonar: `--recog DIR`
names a copy). Documents with a DOCTYPE or entities of their own are refused, so nothing expands and nothing else is
fetched; size, number and depth are bounded.
"""

from __future__ import annotations

import base64
import binascii
import re
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final
from xml.parsers import expat

from flowsonar.errors import SignatureError
from flowsonar.signatures.ruby import UntranslatableError, to_re2

__all__ = ["Fingerprint", "FingerprintExample", "read_recog"]

FILE_BYTES: Final = 16 << 20
"""Largest file read: recog's own are below 1 MiB."""
FILES: Final = 1000
FINGERPRINTS: Final = 100_000
"""In one file."""
_TEXT_CHARACTERS: Final = 1 << 16
"""Of one pattern or example."""
_FLAGS: Final = {"REG_ICASE": "i", "REG_DOT_NEWLINE": "s", "REG_MULTILINE": "s"}
"""Ruby's MULTILINE is what others call dot-all; `REG_LINE_ANY_CRLF` and kin have no meaning there."""


@dataclass(frozen=True, slots=True)
class FingerprintExample:
    """A text that must match, and what it must give."""

    data: bytes
    expected: tuple[tuple[str, str], ...]


@dataclass(slots=True)
class Fingerprint:
    """One program or device: its pattern in RE2's words, and what it says."""

    pattern: str
    """Empty where RE2 cannot say it."""
    source: str
    """As the file has it."""
    line: int
    description: str = ""
    params: list[tuple[int, str, str]] = field(default_factory=list)
    """Group (0: none), name, value."""
    examples: list[FingerprintExample] = field(default_factory=list)


def read_recog(folder: Path) -> dict[str, list[Fingerprint]]:
    """All databases of a folder (or its `xml` folder) by their key (`ssh.banner`). Raises SignatureError."""
    where = folder / "xml" if (folder / "xml").is_dir() else folder
    try:
        paths = sorted(where.glob("*.xml"))[:FILES]
    except OSError as error:
        raise SignatureError(f"{where}: cannot be read ({error.strerror}): name recog's folder of XML files") from None
    if not paths:
        raise SignatureError(f"{where}: no *.xml here: name recog's folder of XML files")
    databases: dict[str, list[Fingerprint]] = {}
    for path in paths:
        reader = _Reader(path)
        found = reader.read()
        databases.setdefault(reader.key, []).extend(found)
    return databases


class _Reader:
    """One file."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self.key = path.stem
        self._parser: Any = expat.ParserCreate()
        self._parser.StartDoctypeDeclHandler = self._refuse
        self._parser.EntityDeclHandler = self._refuse
        self._parser.StartElementHandler = self._start
        self._parser.EndElementHandler = self._end
        self._parser.CharacterDataHandler = self._text
        self._parser.buffer_text = True
        self._found: list[Fingerprint] = []
        self._within: list[str] = []
        self._attributes: dict[str, str] = {}
        self._pieces: list[str] = []

    def read(self) -> list[Fingerprint]:
        """Its fingerprints in order. `key` is known afterwards."""
        try:
            with self._path.open("rb") as file:
                content = file.read(FILE_BYTES + 1)
        except OSError as error:
            raise SignatureError(f"{self._path}: cannot be read ({error.strerror}): see its permissions") from None
        if len(content) > FILE_BYTES:
            raise SignatureError(f"{self._path}:1: more than {FILE_BYTES} bytes: this is no file of recog's")
        try:
            self._parser.Parse(content, True)
        except expat.ExpatError as error:
            raise SignatureError(
                f"{self._path}:{error.lineno}: not XML: {expat.ErrorString(error.code)}: take the file anew"
            ) from None
        return self._found

    def _fail(self, what: str) -> None:
        raise SignatureError(f"{self._path}:{self._parser.CurrentLineNumber}: {what}")

    def _refuse(self, *_: object) -> None:
        self._fail("a DOCTYPE or entity of its own: recog's files have none, take the file anew")

    def _start(self, name: str, attributes: dict[str, str]) -> None:
        self._within.append(name)
        self._pieces.clear()
        self._attributes = attributes
        if len(self._within) == 1:
            if name != "fingerprints":
                self._fail(f"<{name}> where <fingerprints> should be: name recog's folder of XML files")
            self.key = attributes.get("matches", self.key)
        elif name == "fingerprint":
            self._fingerprint(attributes)
        elif len(self._within) > 3:
            self._fail(f"<{name}> is too deep: recog's files have none")
        elif name == "param" and self._found:
            self._param(attributes)

    def _fingerprint(self, attributes: dict[str, str]) -> None:
        source = attributes.get("pattern", "")
        if not source:
            self._fail("a fingerprint without pattern: add one")
        if len(source) > _TEXT_CHARACTERS or len(self._found) >= FINGERPRINTS:
            self._fail("a pattern that long, or that many fingerprints, are not recog's")
        flags = {_FLAGS.get(flag.strip(), "") for flag in attributes.get("flags", "").split(",")}
        try:
            pattern = to_re2(source, ignore_case="i" in flags, dot_all="s" in flags)
        except UntranslatableError:
            pattern = ""
        self._found.append(Fingerprint(pattern, source, self._parser.CurrentLineNumber))

    def _param(self, attributes: dict[str, str]) -> None:
        position, name = attributes.get("pos", "0"), attributes.get("name", "")
        if not position.isdecimal() or len(position) > 3 or not name:
            self._fail("a param needs pos = a number and a name")
        self._found[-1].params.append((int(position), name, attributes.get("value", "")))

    def _end(self, name: str) -> None:
        self._within.pop()
        text = "".join(self._pieces)
        if len(self._within) != 2 or not self._found:
            return
        if name == "description":
            self._found[-1].description = re.sub(r"\s+", " ", text).strip()
        elif name == "example":
            self._example(text)

    def _example(self, text: str) -> None:
        expected = tuple((key, value) for key, value in self._attributes.items() if not key.startswith("_"))
        data = text.encode()
        if self._attributes.get("_encoding") == "base64":
            try:
                data = base64.b64decode(text)
            except binascii.Error:
                self._fail("an example that is not base64: correct it")
        if "_filename" not in self._attributes:
            self._found[-1].examples.append(FingerprintExample(data, expected))

    def _text(self, text: str) -> None:
        if sum(map(len, self._pieces)) + len(text) > _TEXT_CHARACTERS:
            self._fail("a text that long is not recog's")
        self._pieces.append(text)
