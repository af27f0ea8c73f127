"""Product knowledge from recog: which program says such a banner. It names products, never services.

Each database is compiled when first needed: one scan finds the fingerprints that may match, RE2 reads the groups of the
first that does, so a banner costs microseconds whatever the number of fingerprints, and is linear whatever it is.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Final, NamedTuple

from flowsonar.signatures.banners import fields_of
from flowsonar.signatures.conditions import GROUP_CHARACTERS
from flowsonar.signatures.engines import HyperscanEngine, Re2Engine, Regex, compile_regex
from flowsonar.signatures.rules import Match

if TYPE_CHECKING:
    from flowsonar.signatures.recog import Fingerprint

__all__ = ["FingerprintDatabase", "Knowledge", "Known", "completed", "params_of"]

FIELD_BYTES: Final = 4096
"""As much of a banner is looked at: recog's longest example has 2 KiB."""
_REMEMBERED: Final = 2048
"""Banners whose answer is kept ready; then all are forgotten."""
_INTERPOLATED: Final = re.compile(r"\{([a-z0-9_.]+)\}")
_CONTROL: Final = dict.fromkeys((*range(32), *range(127, 160)))
_CPE_PLAIN: Final = re.compile(r"[^A-Za-z0-9_.\-]")
_CPE_PARTS: Final = 11


class Known(NamedTuple):
    """What recog says of a banner."""

    description: str
    product: str | None = None
    version: str | None = None
    cpe: str | None = None


class Knowledge:
    """All databases of a copy of recog. Belongs to one thread."""

    def __init__(self, databases: Mapping[str, Sequence[Fingerprint]], kind: str, cache: Path | None = None) -> None:
        self._fingerprints = databases
        self._kind = kind
        self._cache = cache
        self._compiled: dict[str, FingerprintDatabase] = {}
        self._known: dict[tuple[str, bytes], Known | None] = {}

    @classmethod
    def load(cls, folder: Path, kind: str, cache: Path | None = None) -> Knowledge:
        """Read recog's folder. Raises SignatureError."""
        from flowsonar.signatures.recog import read_recog

        return cls(read_recog(folder), kind, cache)

    def about(self, service: str, data: bytes) -> Known | None:
        """What the banner fields of a reply or payload of `service` say: the first that names a product, else any."""
        best: Known | None = None
        for key, field in fields_of(service, data):
            known = self.field(key, field)
            if known is not None and known.product is not None:
                return known
            best = best or known
        return best

    def field(self, key: str, field: bytes) -> Known | None:
        """What the database `key` (`ssh.banner`) says of one field; None where it does not know it, or is not there."""
        if key not in self._fingerprints:
            return None
        field = field[:FIELD_BYTES]
        if (key, field) in self._known:
            return self._known[key, field]
        found = self.database(key).first(field)
        known = None if found is None else _known(*found)
        if len(self._known) >= _REMEMBERED:
            self._known.clear()
        self._known[key, field] = known
        return known

    def database(self, key: str) -> FingerprintDatabase:
        """The database of a key that there is, compiled."""
        database = self._compiled.get(key)
        if database is None:
            database = FingerprintDatabase(self._fingerprints[key], self._kind, self._cache)
            self._compiled[key] = database
        return database


class FingerprintDatabase:
    """The fingerprints of one key; the first that matches is the answer, as in recog itself."""

    def __init__(self, fingerprints: Sequence[Fingerprint], kind: str, cache: Path | None) -> None:
        self._usable = [one for one in fingerprints if one.pattern]
        sources = [one.pattern for one in self._usable]
        self._engine = HyperscanEngine(sources, cache) if kind == "hyperscan" else Re2Engine(sources)
        self._regexes: dict[int, Regex] = {}

    def first(self, field: bytes) -> tuple[Fingerprint, list[bytes | None]] | None:
        """The first fingerprint that matches, with its groups (the whole match first)."""
        for index in sorted(self._engine.candidates(field)):
            regex = self._regexes.get(index)
            if regex is None:
                regex = self._regexes[index] = compile_regex(self._usable[index].pattern)
            found = regex.search(field)
            if found is not None:
                return self._usable[index], [found[number] for number in range(found.re.groups + 1)]
        return None


def completed(match: Match, known: Known) -> Match:
    """The match with what it leaves open: everything, or version and CPE where both name one product."""
    detail = match.detail or known.description
    if match.product is None:
        return match._replace(product=known.product, version=known.version, cpe=known.cpe, detail=detail)
    one, other = match.product.casefold(), (known.product or "").casefold()
    if not other or (one not in other and other not in one):
        return match
    version = match.version or known.version
    cpe = match.cpe or (known.cpe if version == known.version else None)
    return match._replace(version=version, cpe=cpe, detail=detail)


def params_of(fingerprint: Fingerprint, groups: Sequence[bytes | None]) -> dict[str, str]:
    """Every parameter with its value: groups, constants, and references to other parameters filled in."""
    values: dict[str, str] = {}
    for position, name, value in fingerprint.params:
        if position == 0:
            values[name] = value
        elif position < len(groups) and (group := groups[position]) is not None:
            values[name] = group.decode("utf-8", "replace")
    filled = dict(values)
    for name, value in values.items():
        if "{" in value:
            filled[name] = _INTERPOLATED.sub(lambda found: values.get(found[1], "") or "-", value)
    return {name: value for name, value in filled.items() if not name.startswith("_tmp.")}


def _known(fingerprint: Fingerprint, groups: Sequence[bytes | None]) -> Known:
    values = params_of(fingerprint, groups)
    if values.get("service.certainty") == "0.0" or values.get("hw.certainty") == "0.0":
        return Known(fingerprint.description)  # recog's way to say: this tells nothing
    product = _text(values.get("service.product"))
    if product is None:
        return Known(fingerprint.description)
    version = _text(values.get("service.version"))
    return Known(fingerprint.description, product, version, _cpe(values.get("service.cpe23", "")))


def _text(value: str | None) -> str | None:
    return (value or "").translate(_CONTROL).strip()[:GROUP_CHARACTERS] or None


def _cpe(uri: str) -> str | None:
    """A CPE 2.2 URI (`cpe:/a:vendor:product:version`) as the CPE 2.3 name it stands for (NISTIR 7695 section 6.2)."""
    if not uri.startswith("cpe:/"):
        return None
    parts = uri.removeprefix("cpe:/").split(":")
    if len(parts) < 3 or not all(parts[:3]) or len(parts) > 7:
        return None
    names = [_component(part) for part in parts]
    return ":".join(["cpe", "2.3", *names, *["*"] * (_CPE_PARTS - len(names))])


def _component(part: str) -> str:
    text = re.sub(r"%([0-9a-fA-F]{2})", lambda found: chr(int(found[1], 16)), part).translate(_CONTROL).strip().lower()
    if text in {"", "-"}:
        return text or "*"
    return _CPE_PLAIN.sub(lambda found: f"\\{found[0]}" if found[0] != " " else "_", text[:GROUP_CHARACTERS])
