"""The language's document has every key that the loader takes, and every value of its closed sets."""

import re
from pathlib import Path

import pytest

from flowsonar.model import Layer, Side, TrafficClass
from flowsonar.signatures import templates
from flowsonar.signatures.language import FieldForm, Rest, Speaker

ROOT = Path(__file__).resolve().parents[2]
DOCUMENT = (ROOT / "docs" / "signatures.md").read_text(encoding="utf-8")
TABLES = (ROOT / "src" / "flowsonar" / "signatures" / "tables.py").read_text(encoding="utf-8")
KEYS = sorted(
    set(
        re.findall(
            r"\.(?:text|required|number|flag|choice|texts|numbers|template|data|tables?|section)\(\"([a-z-]+)\"", TABLES
        )
    )
)


def test_the_keys_are_found() -> None:
    assert {"title", "pattern", "steps", "differs-from", "echo", "rest", "earlier"} <= set(KEYS)


@pytest.mark.parametrize("key", KEYS)
def test_every_key_is_documented(key: str) -> None:
    assert re.search(rf"`[^`]*\b{re.escape(key)}\b[^`]*`", DOCUMENT), key


@pytest.mark.parametrize("value", [*TrafficClass, *Side, *Layer, *Rest, *Speaker, *FieldForm])
def test_every_value_is_documented(value: str) -> None:
    assert value in DOCUMENT


@pytest.mark.parametrize("name", sorted(templates.CONNECTION_NAMES))
def test_every_field_of_the_connection_is_documented(name: str) -> None:
    assert f"{{{name}}}" in DOCUMENT
