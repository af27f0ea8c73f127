"""One TOML file with a view to its errors: every table knows its keys, and an error says the line and what to do."""

from __future__ import annotations

import difflib
import re
from collections.abc import Callable, Iterable, Sequence
from enum import StrEnum
from typing import Any, NoReturn, TypeVar

from flowsonar.errors import SignatureError
from flowsonar.signatures.language import Template
from flowsonar.signatures.templates import TemplateError, parse_bytes, parse_template

__all__ = ["File", "Table"]

_Choice = TypeVar("_Choice", bound=StrEnum)
_Parsed = TypeVar("_Parsed")


class File:
    """A file's name and text; finds lines only when an error needs one."""

    __slots__ = ("_headers", "path", "text")

    def __init__(self, path: str, text: str) -> None:
        self.path = path
        self.text = text
        self._headers: dict[str, list[int]] = {}

    def header_lines(self, name: str) -> list[int]:
        """Numbers of the lines that open `[[name]]` or `[name]`."""
        if name in self._headers:
            return self._headers[name]
        pattern = re.compile(rf"^[ \t]*\[\[?[ \t]*{re.escape(name)}[ \t]*\]", re.MULTILINE)
        lines = self._headers[name] = []
        line, position = 1, 0
        for found in pattern.finditer(self.text):
            line += self.text.count("\n", position, found.start())
            position = found.start()
            lines.append(line)
        return lines

    def key_line(self, start: int, keys: Sequence[str]) -> int:
        """The line at or after `start` where the deepest of `keys` that can be found is written; else `start`."""
        if not keys:
            return start
        lines = self.text.split("\n")
        best = start
        for key in keys:
            pattern = re.compile(rf"(?:^|[\s.{{,\"'])[\"']?{re.escape(key)}[\"']?\s*(?:=|\.)")
            for number in range(best, len(lines) + 1):
                if number > start and re.match(r"\s*\[\[?\s*[A-Za-z]", lines[number - 1]):
                    break
                if pattern.search(lines[number - 1].split("#")[0]):
                    best = number
                    break
        return best

    def fail(self, line: int, what: str) -> NoReturn:
        """Raise the one-line error."""
        raise SignatureError(f"{self.path}:{max(line, 1)}: {what}")


