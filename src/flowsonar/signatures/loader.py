"""Signature files to a `SignatureSet`. The one module of this folder that reads files (and the cache)."""

from __future__ import annotations

import hashlib
import pickle
import re
import sys
import tomllib
from collections.abc import Mapping, Sequence
from functools import cached_property
from pathlib import Path
from typing import Any, Final

import re2

from flowsonar.errors import SignatureError
from flowsonar.model import TrafficClass, Transport
from flowsonar.signatures import cachefile
from flowsonar.signatures.language import ProbeSpec, Signature
from flowsonar.signatures.references import check_references
from flowsonar.signatures.source import File
from flowsonar.signatures.tables import read_signature

__all__ = ["BUILT_IN", "SignatureSet", "load_signatures", "pattern_problem"]

BUILT_IN: Final = Path(__file__).parent / "data"
"""The signatures that come with flowsonar."""

FILE_BYTES: Final = 1 << 20
"""Largest signature file read: a whole service fits in a tenth of it."""

_MAKERS: Final = tuple(
    Path(__file__).with_name(name) for name in ("language.py", "loader.py", "source.py", "tables.py", "templates.py")
)
"""What turns files into signatures: when one of these changes, what was kept of an earlier one is not used."""

_AT_LINE = re.compile(r" \(at line (\d+), column \d+\)| \(at end of document\)")


class SignatureSet:
    """All signatures that are loaded, by service name."""

    def __init__(self, signatures: Sequence[Signature], digest: str = "") -> None:
        """`digest` names what they were read from; empty where that is not known."""
        self.digest = digest
        self.services: Mapping[str, Signature] = {signature.service: signature for signature in signatures}

    def __len__(self) -> int:
        return len(self.services)

    @cached_property
    def parents(self) -> Mapping[str, str]:
        """The services that are spoken inside another's format, with that other one."""
        return {name: one.parent for name, one in self.services.items() if one.parent is not None}

    @cached_property
    def on_port(self) -> frozenset[str]:
        """Ids of the payload patterns that mean something only on their service's port."""
        return frozenset(one.id for held in self.services.values() for one in held.payloads if one.on_port)

    def ancestors(self, service: str) -> tuple[str, ...]:
        """In whose format it is spoken, the nearest first; nothing for a service with a format of its own."""
        found: list[str] = []
        while (above := self.parents.get(service)) is not None and above not in found:
            found.append(above)
            service = above
        return tuple(found)

    def traffic_class(self, service: str) -> TrafficClass:
        """What a shaper makes of the service; `default` for one nobody knows."""
        signature = self.services.get(service)
        return signature.traffic_class if signature is not None else TrafficClass.DEFAULT

    def by_port(self, transport: Transport, port: int) -> tuple[str, ...]:
        """Services whose default port it is; those that speak TLS there from the first byte come last."""
        return self._ports.get((transport, port), ())

    def by_ip_protocol(self, number: int) -> str | None:
        """The service that an IP protocol number stands for."""
        return self._ip_protocols.get(number)

    def by_alpn(self, name: str) -> tuple[str, ...]:
        """The services that a protocol name in TLS's ALPN stands for."""
        return self._alpn.get(name, ())

    def probes(self, transport: Transport) -> tuple[ProbeSpec, ...]:
        """All probes over a transport, those worth trying most often first."""
        return self._probes.get(transport, ())

    def probe(self, identifier: str) -> ProbeSpec | None:
        """The probe of that id (`service/name`)."""
        return self._by_id.get(identifier)

    @cached_property
    def _ports(self) -> dict[tuple[Transport, int], tuple[str, ...]]:
        found: dict[tuple[Transport, int], tuple[str, ...]] = {}
        for name, signature in self.services.items():
            for transport, ports in signature.ports:
                for port in ports:
                    found[transport, port] = (*found.get((transport, port), ()), name)
        for name, signature in self.services.items():
            for port in signature.tls_ports:
                known = found.get((Transport.TCP, port), ())
                found[Transport.TCP, port] = known if name in known else (*known, name)
        return found

    @cached_property
    def _ip_protocols(self) -> dict[int, str]:
        return {number: name for name, signature in self.services.items() for number in signature.ip_protocols}

    @cached_property
    def _alpn(self) -> dict[str, tuple[str, ...]]:
        found: dict[str, tuple[str, ...]] = {}
        for name, signature in self.services.items():
            for alpn in signature.alpn:
                found[alpn] = (*found.get(alpn, ()), name)
        return found

    @cached_property
    def _by_id(self) -> dict[str, ProbeSpec]:
        return {probe.id: probe for signature in self.services.values() for probe in signature.probes}

    @cached_property
    def _probes(self) -> dict[Transport, tuple[ProbeSpec, ...]]:
        ranked = sorted(self._by_id.values(), key=lambda probe: (probe.rarity, probe.id))
        return {kind: tuple(probe for probe in ranked if probe.transport is kind) for kind in Transport}


