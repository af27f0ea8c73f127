"""The file of `--config`: TOML to `Settings`. docs/configuration.md tells every key."""

from __future__ import annotations

import difflib
import math
import tomllib
from dataclasses import fields, is_dataclass
from pathlib import Path
from types import NoneType, UnionType
from typing import Any, Final, cast, get_args, get_origin, get_type_hints

from flowsonar.config import Settings
from flowsonar.errors import ConfigError

__all__ = ["known_keys", "load_settings", "settings_of"]

MAX_BYTES: Final = 1 << 20
"""A settings file is a page long; what is larger is another file named by mistake."""


def load_settings(path: str | Path) -> Settings:
    """Read a settings file; what it does not name keeps its default.

    Paths in it are relative to its folder. Raises ConfigError with file and key, and what was perhaps meant.
    """
    path = Path(path)
    try:
        with path.open("rb") as file:
            content = file.read(MAX_BYTES + 1)
    except OSError as error:
        raise ConfigError(f"{path}: the settings cannot be read: {error.strerror}") from error
    if len(content) > MAX_BYTES:
        raise ConfigError(f"{path}: larger than {MAX_BYTES >> 20} MiB: this is no settings file")
    try:
        table = tomllib.loads(content.decode())
    except (UnicodeDecodeError, tomllib.TOMLDecodeError, RecursionError) as error:
        raise ConfigError(f"{path}: not TOML: {error}") from error
    return settings_of(table, str(path), path.parent)


def settings_of(table: dict[str, Any], source: str, folder: Path) -> Settings:
    """Make settings of a table; `source` names it in errors, relative paths are below `folder`."""
    return cast("Settings", _group(Settings, table, source, folder, ""))


def known_keys() -> list[str]:
    """Every setting by its name in the file: `budget.rate`."""
    return list(_keys(Settings, ""))


def _keys(group: Any, prefix: str) -> list[str]:
    hints = get_type_hints(group)
    found = []
    for item in fields(group):
        name = f"{prefix}{item.name}"
        found += _keys(hints[item.name], f"{name}.") if is_dataclass(hints[item.name]) else [name]
    return found


def _group(group: Any, table: dict[str, Any], source: str, folder: Path, prefix: str) -> object:
    hints = get_type_hints(group)
    values = {}
    for key, value in table.items():
        name = f"{prefix}{key}"
        wanted = hints.get(key)
        if wanted is None:
            raise ConfigError(f"{source}: {_printable(name)}: no such setting{_perhaps(key, name)}")
        if is_dataclass(wanted):
            if not isinstance(value, dict):
                raise ConfigError(f"{source}: {name}: must be a table: write [{name}] and its settings below")
            values[key] = _group(wanted, value, source, folder, f"{name}.")
        else:
            values[key] = _value(wanted, value, f"{source}: {name}", folder)
    return group(**values)


def _value(wanted: Any, value: Any, where: str, folder: Path) -> object:
    if isinstance(wanted, UnionType):  # `Path | None`: TOML has no null, leaving the key out says it
        (wanted,) = (one for one in get_args(wanted) if one is not NoneType)
    if get_origin(wanted) is tuple:
        if not isinstance(value, list):
            raise ConfigError(f'{where}: must be a list, like ["..."]')
        return tuple(_value(get_args(wanted)[0], one, where, folder) for one in value)
    if wanted is Path:
        if not isinstance(value, str) or not value or "\0" in value:
            raise ConfigError(f"{where}: must be a path in quotes")
        try:
            return folder / Path(value).expanduser()
        except RuntimeError as error:  # `~` and no home folder
            raise ConfigError(f"{where}: {error}") from error
    if wanted is str:
        if not isinstance(value, str):
            raise ConfigError(f"{where}: must be text in quotes")
        return value
    if wanted is bool:
        if not isinstance(value, bool):
            raise ConfigError(f"{where}: must be true or false")
        return value
    return _number(wanted, value, where)


def _number(wanted: Any, value: Any, where: str) -> int | float:
    assert wanted in (int, float), wanted
    if isinstance(value, bool) or not isinstance(value, int if wanted is int else int | float):
        raise ConfigError(f"{where}: must be a {'whole ' if wanted is int else ''}number")
    if not 0 < value < 1 << 62 or not math.isfinite(value):
        raise ConfigError(f"{where}: must be greater than 0, and finite")
    number = wanted(value)
    assert isinstance(number, int | float)
    return number


def _perhaps(key: str, name: str) -> str:
    """Name the setting that was perhaps meant: in this table, or of the same name in another."""
    known = known_keys()
    for candidate in known:
        if candidate.rpartition(".")[2] == key:
            table, _, _ = candidate.rpartition(".")
            return f": {key} belongs into [{table}]" if table else f": {key} belongs above every [table]"
    tables = {candidate.partition(".")[0] for candidate in known if "." in candidate}
    close = difflib.get_close_matches(name, [*known, *tables], n=1, cutoff=0.6)
    return f": did you mean {close[0]}?" if close else ": docs/configuration.md lists them all"


def _printable(name: str) -> str:
    return name if name.isprintable() else ascii(name)
