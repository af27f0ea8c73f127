"""What a pattern says of a program, with what its expression read filled in: product, version, CPE and detail."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any, Final

from flowsonar.signatures.conditions import GROUP_CHARACTERS
from flowsonar.signatures.language import Product

__all__ = ["Texts", "filled"]

_GROUP: Final = re.compile(r"\{([A-Za-z_][A-Za-z0-9_]*)\}")
_CONTROL: Final = dict.fromkeys((*range(32), *range(127, 160)))
_CPE_QUOTED: Final = re.compile(r"([^A-Za-z0-9_.\-])")
_CPE: Final = "cpe:2.3:"
_CPE_REST: Final = ":*:*:*:*:*:*:*"
"""Update, edition, language and what follows: nothing is said of them (NISTIR 7695, section 6.2)."""


_Parts = str | tuple[str, ...]


class Texts:
    """The texts of one pattern, taken apart once: they are filled in for each version that is met."""

    __slots__ = ("_cpe", "_cpe_before", "_detail", "_is_whole", "_name", "_version", "bare", "constant")

    def __init__(self, product: Product, detail: str = "") -> None:
        self._name = _parts(product.product)
        self._version = _parts(product.version)
        self._cpe = _parts(product.cpe)
        self._detail = _parts(detail)
        self._is_whole = product.cpe is not None and product.cpe.startswith(_CPE)
        texts = (self._name, self._version, self._cpe, self._detail)
        self.constant = not any(isinstance(parts, tuple) for parts in texts)
        """Whether no group is referred to."""
        others = any(isinstance(parts, tuple) for parts in (self._name, self._cpe, self._detail))
        self.bare = None if others or self._is_whole else _bare(self._version)
        """The group that is the version, where no other is referred to."""

        plain = isinstance(self._name, str) and isinstance(self._cpe, str) and self._cpe and not self._is_whole
        self._cpe_before = f"{_CPE}{self._cpe}:" if plain else None

    def of_plain_version(self, version: bytes) -> tuple[Any, ...] | None:
        """What `filled` gives where `bare` is this; None where it is not letters, digits and points only."""
        if len(version) > GROUP_CHARACTERS or not version.replace(b".", b"").isalnum():
            return None
        text = version.decode("ascii")
        before = self._cpe_before
        return self._name, text, None if before is None else f"{before}{text.lower()}{_CPE_REST}", self._detail or ""

    def filled(self, groups: Mapping[str, str]) -> tuple[str | None, str | None, str | None, str]:
        """Product, version, CPE and detail."""
        name, version, detail = self._name, self._version, self._detail
        if isinstance(name, tuple):
            name = _fill(name, groups)
        if self.bare is not None:
            version = _cleaned(groups.get(self.bare, "")) or None
        elif isinstance(version, tuple):
            version = _fill(version, groups)
        if isinstance(detail, tuple):
            detail = _fill(detail, groups)
        cpe = None if self._cpe is None or name is None else self._cpe_of(self._cpe, version, groups)
        return name, version, cpe, detail or ""

    def _cpe_of(self, cpe: _Parts, version: str | None, groups: Mapping[str, str]) -> str | None:
        if isinstance(cpe, tuple):
            given = groups if self._is_whole else {key: value.lower() for key, value in groups.items()}
            filled = _fill(cpe, given)
            if self._is_whole or not filled:
                return filled or None
            cpe = filled
        if self._is_whole or not cpe:
            return cpe or None
        if not version:
            return f"{_CPE}{cpe}:*{_CPE_REST}"
        quoted = version.lower()
        if not (quoted.isascii() and quoted.replace(".", "").isalnum()):
            quoted = _CPE_QUOTED.sub(r"\\\1", quoted)
        return f"{_CPE}{cpe}:{quoted}{_CPE_REST}"


def filled(product: Product, groups: Mapping[str, str]) -> tuple[str | None, str | None, str | None]:
    """Product, version and CPE, with references to groups filled in."""
    return Texts(product).filled(groups)[:3]


def _parts(text: str | None) -> _Parts | None:
    """Text and names of groups by turns; the text itself where it refers to none."""
    parts = _GROUP.split(text) if text is not None else []
    return tuple(parts) if len(parts) > 1 else text


def _bare(parts: _Parts | None) -> str | None:
    """The group that is the whole text; None where it is more or less."""
    return parts[1] if isinstance(parts, tuple) and len(parts) == 3 and not (parts[0] or parts[2]) else None


def _fill(parts: tuple[str, ...], groups: Mapping[str, str]) -> str | None:
    """Group references filled in; None when one did not take part in the match."""
    said = list(parts)
    for index in range(1, len(said), 2):
        got = _cleaned(groups.get(said[index], ""))
        if not got:
            return None
        said[index] = got
    return "".join(said)


def _cleaned(got: str) -> str:
    if not got.isprintable():
        got = got.translate(_CONTROL)
    return got.strip()[:GROUP_CHARACTERS]
