"""What the fast lane needs of the signatures, kept in the cache: a run that finds it there need not load them."""

from __future__ import annotations

import struct
import sys
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from flowsonar.model import Transport
from flowsonar.signatures import cachefile

if TYPE_CHECKING:
    from flowsonar.signatures.catalogue import SignatureSet

__all__ = ["lane_tables"]

_FORMAT: Final = 8
"""Of what is kept; changes with what `programs` makes and with what the C core makes of it."""
_PORT_BYTES: Final = 8192
"""A bit a port."""
_GROUPS: Final = 6
"""`len(programs.Group)`."""
_PARTS: Final = _GROUPS + 3
_HEAD: Final = struct.Struct(f"<{_PARTS + _GROUPS}I")


def lane_tables(digest: str, load: Callable[[], SignatureSet], *, cache: Path | None = None) -> tuple[Any, ...]:
    """Patterns for TCP and UDP as the C table takes them, then the ports of services for TCP and UDP.

    `digest` is the set's, empty where it has none; `load` gives the set where nothing is kept.
    """
    directory = cache if cache is not None else cachefile.cache_directory()
    name = f"programs-{_FORMAT}-{sys.version_info.major}.{sys.version_info.minor}-{digest}"
    data = cachefile.load(directory, name) if digest else None
    if data is None:
        data = _made(load())
        if digest:
            cachefile.save(directory, name, data)
    ports = 2 * _PORT_BYTES
    halves = [_unpacked(data, ports, half) for half in (0, 1)]
    return (*halves, data[:_PORT_BYTES], data[_PORT_BYTES:ports])


def _made(signatures: SignatureSet) -> bytes:
    from flowsonar.signatures.programs import compile_payloads

    served = {Transport.TCP: bytearray(_PORT_BYTES), Transport.UDP: bytearray(_PORT_BYTES)}
    for signature in signatures.services.values():
        for transport, ports in (*signature.ports, (Transport.TCP, signature.tls_ports)):
            for port in ports if transport in served else ():
                served[transport][port >> 3] |= 1 << (port & 7)
    compiled = compile_payloads(signatures)
    return b"".join((*served.values(), *(_serialised(compiled[transport].native) for transport in served)))


def _serialised(native: tuple[Any, ...]) -> bytes:
    parts = [program for program, _ in native[:_GROUPS]] + list(native[_GROUPS:])
    return _HEAD.pack(*map(len, parts), *(count for _, count in native[:_GROUPS])) + b"".join(parts)


def _unpacked(data: bytes, at: int, half: int) -> tuple[Any, ...]:
    for _ in range(half):
        at += _HEAD.size + sum(_HEAD.unpack_from(data, at)[:_PARTS])
    sizes = _HEAD.unpack_from(data, at)
    at += _HEAD.size
    parts = []
    for size in sizes[:_PARTS]:
        parts.append(data[at : at + size])
        at += size
    return (*zip(parts[:_GROUPS], sizes[_PARTS:], strict=True), *parts[_GROUPS:])
