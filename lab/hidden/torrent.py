"""Files to share, and the torrents that describe them."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from pathlib import Path

__all__ = ["Torrent", "make"]

_PIECE = 1 << 17


@dataclass(frozen=True, slots=True, kw_only=True)
class Torrent:
    """A file and its torrent; who has the file has it in `folder`."""

    name: str
    file: Path
    """The `.torrent`."""
    folder: Path
    """Where the content is."""
    content: str
    """The content's file name."""
    info_hash: bytes


def make(folder: Path, name: str, *, size: int, announce: str) -> Torrent:
    """Make a file of `size` bytes that no other torrent has, and its torrent with one tracker."""
    folder.mkdir(parents=True, exist_ok=True)
    content = f"{name}.bin"
    block = hashlib.shake_256(name.encode()).digest(_PIECE)
    with (folder / content).open("wb") as file:
        written = 0
        while written < size:
            file.write(block[: size - written])
            written += _PIECE
    whole, rest = divmod(size, _PIECE)
    pieces = hashlib.sha1(block).digest() * whole + (hashlib.sha1(block[:rest]).digest() if rest else b"")
    info = b"d6:lengthi%de4:name%d:%s12:piece lengthi%de6:pieces%d:%s7:privatei0ee" % (
        size,
        len(content),
        content.encode(),
        _PIECE,
        len(pieces),
        pieces,
    )
    path = folder / f"{name}.torrent"
    path.write_bytes(b"d8:announce%d:%s4:info%se" % (len(announce), announce.encode(), info))
    return Torrent(name=name, file=path, folder=folder, content=content, info_hash=hashlib.sha1(info).digest())