class Table:
    """One table of a file: takes keys one by one; `done` complains of what nobody took."""

    __slots__ = ("_file", "_index", "_known", "_section", "_values", "_within")

    def __init__(
        self, file: File, values: dict[str, Any], section: str = "", index: int = 0, within: tuple[str, ...] = ()
    ) -> None:
        self._file = file
        self._values = values
        self._section = section
        self._index = index
        self._within = within
        self._known: set[str] = set()

    # -- where ------------------------------------------------------------------------------------------------

    def line(self, *keys: str) -> int:
        """The line this table, or a key in it, stands on."""
        start = 1
        if self._section:
            headers = self._file.header_lines(self._section)
            start = headers[self._index] if self._index < len(headers) else self._file.key_line(1, [self._section])
        return self._file.key_line(start, [*self._within, *keys])

    def fail(self, what: str, *keys: str) -> NoReturn:
        """Raise for this table or a key in it."""
        self._file.fail(self.line(*keys), what)

    # -- what -------------------------------------------------------------------------------------------------

    def has(self, key: str) -> bool:
        """Whether the key is there."""
        self._known.add(key)
        return key in self._values

    def peek(self, key: str) -> Any:
        """The value as it stands, for keys that may be of two kinds."""
        return self._values.get(key)

    def _get(self, key: str, kind: type | tuple[type, ...], name: str) -> Any:
        self._known.add(key)
        value = self._values.get(key)
        if value is None:
            return None
        if not isinstance(value, kind) or (isinstance(value, bool) and kind is int):
            self.fail(f"{key}: {name} is needed", key)
        return value

    def text(self, key: str, default: str = "") -> str:
        """A string."""
        value = self._get(key, str, "a string in quotes")
        return default if value is None else str(value)

    def required(self, key: str) -> str:
        """A string that must be there."""
        if not self.has(key):
            self.fail(f"{key} is missing: add {key} = ...")
        return self.text(key)

    def number(self, key: str, low: int, high: int) -> int | None:
        """A number within bounds."""
        value = self._get(key, int, "a number")
        if value is not None and not low <= value <= high:
            self.fail(f"{key} = {value}: must be {low} to {high}", key)
        return None if value is None else int(value)

    def flag(self, key: str) -> bool | None:
        """True or false."""
        value = self._get(key, bool, "true or false")
        return None if value is None else bool(value)

    def choice(self, key: str, kind: type[_Choice], default: _Choice | None = None) -> _Choice | None:
        """One of a closed set."""
        value = self._get(key, str, f"one of {', '.join(kind)}")
        if value is None:
            return default
        try:
            return kind(value)
        except ValueError:
            self.fail(f"{key} = {value!r}: must be one of {', '.join(kind)}{_meant(value, list(kind))}", key)

    def texts(self, key: str) -> tuple[str, ...]:
        """A list of strings; one string alone counts as a list of one."""
        value = self._get(key, (str, list), "a string or a list of strings")
        if value is None:
            return ()
        items = [value] if isinstance(value, str) else value
        if not all(isinstance(item, str) for item in items):
            self.fail(f"{key}: a list of strings is needed", key)
        return tuple(items)

    def numbers(self, key: str, low: int, high: int) -> tuple[int, ...]:
        """A list of numbers within bounds."""
        value = self._get(key, list, "a list of numbers")
        for item in value or ():
            if not isinstance(item, int) or isinstance(item, bool) or not low <= item <= high:
                self.fail(f"{key}: numbers from {low} to {high} are needed, not {item!r}", key)
        return tuple(value or ())

    def template(self, key: str, constants: dict[str, bytes]) -> Template | None:
        """A message."""
        return self._parsed(key, lambda text: parse_template(text, constants))

    def data(self, key: str, constants: dict[str, bytes]) -> bytes | None:
        """Constant bytes."""
        return self._parsed(key, lambda text: parse_bytes(text, constants))

    def _parsed(self, key: str, parse: Callable[[str], _Parsed]) -> _Parsed | None:
        value = self._get(key, str, "a string in quotes")
        if value is None:
            return None
        try:
            return parse(value)
        except TemplateError as error:
            self.fail(f"{key}: {error}", key)

    def parse(self, text: str, name: str, key: str, constants: dict[str, bytes]) -> bytes:
        """Constant bytes of one item of the list `key`."""
        try:
            return parse_bytes(text, constants)
        except TemplateError as error:
            self.fail(f"{name}: {error}", key)

    def table(self, key: str) -> Table | None:
        """A table within this one."""
        value = self._get(key, dict, "a table { ... }")
        return None if value is None else self._inner(value, key)

    def tables(self, key: str) -> list[Table]:
        """A list of tables within this one (or `[[key]]` sections of the file)."""
        value = self._get(key, list, "a list of tables")
        for item in value or ():
            if not isinstance(item, dict):
                self.fail(f"{key}: a list of tables {{ ... }} is needed", key)
        if self._section:
            return [self._inner(item, key) for item in value or ()]
        return [Table(self._file, item, key, index) for index, item in enumerate(value or ())]

    def section(self, key: str) -> Table | None:
        """A `[key]` section of the file."""
        value = self._get(key, dict, "a section [" + key + "]")
        return None if value is None else Table(self._file, value, key)

    def keys(self) -> Iterable[str]:
        """The keys that are there, for tables whose keys are free."""
        self._known.update(self._values)
        return self._values.keys()

    def done(self) -> None:
        """Complain of the first key that nobody knows."""
        if self._values.keys() <= self._known:
            return
        for key in self._values:
            if key not in self._known:
                self.fail(f"unknown key {key!r}{_meant(key, self._known)}", key)

    def _inner(self, values: dict[str, Any], key: str) -> Table:
        return Table(self._file, values, self._section, self._index, (*self._within, key))


def _meant(word: str, known: Iterable[str]) -> str:
    close = difflib.get_close_matches(word, list(map(str, known)), 1, 0.6)
    return f": did you mean {close[0]!r}?" if close else f": possible are {', '.join(sorted(known))}"
