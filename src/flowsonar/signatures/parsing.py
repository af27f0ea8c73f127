"""Signature files' text to signatures. Not needed where an earlier run kept them (`loader`)."""

from __future__ import annotations

import re
import tomllib
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import re2

from flowsonar.signatures.language import Signature
from flowsonar.signatures.references import check_references
from flowsonar.signatures.source import File
from flowsonar.signatures.tables import read_signature

__all__ = ["parse_groups", "pattern_problem"]

_AT_LINE = re.compile(r" \(at line (\d+), column \d+\)| \(at end of document\)")


def parse_groups(groups: Sequence[Sequence[tuple[str, str]]], built_in: Path) -> tuple[Signature, ...]:
    """Files by folder, each with path and text, to signatures; later folders replace what earlier ones say.

    `built_in` is the folder whose probes others may name though it was replaced. Raises SignatureError.
    """
    services: dict[str, Signature] = {}
    folders = [[File(path, text) for path, text in group] for group in groups]
    for group in folders:
        in_group: dict[str, Signature] = {}
        for file in group:
            signature = read_signature(file, _parse(file), pattern_problem)
            if signature.service in in_group:
                other = in_group[signature.service].path
                file.fail(1, f"service {signature.service!r} is also in {other}: keep one of the two")
            in_group[signature.service] = signature
        services.update(in_group)
    check_references(services, [file for group in folders for file in group], built_in)
    return tuple(services.values())


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
