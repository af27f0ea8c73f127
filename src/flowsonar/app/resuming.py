"""The output file of a run that was ended: what it holds is not asked again, and what was half written goes."""

from __future__ import annotations

import fcntl
from collections import OrderedDict
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, Any, Final

import orjson

from flowsonar.app.labelling import REMEMBERED
from flowsonar.errors import ConfigError, OutputError
from flowsonar.model import Endpoint, Outcome, Transport
from flowsonar.probes.endpointset import EndpointSet

__all__ = ["Before", "open_result"]

_LINE_BYTES: Final = 1 << 22
"""No line of ours is as long."""


@dataclass(slots=True)
class Before:
    """What a file of records holds."""

    answered: EndpointSet = field(default_factory=EndpointSet)
    """Endpoints that were asked, or whose refusal stands there already."""
    labels: OrderedDict[str, bytes] = field(default_factory=OrderedDict)
    """Labels of flow records' responders."""
    lines: int = 0


def open_result(path: Path, *, resume: bool) -> tuple[IO[bytes], Before]:
    """Open a file for records, empty or with what a run before wrote. Raises ConfigError or OutputError.

    A last line that is not whole is cut away: its endpoint is asked again.
    """
    try:
        file = path.open("r+b" if resume and path.exists() else "xb")
    except FileExistsError:
        raise ConfigError(f"{path} is there already: --resume goes on with it; or name another file") from None
    except OSError as error:
        raise OutputError(f"{path} cannot be written: {error.strerror}") from None
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        file.close()
        raise ConfigError(f"{path} is being written by another run") from None
    before = Before()
    if not resume or not file.readable():
        return file, before
    try:
        _read(file, before, path)
    except BaseException:
        file.close()
        raise
    return file, before


def _read(file: IO[bytes], before: Before, path: Path) -> None:
    """Take what the lines hold, and stand behind the last whole one."""
    end = 0
    for line in _lines(file):
        _take(line, before, path)
        end += len(line)
    file.seek(0)
    if before.lines == 0 and file.read(1) not in (b"", b"{"):
        raise ConfigError(f"{path} holds no records of flowsonar: name another file")
    file.truncate(end)
    file.seek(end)


def _lines(file: IO[bytes]) -> Iterator[bytes]:
    """Whole lines from the beginning."""
    while line := file.readline(_LINE_BYTES):
        if not line.endswith(b"\n"):
            return
        yield line


def _take(line: bytes, before: Before, path: Path) -> None:
    before.lines += 1
    try:
        record = orjson.loads(line)
        own = record["flowsonar"]
        outcome = Outcome(own["outcome"])
        asked = own.get("asked") if "asked" in own else _asked(record)
    except (ValueError, KeyError, TypeError):
        raise ConfigError(f"{path}:{before.lines}: no record of `flowsonar probe`: name another file") from None
    if outcome is Outcome.CANCELLED or asked is None:
        return
    if isinstance(asked, Endpoint):
        before.answered.add(asked)
        return
    before.labels[str(asked)] = orjson.dumps(own)
    before.labels.move_to_end(str(asked))
    while len(before.labels) > REMEMBERED:
        before.labels.popitem(last=False)


def _asked(record: dict[str, Any]) -> Endpoint:
    return Endpoint(Transport(str(record["proto"]).lower()), str(record["dest_ip"]), int(record["dest_port"]))
