"""Signature files to a `SignatureSet`. The one module of this folder that reads files (and the cache).

What an earlier run made of the same files is taken from the cache; `parsing` is imported where there is nothing.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Final, NamedTuple

from flowsonar._native.digest import sha256
from flowsonar.errors import SignatureError
from flowsonar.signatures import cachefile
from flowsonar.signatures.catalogue import SignatureSet

if TYPE_CHECKING:
    from flowsonar.signatures.language import Signature

__all__ = ["BUILT_IN", "identify", "load_signatures"]

BUILT_IN: Final = Path(__file__).parent / "data"
"""The signatures that come with flowsonar."""

FILE_BYTES: Final = 1 << 20
"""Largest signature file read: a whole service fits in a tenth of it."""

_MAKERS: Final = tuple(
    Path(__file__).with_name(f"{name}.py") for name in ("language", "parsing", "source", "tables", "templates")
)
"""What turns files into signatures: when one of these changes, what was kept of an earlier one is not used."""
_DIGEST_CHARACTERS: Final = 32


class Text(NamedTuple):
    """One file."""

    path: str
    text: str


def identify(extra: Sequence[Path] = (), *, cache: Path | None = None) -> str:
    """The digest that `load_signatures` gives its set. Raises SignatureError where a file cannot be read.

    The built-in files are not read where they are known by their times and sizes, as Python knows its modules.
    """
    directory = cache if cache is not None else cachefile.cache_directory()
    looks = f"built-in-{_looks()}"
    known = cachefile.load(directory, looks)
    if known is None or len(known) != _DIGEST_CHARACTERS:
        known = _digest_of(_read_folder(BUILT_IN)).encode()
        cachefile.save(directory, looks, known)
    return _together([known.decode("latin-1"), *(_digest_of(_read_folder(path)) for path in extra)])


def load_signatures(extra: Sequence[Path] = (), *, cache: Path | None = None) -> SignatureSet:
    """The built-in signatures and those in `extra` (files, or folders of `*.toml`), later ones replacing earlier.

    `cache` is the folder for the parsed form, by default `cache_directory()`. Raises SignatureError, one line.
    """
    directory = cache if cache is not None else cachefile.cache_directory()
    identity = identify(extra, cache=directory)
    known = _kept(directory, f"signatures-{identity}")
    if known is not None:
        return SignatureSet(known, identity)
    import pickle

    from flowsonar.signatures.parsing import parse_groups

    groups = [_read_folder(path) for path in (BUILT_IN, *extra)]
    signatures = parse_groups(groups, BUILT_IN)
    identity = _together([_digest_of(group) for group in groups])
    cachefile.save(directory, f"signatures-{identity}", pickle.dumps(signatures, pickle.HIGHEST_PROTOCOL))
    return SignatureSet(signatures, identity)


def _looks() -> str:
    """A digest of times and sizes of the built-in files, and of what reads them."""
    seen = [sys.version]
    try:
        with os.scandir(BUILT_IN) as entries:
            files = sorted((entry.path, entry.stat()) for entry in entries if entry.name.endswith(".toml"))
        files += [(str(path), path.stat()) for path in _MAKERS]
    except OSError as error:
        raise _unreadable(error, BUILT_IN) from None
    seen += [f"{path}|{status.st_mtime_ns}|{status.st_size}|{status.st_ino}\n" for path, status in files]
    return _hex("".join(seen).encode("utf-8", "surrogateescape"))


def _digest_of(group: Sequence[Text]) -> str:
    parts = [b"%d files:" % len(group)]
    for file in group:
        for part in file:
            encoded = part.encode("utf-8", "surrogateescape")
            parts.append(b"%d:" % len(encoded) + encoded)
    return _hex(b"".join(parts))


def _together(groups: Sequence[str]) -> str:
    """Where a folder ends matters too: a later one replaces services of an earlier."""
    parts = [sys.version.encode(), *(maker.read_bytes() for maker in _MAKERS)]
    return _hex(b"".join(parts + [one.encode("latin-1") for one in groups]))


def _hex(data: bytes) -> str:
    return sha256(data).hex()[:_DIGEST_CHARACTERS]


def _unreadable(error: OSError, path: Path) -> SignatureError:
    return SignatureError(f"{error.filename or path}: cannot be read ({error.strerror}): name a file or folder")


def _read_folder(path: Path) -> list[Text]:
    try:
        paths = sorted(path.glob("*.toml")) if path.is_dir() else [path]
        return [_read(one) for one in paths]
    except OSError as error:
        raise _unreadable(error, path) from None


def _read(path: Path) -> Text:
    if path.exists() and not path.is_file():  # opening a named pipe would wait for its other end
        raise SignatureError(f"{path}:1: is not a file: put files of signatures there, and nothing else of that name")
    with path.open("rb") as file:
        content = file.read(FILE_BYTES + 1)
    if len(content) > FILE_BYTES:
        raise SignatureError(f"{path}:1: more than {FILE_BYTES} bytes: a signature is one service, split it")
    try:
        return Text(str(path), content.decode("utf-8").replace("\r\n", "\n"))
    except UnicodeDecodeError as error:
        line = content.count(b"\n", 0, error.start) + 1
        raise SignatureError(f"{path}:{line}: not UTF-8: save the file as UTF-8, bytes are written \\xHH") from None


def _kept(directory: Path, name: str) -> tuple[Signature, ...] | None:
    """What an earlier run made of the same files. Only a file that nobody else can write is believed (`cachefile`)."""
    import pickle

    from flowsonar.signatures.language import Signature

    data = cachefile.load(directory, name)
    if data is None:
        return None
    try:
        known = pickle.loads(data)  # noqa: S301 - our own file, as private as the compiled modules beside our source
    except Exception:  # noqa: BLE001 - whatever is wrong with a cache, the thing is made anew
        return None
    return known if isinstance(known, tuple) and all(isinstance(one, Signature) for one in known) else None