def load_signatures(extra: Sequence[Path] = (), *, cache: Path | None = None) -> SignatureSet:
    """The built-in signatures and those in `extra` (files, or folders of `*.toml`), later ones replacing earlier.

    `cache` is the folder for the parsed form, by default `cache_directory()`. Raises SignatureError, one line.
    """
    directory = cache if cache is not None else cachefile.cache_directory()
    groups = [_read_folder(path) for path in (BUILT_IN, *extra)]
    digest = hashlib.sha256(sys.version.encode())
    for maker in _MAKERS:
        digest.update(maker.read_bytes())
    for group in groups:
        digest.update(b"%d files:" % len(group))  # where a folder ends matters too: one may be empty
        for file in group:
            for part in (file.path, file.text):
                encoded = part.encode()
                digest.update(b"%d:" % len(encoded) + encoded)
    identity = digest.hexdigest()[:32]
    known = _kept(directory, f"signatures-{identity}")
    if known is not None:
        return SignatureSet(known, identity)
    services: dict[str, Signature] = {}
    for group in groups:
        in_group: dict[str, Signature] = {}
        for file in group:
            signature = read_signature(file, _parse(file), pattern_problem)
            if signature.service in in_group:
                other = in_group[signature.service].path
                file.fail(1, f"service {signature.service!r} is also in {other}: keep one of the two")
            in_group[signature.service] = signature
        services.update(in_group)
    signatures = tuple(services.values())
    check_references(services, [file for group in groups for file in group], BUILT_IN)
    cachefile.save(directory, f"signatures-{identity}", pickle.dumps(signatures, pickle.HIGHEST_PROTOCOL))
    return SignatureSet(signatures, identity)


def pattern_problem(pattern: str) -> str | None:
    """What is wrong with a regular expression; None when RE2 takes it and it fits the house rules."""
    options = re2.Options()
    options.encoding = re2.Options.Encoding.LATIN1
    options.log_errors = False
    try:
        compiled = re2.compile(pattern.encode("ascii"), options)
    except re2.error as error:
        text = error.args[0].decode("latin-1") if isinstance(error.args[0], bytes) else str(error.args[0])
        return f"not a regular expression of RE2: {text}"
    if compiled.programsize > 20_000:
        return f"the regular expression needs {compiled.programsize} RE2 instructions: use smaller repeat counts"
    return None


def _read_folder(path: Path) -> list[File]:
    try:
        paths = sorted(path.glob("*.toml")) if path.is_dir() else [path]
        return [_read(one) for one in paths]
    except OSError as error:
        raise SignatureError(
            f"{error.filename or path}: cannot be read ({error.strerror}): name a file or folder"
        ) from None


def _read(path: Path) -> File:
    if path.exists() and not path.is_file():  # opening a named pipe would wait for its other end
        raise SignatureError(f"{path}:1: is not a file: put files of signatures there, and nothing else of that name")
    with path.open("rb") as file:
        content = file.read(FILE_BYTES + 1)
    if len(content) > FILE_BYTES:
        raise SignatureError(f"{path}:1: more than {FILE_BYTES} bytes: a signature is one service, split it")
    try:
        return File(str(path), content.decode("utf-8").replace("\r\n", "\n"))
    except UnicodeDecodeError as error:
        line = content.count(b"\n", 0, error.start) + 1
        raise SignatureError(f"{path}:{line}: not UTF-8: save the file as UTF-8, bytes are written \\xHH") from None


def _parse(file: File) -> dict[str, Any]:
    try:
        return tomllib.loads(file.text)
    except tomllib.TOMLDecodeError as error:
        text = str(error)
        found = _AT_LINE.search(text)
        line = int(found[1]) if found and found[1] else file.text.count("\n") + 1
        file.fail(line, f"not TOML: {_AT_LINE.sub('', text)}")
    except (RecursionError, ValueError) as error:  # nested too deep; numbers of thousands of digits
        file.fail(1, f"not TOML that can be read: {type(error).__name__}")


def _kept(directory: Path, name: str) -> tuple[Signature, ...] | None:
    """What an earlier run made of the same files. Only a file that nobody else can write is believed (`cachefile`)."""
    data = cachefile.load(directory, name)
    if data is None:
        return None
    try:
        known = pickle.loads(data)  # noqa: S301 - our own file, as private as the compiled modules beside our source
    except Exception:  # noqa: BLE001 - whatever is wrong with a cache, the thing is made anew
        return None
    return known if isinstance(known, tuple) and all(isinstance(one, Signature) for one in known) else None
